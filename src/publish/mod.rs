//! Hands events to brokers, and sorts what brokers say into the same few classes.

pub mod amqp;
pub mod file;
pub mod kafka;
mod reason;

pub use reason::Reason;
