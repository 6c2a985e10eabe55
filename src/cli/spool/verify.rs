//! `minchat-bridge spool verify`: whether all that waits can be read.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::BinaryBytes;

use super::{inspect, load, name, refuse};
use crate::app;
use crate::cli::settings::SettingsArgs;
use crate::cli::{exit, output};
use crate::route;
use crate::spool::{self, Inspected};

/// Check every queue: what is whole, what is corrupt, what stands in the quarantine.
///
/// Exits with 0, or with 74 if something in a queue is corrupt or missing. The quarantine holds
/// segments in which something was found corrupt, and does not change the exit code. What could be read
/// of them stayed in its queue; `spool export --quarantine` writes what can be read of them here.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Print JSON Lines: one object a queue, then one a file of the quarantine.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
enum Line {
    Queue {
        destination: String,
        whole: bool,
        events: u64,
        segments: u64,
        /// Events that are whole records and can't be read.
        unreadable_events: u64,
        /// Events that should be there besides: a segment was cut short or removed.
        missing_events: u64,
        corrupt: Vec<Corrupt>,
    },
    Quarantine {
        quarantine: PathBuf,
        /// None if nothing in it can be read.
        destination: Option<String>,
        bytes: u64,
        /// Events in it that can be read.
        events: u64,
    },
}

#[derive(Debug, serde::Serialize)]
struct Corrupt {
    segment: PathBuf,
    places: u64,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, ExitCode> {
    let config = load(&args.settings)?.config;
    let sealer = app::sealer(&config);
    let mut unreadable: Vec<(String, u64)> = Vec::new();
    let queues = inspect(&config, |record| {
        if sealer.read_stored(record.body).is_none() {
            let queue = record.queue.as_str();
            match unreadable.last_mut().filter(|(last, _)| last == queue) {
                Some((_, count)) => *count += 1,
                None => unreadable.push((queue.to_owned(), 1)),
            }
        }
        ControlFlow::Continue(())
    })?;
    let unreadable_in = |queue: &Inspected| {
        let stored = queue.name.as_ref().map(|name| name.as_str());
        let mut counts = unreadable.iter();
        counts
            .find(|(name, _)| Some(name.as_str()) == stored)
            .map_or(0, |(_, count)| *count)
    };
    let queued = queues
        .into_iter()
        .map(|queue| line(unreadable_in(&queue), queue));
    let mut lines: Vec<Line> = queued.collect();
    let set_aside = spool::quarantine(&config.spool.dir, |_| ControlFlow::Continue(()));
    lines.extend(
        set_aside
            .map_err(refuse)?
            .into_iter()
            .map(|file| Line::Quarantine {
                quarantine: file.path,
                destination: file.queue.map(|name| route::shown(name.as_str())),
                bytes: file.bytes,
                events: file.events,
            }),
    );
    let printed = match args.json {
        true => output::print_lines(&lines),
        false if lines.is_empty() => {
            let text = format!("no events wait in {}\n", config.spool.dir.display());
            output::print(text.as_bytes())
        }
        false => output::print(text(&lines).as_bytes()),
    };
    let is_whole = lines
        .iter()
        .all(|line| !matches!(line, Line::Queue { whole: false, .. }));
    Ok(match is_whole {
        true => printed,
        false => ExitCode::from(exit::IO),
    })
}

fn line(unreadable_events: u64, queue: Inspected) -> Line {
    Line::Queue {
        destination: name(&queue),
        whole: queue.is_whole() && unreadable_events == 0,
        events: queue.events,
        segments: queue.segments,
        unreadable_events,
        missing_events: queue.missing,
        corrupt: queue
            .corrupt
            .into_iter()
            .map(|(segment, places)| Corrupt { segment, places })
            .collect(),
    }
}

fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let _ = match line {
            Line::Queue {
                destination,
                whole: true,
                events,
                segments,
                ..
            } => writeln!(
                text,
                "[+] {destination}: whole, {events} events in {segments} segments"
            ),
            Line::Queue {
                destination,
                events,
                unreadable_events,
                missing_events,
                corrupt,
                ..
            } => {
                let _ = writeln!(
                    text,
                    "[-] {destination}: corrupt; {events} events are whole records"
                );
                if *unreadable_events > 0 {
                    let _ = writeln!(text, "    {unreadable_events} of them are no event");
                }
                if *missing_events > 0 {
                    let _ = writeln!(
                        text,
                        "    {missing_events} more are missing: a segment was cut short or removed"
                    );
                }
                corrupt.iter().try_for_each(|Corrupt { segment, places }| {
                    let segment = segment.display();
                    writeln!(text, "    {segment}: {places} corrupt places")
                })
            }
            Line::Quarantine {
                quarantine,
                bytes,
                events,
                ..
            } => writeln!(
                text,
                "[i] set aside: {}, {}, {events} events in it can be read",
                quarantine.display(),
                BinaryBytes(*bytes)
            ),
        };
    }
    text
}
