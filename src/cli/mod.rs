//! The command line: one file a command.

mod exit;
pub mod healthcheck;
mod target;

#[cfg(test)]
mod tiny_server;
