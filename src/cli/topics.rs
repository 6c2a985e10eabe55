//! `minchat-bridge topics`: what the routes need on the brokers.

use std::process::ExitCode;

use super::settings::SettingsArgs;

/// Create, or compare with, what the routes need on the brokers.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Create the topics and exchanges that are missing.
    Create(SettingsArgs),
    /// Tell which topics and exchanges are missing or differ.
    Check(SettingsArgs),
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let (Action::Create(settings) | Action::Check(settings)) = &args.action;
    match (settings.load(), &args.action) {
        (Ok(loaded), Action::Create(_)) => crate::app::create_topics(loaded),
        (Ok(loaded), Action::Check(_)) => crate::app::check_topics(loaded),
        (Err(code), _) => code,
    }
}
