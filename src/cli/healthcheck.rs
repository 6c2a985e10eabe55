//! `minchat-bridge healthcheck`.

use std::process::ExitCode;

use super::exit;

/// Ask a running bridge whether it is alive.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: &Args) -> ExitCode {
    ExitCode::from(exit::UNAVAILABLE)
}
