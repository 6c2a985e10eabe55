//! `minchat-bridge spool export`: the envelopes that wait.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use super::{check_destination, inspect};
use crate::app;
use crate::cli::settings::SettingsArgs;
use crate::cli::{exit, output};
use crate::route;

/// Write the events that wait to stdout as JSON Lines, one envelope a line.
///
/// One destination after the other, by name, and for each of them in the order in which they will
/// be published. An event that waits for several destinations is there once for each; its `id` is
/// the same. Nothing is changed: what is exported is still published later. Exits with 74 if
/// something could not be read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Only what waits for this destination, as `spool list` shows it.
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, ExitCode> {
    let config = args.settings.load()?.config;
    let sealer = app::sealer(&config);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let mut unreadable = 0;
    let queues = inspect(&config, |record| {
        let is_wanted = |wanted: &String| *wanted == route::shown(record.queue.as_str());
        if !args.destination.as_ref().is_none_or(is_wanted) {
            return ControlFlow::Continue(());
        }
        match sealer.read_stored(record.body) {
            Some(event) => {
                written = out
                    .write_all(event.envelope())
                    .and_then(|()| out.write_all(b"\n"));
            }
            None => unreadable += 1,
        }
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    let written = written.and_then(|()| out.flush());
    let is_over = written.is_err();
    let printed = output::printed(written);
    if is_over {
        return Ok(printed);
    }
    match &args.destination {
        Some(destination) => check_destination(&config, &queues, destination)?,
        None if queues.is_empty() => {
            eprintln!(
                "minchat-bridge: no events wait in {}",
                config.spool.dir.display()
            );
        }
        None => {}
    }
    let corrupt: u64 = queues
        .iter()
        .flat_map(|queue| &queue.corrupt)
        .map(|(_, n)| n)
        .sum();
    if corrupt + unreadable > 0 {
        eprintln!(
            "minchat-bridge: the spool is corrupt in {} places; what could be read is written. `spool verify` tells more",
            corrupt + unreadable
        );
        return Ok(ExitCode::from(exit::IO));
    }
    Ok(printed)
}
