//! The publisher for RabbitMQ, against a real one.
//!
//! What breaks no broker uses the run's own, at `AMQP_URL`, each test under names of its own.

pub mod client;
mod faults;
mod lane;
pub mod node;
mod operator;
mod publishing;
mod topology;
