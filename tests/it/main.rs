//! Tests from the outside: sockets in, answers and events out.

#[cfg(feature = "amqp")]
mod amqp;
mod authority;
mod bridge;
mod client;
#[cfg(feature = "kafka")]
mod cluster;
mod config;
mod edge;
mod file;
mod http;
#[cfg(feature = "kafka")]
mod kafka;
mod load;
mod node;
mod payload;
mod process;
#[cfg(all(feature = "amqp", feature = "kafka"))]
mod rabbitmq;
mod scripted;
