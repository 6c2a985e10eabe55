//! `minchat-bridge dead-letters list`: what is there, and why.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indicatif::BinaryBytes;

use super::chosen::Chosen;
use super::with_unread;
use crate::app::{self, Place};
use crate::cli::settings::SettingsArgs;
use crate::cli::table::{Align, Table};
use crate::cli::{moment, output, serve};
use crate::envelope::DeadLetter;
use crate::minchat::Kind;
use crate::publish::Then;

/// The most characters of a detail that the table shows.
const DETAIL: usize = 60;

/// List dead letters.
///
/// Nothing is taken out. Topics are read from their beginning to where they end now, without a
/// consumer group. Messages of a RabbitMQ queue are got and given back at the end, so that other
/// consumers don't see them for that long; each time counts as a delivery. Exits with 69 if a place
/// could not be read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    #[command(flatten)]
    chosen: Chosen,

    /// Print JSON Lines, one object a dead letter, with its body.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, serde::Serialize)]
struct Line<'a> {
    id: String,
    received_at: String,
    stage: &'a str,
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<&'a str>,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind_in_url: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    bytes: usize,
    lies_in: String,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Body<'a> {
    Body(&'a str),
    BodyBase64(String),
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, ExitCode> {
    let config = args.settings.load()?.config;
    let places = args.chosen.places(&config)?;
    let mut shown = Shown::new(args.json);
    let unread = app::dead_letters(&config, &places, |place, dead_letter| match dead_letter {
        None => {
            shown.others += 1;
            Then::Keep
        }
        Some(dead_letter) if !args.chosen.is_wanted(&dead_letter) => Then::Keep,
        Some(dead_letter) => shown.add(place, &dead_letter),
    });
    let unread = unread.map_err(|error| serve::explain(&error))?;
    let printed = shown.end();
    Ok(with_unread(&unread, printed))
}

struct Shown {
    table: Option<Table<8>>,
    out: BufWriter<io::Stdout>,
    written: io::Result<()>,
    count: u64,
    /// What lies beside the dead letters and is none.
    others: u64,
}

impl Shown {
    fn new(json: bool) -> Self {
        let table = Table::new([
            ("RECEIVED", Align::Left),
            ("ID", Align::Left),
            ("STAGE", Align::Left),
            ("REASON", Align::Left),
            ("SIZE", Align::Right),
            ("DESTINATION", Align::Left),
            ("LIES IN", Align::Left),
            ("DETAIL", Align::Left),
        ]);
        Shown {
            table: (!json).then_some(table),
            out: BufWriter::new(io::stdout()),
            written: Ok(()),
            count: 0,
            others: 0,
        }
    }

    fn add(&mut self, place: &Place, dead_letter: &DeadLetter) -> Then {
        self.count += 1;
        if let Some(table) = &mut self.table {
            table.row(row(place, dead_letter));
            return Then::Keep;
        }
        let written = serde_json::to_writer(&mut self.out, &line(place, dead_letter));
        self.written = written
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        match self.written {
            Ok(()) => Then::Keep,
            Err(_) => Then::Stop,
        }
    }

    fn end(mut self) -> ExitCode {
        if let Some(table) = &self.table {
            let text = match self.count {
                0 => "no dead letters\n".to_owned(),
                _ => table.text(),
            };
            self.written = self.out.write_all(text.as_bytes());
        }
        if self.others > 0 {
            note!(
                "minchat-bridge: {} messages beside them are no dead letters of this bridge",
                self.others
            );
        }
        output::printed(self.written.and_then(|()| self.out.flush()))
    }
}

fn row(place: &Place, dead_letter: &DeadLetter) -> [String; 8] {
    let detail = match dead_letter.detail.char_indices().nth(DETAIL) {
        Some((end, _)) => format!("{}...", &dead_letter.detail[..end]),
        None => dead_letter.detail.clone(),
    };
    [
        moment::short(moment::micros(dead_letter.received_at)),
        dead_letter.id.to_string(),
        dead_letter.stage.clone(),
        dead_letter.reason.clone(),
        BinaryBytes(dead_letter.body.len() as u64).to_string(),
        dead_letter.destination.clone().unwrap_or("-".to_owned()),
        place.to_string(),
        detail,
    ]
}

fn line<'a>(place: &Place, dead_letter: &'a DeadLetter) -> Line<'a> {
    Line {
        id: dead_letter.id.to_string(),
        received_at: moment::exact(moment::micros(dead_letter.received_at)),
        stage: &dead_letter.stage,
        reason: &dead_letter.reason,
        detail: &dead_letter.detail,
        destination: dead_letter.destination.as_deref(),
        source: &dead_letter.source,
        kind_in_url: dead_letter.said.map(Kind::name),
        content_type: dead_letter.content_type.as_deref(),
        bytes: dead_letter.body.len(),
        lies_in: place.to_string(),
        body: match std::str::from_utf8(&dead_letter.body) {
            Ok(body) => Body::Body(body),
            Err(_) => Body::BodyBase64(STANDARD.encode(&dead_letter.body)),
        },
    }
}
