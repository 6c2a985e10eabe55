//! Tests from the outside: sockets in, answers out.

mod config;
