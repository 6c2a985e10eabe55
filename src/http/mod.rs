//! The HTTP front end: the listener that takes webhooks, and the one for those who run the bridge.
//!
//! Guarantees: a webhook is answered with a 2xx only with a receipt of delivery; what is refused is
//! refused by one table ([`problem`]) and in the order that the contract names; a request that was
//! not let in reaches nothing behind this room; connections, requests, bytes and waits are bounded.
//! Leaves to others: what a payload means (`minchat`), its envelope, its destinations, and whether
//! it arrived (`delivery`).
//!
//! One webhook's way: [`webhooks`] finds its source and takes it through the stages; [`admit`]
//! decides by its head, with [`auth`] for the credentials; [`limits`] and [`source`] say whether
//! there is room; [`body`] reads it, [`encoding`] unpacks it; then it is sealed and delivered, and
//! [`accepted`] or [`problem`] is what goes back.
//!
//! With `http.tls` the connection is one of [`tls`], whose certificates [`edge`] can change while it
//! is served, as it can the sources.
//!
//! A connection begins at [`acceptor`], which gives it a place among the [`connections`] of its listener and serves
//! HTTP over a [`stream`]; [`connection`] knows how far its request is, and when it has to end. Where a limit is
//! reached, [`candidates`] chooses which client without credentials has to make room.
//!
//! Limits that actix-http 3.20 has built in: 96 header lines (beyond that 431 without a body), 16 pipelined requests a
//! connection, 32 KiB read ahead of a body.

mod accepted;
mod acceptor;
mod address;
mod admin;
mod admit;
mod answer;
mod auth;
mod body;
mod candidates;
mod certificate_name;
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
mod strangers;
mod stream;
mod tls;
mod webhooks;

pub use edge::{Change, Edge};
pub use problem::Slug;
pub use server::{Addresses, Behind, BindError, Bound, bind};
pub use stop::Stopper;
