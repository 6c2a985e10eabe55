//! `minchat-bridge dead-letters`: what could not become an event, or could not be published.

mod chosen;
mod list;
mod replay;

use std::process::ExitCode;

use super::exit;
use crate::app::Unread;

/// Look through the dead letters, and publish them again.
///
/// They are read where the configuration's routes lead: from Kafka topics, RabbitMQ queues and files,
/// and from the files under <spool.dir>/dead-letters, where those are that no destination took.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    List(list::Args),
    Replay(replay::Args),
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let done = match &args.action {
        Action::List(args) => list::run(args),
        Action::Replay(args) => replay::run(args),
    };
    done.unwrap_or_else(|code| code)
}

/// Tells which places could not be read, on stderr, and gives the exit code.
fn with_unread(unread: &[Unread], otherwise: ExitCode) -> ExitCode {
    for (place, failure) in unread {
        let (detail, reason) = (&failure.detail, failure.reason.name());
        note!("minchat-bridge: {place} could not be read: {detail} ({reason})");
    }
    match unread.is_empty() {
        true => otherwise,
        false => ExitCode::from(exit::UNAVAILABLE),
    }
}
