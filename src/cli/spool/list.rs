//! `minchat-bridge spool list`: what waits, for whom, since when.

use std::ops::ControlFlow;
use std::process::ExitCode;

use indicatif::BinaryBytes;

use super::{Leads, inspect, load, name};
use crate::cli::settings::SettingsArgs;
use crate::cli::table::{Align, Table};
use crate::cli::{moment, output};
use crate::config::Config;
use crate::spool::Inspected;

/// List the destinations that events wait for.
///
/// The last column tells whether the configuration still leads there: by a route; by its broker
/// alone, which is enough for what is left to be published; or not at all, so that events are kept
/// until the broker is configured again or they are discarded.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Print JSON Lines, one object a destination.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, serde::Serialize)]
struct Line {
    destination: String,
    events: u64,
    bytes: u64,
    oldest: Option<String>,
    newest: Option<String>,
    segments: u64,
    leads_there: Leads,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, ExitCode> {
    let config = load(&args.settings)?.config;
    let mut queues = inspect(&config, |_| ControlFlow::Continue(()))?;
    // What is published already is about to be removed.
    queues.retain(|queue| queue.events > 0 || !queue.is_whole());
    if args.json {
        let lines: Vec<Line> = queues.iter().map(|queue| line(&config, queue)).collect();
        return Ok(output::print_lines(&lines));
    }
    Ok(output::print(text(&config, &queues).as_bytes()))
}

fn line(config: &Config, queue: &Inspected) -> Line {
    Line {
        destination: name(queue),
        events: queue.events,
        bytes: queue.bytes,
        oldest: queue.oldest.map(moment::exact),
        newest: queue.newest.map(moment::exact),
        segments: queue.segments,
        leads_there: Leads::of(config, queue),
    }
}

fn text(config: &Config, queues: &[Inspected]) -> String {
    if queues.is_empty() {
        return format!("no events wait in {}\n", config.spool.dir.display());
    }
    let mut table = Table::new([
        ("DESTINATION", Align::Left),
        ("EVENTS", Align::Right),
        ("SIZE", Align::Right),
        ("OLDEST", Align::Left),
        ("NEWEST", Align::Left),
        ("LEADS THERE", Align::Left),
    ]);
    let time = |micros: Option<u64>| micros.map_or("-".to_owned(), moment::short);
    for queue in queues {
        table.row([
            name(queue),
            queue.events.to_string(),
            BinaryBytes(queue.bytes).to_string(),
            time(queue.oldest),
            time(queue.newest),
            Leads::of(config, queue).text().to_owned(),
        ]);
    }
    table.text()
}
