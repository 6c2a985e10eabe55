//! `minchat-bridge emit`.

use std::process::ExitCode;

use super::exit;

/// Post sample webhooks.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub fn run(_args: &Args) -> ExitCode {
    ExitCode::from(exit::UNAVAILABLE)
}
