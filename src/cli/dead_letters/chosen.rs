//! Which dead letters a command is about.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::builder::PossibleValuesParser;
use uuid::Uuid;

use crate::app::Place;
use crate::cli::{exit, moment};
use crate::config::Config;
use crate::envelope::{DeadLetter, DeadLetterReason, Stage};

/// The flags that choose.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// Read from here only: kafka:TOPIC, amqp:QUEUE, file:NAME, file:PATH (with a slash in it), or kept for
    /// <spool.dir>/dead-letters. Can be repeated [default: wherever the routes lead, and kept].
    #[arg(long, value_name = "PLACE")]
    from: Vec<String>,

    /// Only those with this reason. Can be repeated.
    #[arg(long, value_parser = PossibleValuesParser::new(DeadLetterReason::ALL.map(DeadLetterReason::name)))]
    reason: Vec<String>,

    /// Only those of this stage: what could not become an event, or what a destination refused.
    #[arg(long, value_parser = PossibleValuesParser::new(Stage::ALL.map(Stage::name)))]
    stage: Option<String>,

    /// Only what was received then or later: 2026-11-25T08:00:00Z, 2026-11-25, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<SystemTime>,

    /// Only what was received before.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<SystemTime>,

    /// Only the one with this id. Can be repeated.
    #[arg(long)]
    id: Vec<Uuid>,
}

impl Chosen {
    /// Where to look. What is no place is told here, on stderr.
    pub(super) fn places(&self, config: &Config) -> Result<Vec<Place>, ExitCode> {
        if self.from.is_empty() {
            return Ok(Place::all(config));
        }
        let places = self.from.iter().map(|text| Place::of(config, text));
        places.collect::<Result<_, _>>().map_err(|why| {
            note!("minchat-bridge: --from {why}");
            ExitCode::from(exit::USAGE)
        })
    }

    pub(super) fn is_wanted(&self, dead_letter: &DeadLetter) -> bool {
        let at = dead_letter.received_at;
        (self.reason.is_empty() || self.reason.contains(&dead_letter.reason))
            && self
                .stage
                .as_ref()
                .is_none_or(|stage| *stage == dead_letter.stage)
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && (self.id.is_empty() || self.id.contains(&dead_letter.id))
    }
}
