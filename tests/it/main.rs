//! Tests from the outside: sockets in, answers and events out.

#[cfg(feature = "amqp")]
mod amqp;
mod answers;
mod authority;
mod bridge;
mod client;
#[cfg(feature = "kafka")]
mod cluster;
#[cfg(feature = "kafka")]
mod command;
mod config;
#[cfg(all(feature = "amqp", feature = "kafka"))]
mod dead_letters;
mod edge;
mod faults;
mod file;
mod guarantees;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod kinds;
mod load;
mod node;
mod payload;
mod process;
#[cfg(all(feature = "amqp", feature = "kafka"))]
mod rabbitmq;
mod readme;
mod scripted;
#[cfg(feature = "kafka")]
mod spool_commands;
#[cfg(feature = "kafka")]
mod spool_files;
#[cfg(all(feature = "amqp", feature = "kafka"))]
mod spool_left;
mod start;
