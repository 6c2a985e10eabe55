//! The command line: one file a command.

pub mod emit;
mod exit;
pub mod healthcheck;
mod target;

#[cfg(test)]
mod tiny_server;
