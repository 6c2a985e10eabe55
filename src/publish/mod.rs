//! One publisher a broker.

pub mod amqp;
pub mod file;
pub mod kafka;
