//! The command line: one file a command.
//!
//! Guarantees: every way to end has an exit code of `sysexits.h`, wrong usage and panics included; what a
//! command was asked for goes to stdout, everything else to stderr.

/// As `eprintln!`, by [`output::note`].
macro_rules! note {
    ($($line:tt)*) => {
        $crate::cli::output::note(format_args!($($line)*))
    };
}

mod check;
mod completions;
mod config;
mod dead_letters;
pub mod emit;
mod exit;
pub mod healthcheck;
mod man;
mod moment;
mod output;
mod serve;
mod settings;
mod spool;
mod table;
mod target;
#[cfg(test)]
mod tiny_server;
mod topics;
mod trust;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use signal_hook::consts::SIGXFSZ;

use crate::telemetry::{self, panics};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 64 wrong usage, 69 unavailable, 70 internal error, 74 input or output failed, 78 wrong configuration.

Configuration: flags win over variables, these over the file, this over defaults. Each setting of the file is also a \
variable, MINCHAT_BRIDGE__KAFKA__BOOTSTRAP_SERVERS, and a flag, --set kafka.bootstrap_servers=host:9092; but sources, \
routes, kafka.properties and kafka.create_topics.config, whose keys are names of your own, are set in the file only.";

/// Takes MinChat's webhooks and publishes them as CloudEvents to Kafka and RabbitMQ.
#[derive(Debug, Parser)]
#[command(name = "minchat-bridge", version, arg_required_else_help = true, after_long_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Config(config::Args),
    Emit(emit::Args),
    Spool(spool::Args),
    DeadLetters(dead_letters::Args),
    Topics(topics::Args),
    Healthcheck(healthcheck::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Does what the command line says.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    panics::end_the_process();
    fail_writes_beyond_the_limit_on_file_sizes();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that went away wants no help.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(exit::USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let code = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Config(args) => config::run(args),
        Command::Emit(args) => emit::run(args),
        Command::Spool(args) => spool::run(args),
        Command::DeadLetters(args) => dead_letters::run(args),
        Command::Topics(args) => topics::run(args),
        Command::Healthcheck(args) => healthcheck::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    };
    telemetry::flush();
    code
}

/// Makes a write beyond the limit on the size of files (`ulimit -f`, `LimitFSIZE=`) fail, as one to a full disk does. The
/// signal that comes with it would end the process without a line.
fn fail_writes_beyond_the_limit_on_file_sizes() {
    // Nobody asks whether it came: the write tells. It can't fail for this signal, and without it the default holds.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
