//! Publishing to Kafka, by librdkafka.
//!
//! Guarantees: `acks=all` and an idempotent, gapless producer for each topic, or, while the broker refuses events of it, one
//! that goes on and is given one event of an ordering key at a time; keys in the partitions
//! that Java's clients would choose; a client that gave up is replaced, a topic that is missing is
//! waited for, and created only by an explicit request. A topic's limit is heeded before an event is handed over, where it
//! may be read; otherwise the broker decides.
//! Leaves to others: order across failures (`delivery`).

#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod cluster;
#[cfg(feature = "kafka")]
mod context;
#[cfg(feature = "kafka")]
mod dead_letters;
#[cfg(feature = "kafka")]
mod errors;
#[cfg(feature = "kafka")]
mod owned_client;
#[cfg(feature = "kafka")]
mod publisher;
#[cfg(feature = "kafka")]
mod record;
pub mod settings;
#[cfg(feature = "kafka")]
mod supervisor;
#[cfg(feature = "kafka")]
mod topics;
#[cfg(feature = "kafka")]
mod wakeup;

#[cfg(feature = "kafka")]
pub use cluster::{Kafka, check, probe};
#[cfg(feature = "kafka")]
pub use dead_letters::read as read_dead_letters;
