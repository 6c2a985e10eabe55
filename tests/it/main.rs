//! Tests from the outside: sockets in, answers out.

mod bridge;
mod client;
mod http;
mod scripted;
