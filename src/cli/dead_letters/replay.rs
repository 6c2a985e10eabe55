//! `minchat-bridge dead-letters replay`: publishes them again.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use indicatif::ProgressBar;

use super::chosen::Chosen;
use super::with_unread;
use crate::app::{self, Replayed};
use crate::cli::settings::SettingsArgs;
use crate::cli::{exit, output, serve};
use crate::config::Loaded;
use crate::envelope::DeadLetter;
use crate::telemetry;

/// Publish dead letters again, with their old ids and times, to where the routes lead today.
///
/// In no order. What still can't become an event, or is refused again, is told and left. What was
/// published and confirmed is taken out of a RabbitMQ queue. Topics and files stay as they are: another
/// replay publishes the same again, with the same ids, by which consumers tell; --since, --until and
/// --id choose what was not replayed yet.
///
/// Exits with 69 if something could not be published or read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    #[command(flatten)]
    chosen: Chosen,

    /// Tell what would be published, and where, and publish nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, ExitCode> {
    let Loaded {
        config, warnings, ..
    } = args.settings.load()?;
    let places = args.chosen.places(&config)?;
    if let Err(error) = telemetry::start(&config.log) {
        note!("minchat-bridge: {error}");
        return Err(ExitCode::from(exit::INTERNAL));
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let mut summary = Summary::new(args.dry_run);
    let unread = app::replay(
        &config,
        &places,
        args.dry_run,
        |dead_letter| args.chosen.is_wanted(dead_letter),
        |dead_letter, replayed| summary.add(dead_letter, replayed),
    );
    let refused = summary.refused;
    let printed = summary.end();
    let unread = unread.map_err(|error| serve::explain(&error))?;
    let printed = with_unread(&unread, printed);
    Ok(match refused {
        0 => printed,
        _ => ExitCode::from(exit::UNAVAILABLE),
    })
}

struct Summary {
    dry_run: bool,
    progress: ProgressBar,
    published: u64,
    no_event: u64,
    refused: u64,
}

impl Summary {
    fn new(dry_run: bool) -> Self {
        let progress = match io::stderr().is_terminal() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        Summary {
            dry_run,
            progress,
            published: 0,
            no_event: 0,
            refused: 0,
        }
    }

    fn add(&mut self, dead_letter: &DeadLetter, replayed: &Replayed) {
        let id = dead_letter.id;
        let line = match replayed {
            Replayed::Published { kind, destinations } => {
                self.published += 1;
                let (kind, destinations) = (kind.name(), destinations.join(", "));
                self.dry_run
                    .then(|| format!("[+] {id}: would be published as {kind} to {destinations}\n"))
            }
            Replayed::NoEvent(why) => {
                self.no_event += 1;
                Some(format!("[-] {id}: still no event: {why}\n"))
            }
            Replayed::Refused(why) => {
                self.refused += 1;
                Some(format!("[-] {id}: {why}\n"))
            }
        };
        self.progress
            .set_message(format!("{} published", self.published));
        self.progress.tick();
        if let Some(line) = line {
            // How a reader that went away is met is told by the summary.
            self.progress.suspend(|| output::print(line.as_bytes()));
        }
    }

    fn end(self) -> ExitCode {
        self.progress.finish_and_clear();
        let published = match self.dry_run {
            true => "would be published",
            false => "published",
        };
        let mut text = format!("{} {published}", self.published);
        for (count, what) in [
            (self.no_event, "left, as they are still no events"),
            (self.refused, "left, as they could not be published"),
        ] {
            if count > 0 {
                let _ = write!(text, "; {count} {what}");
            }
        }
        text.push('\n');
        output::print(text.as_bytes())
    }
}
