//! minchat-bridge takes MinChat's webhooks and publishes them as CloudEvents to Kafka, RabbitMQ and files.
//!
//! # The path of a webhook
//!
//! ```text
//!  webhook                                                             ┌─ kafka ─▶ topic
//!  ───────▶ http ──▶ minchat ──▶ envelope ──▶ route ──▶ delivery ──────┼─ amqp ──▶ exchange
//!           auth     kind,                                             └─ file ──▶ .ndjson
//!           limits   normalize
//!           problem
//! ```
//!
//! A webhook arrives at [`http`], which knows its source by the path and lets it in by its
//! credentials, reads its body under limits, and undoes its content-encoding. A signature is judged
//! between the two, over the bytes on the wire. What fails here never reaches the rooms behind.
//!
//! [`minchat`] reads the body once: it tells the [`minchat::Kind`] by the payload's shape, since
//! nothing in a webhook names it, finds the ordering key, and knows how to write `data` in today's
//! shape, token for token. A body that is no JSON becomes a dead letter instead of an event.
//!
//! [`envelope`] seals the payload: an [`envelope::Event`] holds its CloudEvents bytes, made once and
//! the same on every copy and every attempt.
//!
//! [`route`] is a table, complete at start, from a source and a type to the lanes of its destinations.
//!
//! [`delivery`] gives the event to each of these lanes, at once and without waiting, so that a client
//! that hangs up takes no event with it. A lane is one destination's ordered line of events. It has one
//! owner, a thread that hands events to the broker and is told how each ended. What the owner does is
//! decided by a state machine without clock or I/O. The sender's answer waits until each lane
//! has said `published` or `dead-lettered`; a lane that can't says so by `publish.deadline`.
//!
//! [`publish`] has one file a broker. A publisher hands over and reports; what a report means for
//! order and for the next attempt is none of its business. Each broker's errors are sorted by one
//! table into [`publish::Class`]: retry, dead letter, operator, rebuild.
//!
//! Back on the way out, the receipt becomes a 202, and what was refused a problem (RFC 9457).
//! [`metrics`] counts each step; [`app`] wires the rooms together and is the only one that knows all.
//!
//! # Invariants
//!
//! - A 2xx means that each destination has confirmed the event.
//! - The payload's tokens travel as they came in. Nothing goes through a tree of values and back.
//! - `rdkafka` is named in `publish/kafka` only, `lapin` in `publish/amqp` only, `actix_web` in `http` only.
//! - [`minchat`], [`envelope`], [`route`] and the deciding half of [`delivery`] do no I/O and log nothing.
//! - Every event that a lane took is published, dead-lettered or pending: the books balance.
//!
//! # Where the next one goes
//!
//! - A kind: a row in `minchat/rules.rs`, a variant of [`minchat::Kind`], a sample in `minchat/samples`.
//! - A broker: a folder in [`publish`] with its publisher, settings and table of errors; a variant of
//!   [`route::Broker`] and of [`route::Address`]; a line in [`app`].
//! - A metric: a row in `metrics/table.rs`, and a verb.
//! - A setting: a row in `config/table.rs`, and a field of its room's `Settings`.

pub mod app;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod envelope;
pub mod http;
pub mod metrics;
pub mod minchat;
pub mod publish;
pub mod route;
pub mod secret;
#[cfg(test)]
mod seeds;
pub mod spool;
pub mod telemetry;
pub mod units;
