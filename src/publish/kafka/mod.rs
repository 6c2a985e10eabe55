//! Kafka.

pub mod settings;
