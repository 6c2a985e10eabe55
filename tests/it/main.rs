//! Tests from the outside: sockets in, answers and events out.

mod bridge;
mod client;
mod cluster;
mod config;
mod file;
mod http;
mod kafka;
mod node;
mod process;
mod scripted;
