//! `minchat-bridge spool drain`: publishes what waits.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::load;
use crate::app::{self, Drained};
use crate::cli::settings::SettingsArgs;
use crate::cli::{exit, output, serve};
use crate::config::Loaded;
use crate::telemetry;
use crate::units::parse_duration;

/// How often a log is told how far it is.
const TELL: Duration = Duration::from_secs(10);

/// Publish what is left, in order, and end. Takes no webhooks, and needs the directory for itself.
///
/// Exits with 0 once the spool is empty, with 69 if events are left: the time was over, SIGTERM,
/// SIGINT or SIGHUP came, or their broker is not configured.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// How long to try, such as 30s or 10m [default: until nothing is left].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, ExitCode> {
    let Loaded {
        config, warnings, ..
    } = load(&args.settings)?;
    if let Err(error) = telemetry::start(&config.log) {
        note!("minchat-bridge: {error}");
        return Err(ExitCode::from(exit::INTERNAL));
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let mut progress = Progress::new();
    let drained = app::drain(&config, args.timeout, |there, left| {
        progress.show(there, left)
    });
    progress.end();
    let drained = drained.map_err(|error| serve::explain(&error))?;
    let printed = output::print(text(&drained).as_bytes());
    Ok(match drained.left.is_empty() {
        true => printed,
        false => ExitCode::from(exit::UNAVAILABLE),
    })
}

fn text(drained: &Drained) -> String {
    let Drained { events, left, took } = drained;
    let mut text = format!("drained {events} events in {:.1} s; ", took.as_secs_f64());
    if left.is_empty() {
        text.push_str("nothing is left\n");
        return text;
    }
    let all: u64 = left.iter().map(|left| left.events).sum();
    text.push_str(&format!("{all} are left:\n"));
    for left in left {
        let (destination, events, detail) = (&left.destination, left.events, &left.detail);
        text.push_str(&format!("  {destination}: {events} ({detail})\n"));
    }
    text
}

/// A bar on a terminal, else a line of the log from time to time.
struct Progress {
    bar: Option<ProgressBar>,
    left: Option<u64>,
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        let bar = || {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            match ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        };
        Progress {
            bar: io::stderr().is_terminal().then(bar),
            left: None,
            told: Instant::now(),
        }
    }

    fn show(&mut self, there: u64, left: u64) {
        let drained = there.saturating_sub(left);
        let is_news = self.left.replace(left) != Some(left);
        if let Some(bar) = &self.bar {
            if is_news {
                bar.set_length(there);
                bar.set_position(drained);
            }
        } else if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            tracing::info!(drained, left, "still draining the spool");
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
