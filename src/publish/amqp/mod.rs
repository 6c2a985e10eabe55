//! RabbitMQ, and whatever else speaks AMQP 0-9-1 with publisher confirms.
//!
//! Guarantees: an event is confirmed only when the broker has acknowledged it **and** has not
//! returned it, so that an event that no queue took is never taken for published. One task
//! publishes on a channel, a batch at a time. After an outage a publisher comes back by itself, on
//! a connection made from fresh addresses, credentials and certificates.
//! No credential is part of an error, a log line or a `Debug` text of this room.
//! Leaves to others: what happens after a failure (`delivery`), and whether the broker's log lines
//! are shown: `lapin`'s own can contain events, and at trace level passwords.
//!
//! The way through it: a [`publisher`] hands over to its [`lane`]'s task, that opens a [`session`]
//! on the shared [`link`], looks after the [`topology`], and sends [`batch`]es of [`message`]s;
//! [`errors`] sorts what goes wrong.

#[cfg(feature = "amqp")]
mod address;
#[cfg(feature = "amqp")]
mod batch;
#[cfg(feature = "amqp")]
mod broker;
#[cfg(feature = "amqp")]
mod dead_letters;
#[cfg(feature = "amqp")]
mod destination;
#[cfg(feature = "amqp")]
mod dial;
#[cfg(feature = "amqp")]
mod errors;
#[cfg(feature = "amqp")]
mod lane;
#[cfg(feature = "amqp")]
mod link;
#[cfg(feature = "amqp")]
mod message;
#[cfg(feature = "amqp")]
mod probe;
#[cfg(feature = "amqp")]
mod publisher;
#[cfg(feature = "amqp")]
mod session;
pub mod settings;
#[cfg(feature = "amqp")]
mod tls;
#[cfg(feature = "amqp")]
mod topology;
#[cfg(feature = "amqp")]
mod unrouted;

#[cfg(feature = "amqp")]
pub use {
    dead_letters::read as read_dead_letters,
    destination::Destination,
    probe::probe,
    publisher::{Amqp, AmqpPublisher},
};
