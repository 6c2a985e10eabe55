//! `minchat-bridge spool export`: the envelopes that wait.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use super::{check_destination, inspect, load, refuse};
use crate::app;
use crate::cli::settings::SettingsArgs;
use crate::cli::{exit, output};
use crate::route;
use crate::spool::{self, Record};

/// Write the events that wait to stdout as JSON Lines, one envelope a line.
///
/// One destination after the other, by name, and for each of them in the order in which they will
/// be published. An event that waits for several destinations is there once for each; its `id` is
/// the same. Nothing is changed: what is exported is still published later. Exits with 74 if
/// something could not be read.
///
/// With `--quarantine`, the events that can be read in the segments that were set aside because something
/// in them was corrupt. Most of them stayed in their queue too, and are published, or wait.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Only what waits for this destination, as `spool list` shows it.
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,

    /// What can be read in the quarantine, instead of what waits.
    #[arg(long)]
    quarantine: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, ExitCode> {
    let config = load(&args.settings)?.config;
    let sealer = app::sealer(&config);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let mut unreadable = 0;
    let see = |record: Record<'_>| {
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
    };
    let (queues, set_aside) = match args.quarantine {
        false => (inspect(&config, see)?, Vec::new()),
        true => {
            let files = spool::quarantine(&config.spool.dir, see);
            (Vec::new(), files.map_err(refuse)?)
        }
    };
    let written = written.and_then(|()| out.flush());
    let is_over = written.is_err();
    let printed = output::printed(written);
    if is_over {
        return Ok(printed);
    }
    let dir = config.spool.dir.display();
    match &args.destination {
        _ if args.quarantine && set_aside.is_empty() => {
            note!("minchat-bridge: nothing was set aside in {dir}");
        }
        Some(destination) if !args.quarantine => {
            check_destination(&config, &queues, destination)?;
        }
        None if !args.quarantine && queues.is_empty() => {
            note!("minchat-bridge: no events wait in {dir}");
        }
        _ => {}
    }
    let corrupt = queues.iter().flat_map(|queue| &queue.corrupt);
    let corrupt: u64 = corrupt.map(|(_, places)| places).sum();
    let missing: u64 = queues.iter().map(|queue| queue.missing).sum();
    if missing > 0 {
        note!("minchat-bridge: {missing} events are missing: a segment was cut short or removed");
    }
    if corrupt + unreadable > 0 {
        note!(
            "minchat-bridge: the spool is corrupt in {} places; what could be read is written. `spool verify` tells more",
            corrupt + unreadable
        );
    }
    let is_whole = corrupt + unreadable + missing == 0;
    Ok(match is_whole {
        true => printed,
        false => ExitCode::from(exit::IO),
    })
}
