//! Tests from the outside: sockets in, answers and events out.

#[cfg(feature = "amqp")]
mod amqp;
mod answers;
mod authority;
mod bridge;
mod client;
#[cfg(feature = "kafka")]
mod cluster;
mod command;
mod config;
#[cfg(all(feature = "amqp", feature = "kafka"))]
mod dead_letters;
mod edge;
#[cfg(all(feature = "amqp", feature = "kafka"))]
mod envelope;
mod faults;
mod file;
#[cfg(feature = "kafka")]
mod growth;
mod guarantees;
mod healthcheck;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod kinds;
mod load;
mod node;
mod numbers;
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
#[cfg(all(feature = "amqp", feature = "kafka"))]
mod spool_operator;
mod start;
mod trust;
