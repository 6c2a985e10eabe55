//! `minchat-bridge serve`: run.

use std::process::ExitCode;

use super::{exit, settings::SettingsArgs};
use crate::app::{Application, Failed};
use crate::telemetry;

/// Take webhooks and publish them, until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::start(&loaded.config.log) {
        eprintln!("minchat-bridge: {error}");
        return ExitCode::from(exit::INTERNAL);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let application = Application::build(loaded, args.settings.inputs());
    match application.and_then(Application::run_until_stopped) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => explain(&error),
    }
}

/// Prints the chain of an error once, and gives its exit code.
pub(super) fn explain(error: &Failed) -> ExitCode {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    telemetry::write_line(&format!("minchat-bridge: {text}"));
    ExitCode::from(match error {
        Failed::Configuration(_) => exit::CONFIGURATION,
        Failed::Io { .. } | Failed::Spool(_) => exit::IO,
        Failed::Metrics(_) => exit::INTERNAL,
    })
}
