//! `minchat-bridge serve`: run.

use std::process::ExitCode;

use super::settings::SettingsArgs;

/// Take webhooks and publish them, until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    match args.settings.load() {
        Ok(loaded) => crate::app::serve(args.settings.inputs(), loaded),
        Err(code) => code,
    }
}
