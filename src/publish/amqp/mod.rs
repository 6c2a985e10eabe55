//! RabbitMQ.

pub mod settings;
