//! The HTTP front end: the listener that receives webhooks, and the admin listener for operators.
//!
//! Guarantees: a webhook is answered with a 2xx only after delivery has given a receipt; every refusal is a row of one
//! table ([`problem`]), and the checks run in the order that the contract names; a request without good credentials
//! reaches no other module than this one; connections, requests, bytes and waiting times are bounded.
//! Not responsible for: what a payload means (`minchat`), its envelope (`envelope`), its destinations, and whether it
//! arrived (`delivery`).
//!
//! The stages of one webhook: [`webhooks`] finds its source and calls all other stages; [`admit`] checks the head, with
//! [`auth`] for the credentials; [`limits`] and [`source`] check the limits on what is in flight and the rate limit;
//! [`body`] reads the body and [`encoding`] decompresses it; then [`webhooks`] makes an event of it and hands that to
//! delivery. [`accepted`] or [`problem`] is the answer.
//!
//! With `http.tls`, connections are encrypted by [`tls`]. [`edge`] changes its certificates, and the sources, while the
//! bridge is serving.
//!
//! A connection begins at [`acceptor`], which registers it with the [`connections`] of its listener and serves HTTP
//! over a [`stream`]; [`connection`] tracks how far its current request is, and when the connection has to end. When a
//! limit is reached, [`candidates`] chooses which client without credentials is evicted.
//!
//! actix-http 3.20 has limits of its own, which cannot be set: 96 header lines (more are answered with a 431 without a
//! body), 16 pipelined requests a connection, and 32 KiB of a body that the handler has not read yet.

mod accepted;
mod acceptor;
mod admin;
mod admit;
mod answer;
mod auth;
mod body;
mod candidates;
mod certificate_name;
mod chunks;
mod connection;
mod connections;
mod edge;
mod encoding;
#[cfg(fuzzing)]
pub mod fuzzing;
mod limits;
mod open_files;
mod phase;
mod problem;
mod query;
mod server;
pub mod settings;
mod source;
mod stop;
mod stream;
mod tls;
mod unknown_keys;
mod webhook_url;
mod webhooks;

pub use edge::{Change, Edge};
pub use problem::Slug;
pub use server::{Addresses, Behind, BindError, Bound, bind};
pub use stop::Stopper;
