//! Tests from the outside: sockets in, answers and events out.

#[cfg(feature = "amqp")]
mod amqp;
mod answers;
mod bridge;
mod client;
#[cfg(feature = "kafka")]
mod cluster;
mod config;
#[cfg(all(feature = "amqp", feature = "kafka"))]
mod faults;
mod file;
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
mod start;
