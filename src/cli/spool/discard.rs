//! `minchat-bridge spool discard`: gives up what waits for a destination.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use super::{check_destination, inspect, load, name, refuse};
use crate::cli::settings::SettingsArgs;
use crate::cli::{exit, output};
use crate::spool::Claim;

/// Give up the events that wait for a destination. They are lost.
///
/// For a destination that will never take them: it works without a route or a broker in the
/// configuration too. Refused while a bridge runs in the directory.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// The destination, as `spool list` and the logs show it: kafka:minchat.message.sent.v1, amqp:chat/message.sent.
    #[arg(long, value_name = "DESTINATION")]
    destination: String,

    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, ExitCode> {
    let config = load(&args.settings)?.config;
    let destination = &args.destination;
    let claim = Claim::take(&config.spool.dir).map_err(refuse)?;
    let mut queues = inspect(&config, |_| ControlFlow::Continue(()))?;
    check_destination(&config, &queues, destination)?;
    queues.retain(|queue| name(queue) == *destination);
    if queues.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let events: u64 = queues.iter().map(|queue| queue.events).sum();
    if !args.yes && !is_meant(destination, events)? {
        return Ok(output::print(b"nothing is discarded\n"));
    }
    for queue in &queues {
        claim.discard(queue).map_err(refuse)?;
    }
    let text = format!("{events} events for {destination} are discarded\n");
    Ok(output::print(text.as_bytes()))
}

/// Asks whoever sits at the terminal.
fn is_meant(destination: &str, events: u64) -> Result<bool, ExitCode> {
    if !io::stdin().is_terminal() {
        note!(
            "minchat-bridge: {events} events for {destination} would be lost; say --yes, since there is no terminal to ask on"
        );
        return Err(ExitCode::from(exit::USAGE));
    }
    let question =
        format!("Discard {events} events for {destination}? They can't be had back. [y/N] ");
    let mut answer = String::new();
    let asked = io::stderr()
        .write_all(question.as_bytes())
        .and_then(|()| io::stdin().read_line(&mut answer));
    if let Err(error) = asked {
        note!("minchat-bridge: stdin: {error}");
        return Err(ExitCode::from(exit::IO));
    }
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}
