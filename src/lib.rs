//! minchat-bridge takes MinChat's webhooks and publishes them as CloudEvents to Kafka, RabbitMQ and files.
//!
//! # The path of a webhook
//!
//! ```text
//!  webhook                                                             ┌─ kafka ─▶ topic
//!  ───────▶ http ──▶ minchat ──▶ envelope ──▶ route ──▶ delivery ──────┼─ amqp ──▶ exchange
//!           auth     kind,                              │    ▲         └─ file ──▶ .ndjson
//!           limits   normalize                          ▼    │ drain
//!           problem                                     spool on disk
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
//! [`route`] is a table, complete for its configuration, from a source and a type to the lanes of its
//! destinations.
//!
//! Sources, sealer and table of one configuration are a [`delivery::Generation`]. A webhook keeps to
//! one from its head to its delivery, whatever is loaded meanwhile.
//!
//! [`delivery`] gives the event to each of these lanes, at once and without waiting, so that a client
//! that hangs up takes no event with it. A lane is one destination's ordered line of events. One thread
//! at a time runs it: a worker, which hands its events to the broker's publisher at the end of its turn, or the lane's own thread,
//! which asks the publisher how each event ended, and does what is due at some time. What the lane wants is
//! decided by a state machine without clock or I/O. The sender's answer waits until each lane
//! has said `published`, `spooled` or `dead-lettered`; a lane that can't says so by `publish.deadline`.
//!
//! [`spool`] keeps what no confirm came for by `publish.spool_after`, and all that comes while a broker is
//! known to be away: in segments on disk, a queue for each destination, synced before anybody is
//! answered. From there it is read back in order, a piece ahead of the broker, and forgotten once it is done.
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
//! - A 2xx means that each destination has confirmed the event, or has it in the spool, synced.
//! - While a destination has a backlog, new events for it queue behind it.
//! - An event leaves the spool only after its destination confirmed it, or the dead letters did.
//! - The payload's tokens travel as they came in. Nothing goes through a tree of values and back.
//! - `rdkafka` is named in `publish/kafka` only, `lapin` in `publish/amqp` only, `actix_web` in `http` only.
//! - [`minchat`], [`envelope`], [`route`] and the deciding half of [`delivery`] do no I/O and log nothing.
//! - No thread that runs a lane waits for a broker, a disk or another thread; `publish/kafka/wakeup.rs` alone has `unsafe` code.
//! - Every event that a lane took is published, dead-lettered or pending: the books balance.
//! - An answer leaves after every number and status that tells of it.
//! - A panic anywhere but in a request's handler ends the process ([`telemetry::panics`]).
//!
//! # Where the next one goes
//!
//! - A kind: a row in `minchat/rules.rs`, a variant of [`minchat::Kind`], a sample in `minchat/samples`.
//! - A broker: a folder in [`publish`] with its publisher, settings and table of errors; a variant of
//!   [`route::Broker`] and of [`route::Address`]; a line in [`app`].
//! - A metric: a row in `metrics/table.rs`, and a verb.
//! - A setting: a row in `config/table.rs`, and a field of its room's `Settings`.

// Every thread has a name. See clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]
// They panic where the stream can't be written, which hides the exit code: `cli::output` has what doesn't.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod app;
mod backoff;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod envelope;
pub mod http;
#[cfg(test)]
mod imports;
pub mod metrics;
pub mod minchat;
pub mod publish;
pub mod receipt;
mod regular_file;
pub mod route;
pub mod secret;
#[cfg(test)]
mod seeds;
pub mod spool;
pub mod telemetry;
pub mod units;
