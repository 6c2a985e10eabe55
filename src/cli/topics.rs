//! `minchat-bridge topics`: what the routes need on the brokers.

use std::fmt::Write;
use std::process::ExitCode;

use super::{exit, output, serve, settings::SettingsArgs};
use crate::app;
use crate::config::Loaded;

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
    /// Tell which topics and exchanges are missing.
    Check(SettingsArgs),
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let (Action::Create(settings) | Action::Check(settings)) = &args.action;
    match settings.load() {
        Ok(loaded) => probe(&loaded, matches!(args.action, Action::Create(_))),
        Err(code) => code,
    }
}

/// Reaches each destination and prints what was found, a line each. 69 if any can't be published to.
pub(super) fn probe(loaded: &Loaded, create: bool) -> ExitCode {
    let probed = match app::probe(&loaded.config, create) {
        Ok(probed) => probed,
        Err(error) => return serve::explain(&error),
    };
    let mut text = String::new();
    for (destination, found) in &probed {
        let _ = match found {
            Ok(found) => writeln!(text, "[+] {destination}: {found}"),
            Err(failure) => writeln!(
                text,
                "[-] {destination}: {} ({})",
                failure.detail,
                failure.reason.name()
            ),
        };
    }
    let printed = output::print(text.as_bytes());
    if probed.iter().all(|(_, found)| found.is_ok()) {
        printed
    } else {
        ExitCode::from(exit::UNAVAILABLE)
    }
}
