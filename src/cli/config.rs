//! `minchat-bridge config`: what holds, and why.

use std::process::ExitCode;

use super::{output, settings::SettingsArgs};
use crate::config::to_yaml;

/// Print the effective configuration, secrets redacted, each value with its origin.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    match args.settings.load() {
        Ok(loaded) => output::print(to_yaml(&loaded.effective).as_bytes()),
        Err(code) => code,
    }
}
