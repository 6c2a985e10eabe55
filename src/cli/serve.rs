//! `minchat-bridge serve`: run.

use std::path::Path;
use std::process::ExitCode;

use super::exit;
use super::settings::{DEFAULT_FILE, SettingsArgs};
use crate::app::{Application, Failed};
use crate::config::ReadFile;
use crate::spool::OpenError;
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
        note!("minchat-bridge: {error}");
        return ExitCode::from(exit::INTERNAL);
    }
    let inputs = args.settings.inputs();
    tell_what_was_read(inputs.file.as_deref(), &loaded.files);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let application = Application::build(loaded, inputs);
    match application.and_then(Application::run_until_stopped) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => explain(&error),
    }
}

/// Says where the configuration comes from: who mounted a file at the wrong place finds it here.
fn tell_what_was_read(own: Option<&Path>, files: &[ReadFile]) {
    match own {
        Some(own) => tracing::info!(file = %own.display(), "read the configuration file"),
        None => tracing::info!(
            "no configuration file was read: --config and MINCHAT_BRIDGE_CONFIG name none, and {DEFAULT_FILE} is not there"
        ),
    }
    let named = files.iter().map(ReadFile::path);
    let named = named.filter(|path| Some(*path) != own);
    let named: Vec<String> = named.map(|path| path.display().to_string()).collect();
    if !named.is_empty() {
        tracing::info!(
            files = named.join(", "),
            "read the files that the configuration names"
        );
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
        Failed::Spool(OpenError::Absent { .. }) => exit::UNAVAILABLE,
        Failed::Io { .. } | Failed::Spool(_) => exit::IO,
        Failed::Metrics(_) => exit::INTERNAL,
    })
}
