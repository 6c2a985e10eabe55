//! Logs: one line for each thing that somebody should know, on stderr.
//!
//! Guarantees: what is logged is decided by the section `log` alone, not by `RUST_LOG`; a line of
//! JSON is one object; a panic is one line, with its place and without what it was holding. Logging never blocks, and no
//! message is written without limit.
//! Leaves to others: what is worth a line, and keeping bodies, secrets and people out of it.

mod fields;
pub mod panics;
mod queue;
mod rate_limit;
pub mod settings;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use queue::{Occasion, Queue};
use rate_limit::RateLimit;
use settings::{Format, Level, Settings};

/// How long the end of the process waits for the last lines to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// The lines on their way to stderr, once the log was started.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Logging was started before.
    #[error("logging was started before")]
    Again(#[from] SetGlobalDefaultError),
    /// There is no thread to write the lines.
    #[error("no thread for the log: {0}")]
    Thread(#[from] io::Error),
}

/// Logs to stderr from now on. A thread of its own writes the lines.
///
/// # Errors
/// When logging was started before, or no thread can be started.
pub fn start(settings: &Settings) -> Result<(), StartError> {
    let on_terminal = io::stderr().is_terminal();
    let queue = Arc::clone(QUEUE.get_or_init(Arc::default));
    let limit = RateLimit::default();
    let subscriber = subscriber(settings, on_terminal, Arc::clone(&queue), limit.clone());
    tracing::subscriber::set_global_default(subscriber)?;
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            queue.write_to(io::stderr(), |occasion| match occasion {
                Occasion::Dropped(lines) => tracing::warn!(
                    lines,
                    "lines of the log were dropped: stderr was not read, or could not be written"
                ),
                Occasion::Tick => limit.end_minute(),
            })
        })?;
    Ok(())
}

/// Waits until what was logged is written, but not longer than [`FLUSH`]. To be called before the process ends. Does nothing
/// if the log was not started.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH);
    }
}

/// Waits until what was logged is written, for ever if nobody reads it. Asks no clock, so that the panic hook can call it on a
/// thread whose clock is what panicked.
fn wait_until_written() {
    if let Some(queue) = QUEUE.get() {
        queue.wait_until_written();
    }
}

/// Returns how many lines were dropped since the last call.
#[must_use]
pub fn take_dropped_lines() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.take_dropped())
}

/// Writes a line to stderr that is no event of the log, such as why the program ends: by way of the log if that was
/// started, so that this never blocks either.
pub fn write_line(text: &str) {
    let line = fields::escape(text);
    match QUEUE.get() {
        Some(queue) => queue.push(format!("{line}\n").as_bytes()),
        // What can't be written there can't be told at all.
        None => drop(writeln!(io::stderr(), "{line}")),
    }
}

fn subscriber<W>(
    settings: &Settings,
    on_terminal: bool,
    writer: W,
    limit: RateLimit,
) -> impl Subscriber + Send + Sync + use<W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // It would tell of a line that can't be written with `eprintln`, which panics where stderr is closed.
    let lines = fmt::layer().with_writer(writer).log_internal_errors(false);
    let lines: Box<dyn Layer<Registry> + Send + Sync> =
        if is_for_people(settings.format, on_terminal) {
            let colours = on_terminal && !no_colour();
            lines
                .fmt_fields(fields::escaped())
                .with_target(false)
                .with_ansi(colours)
                .boxed()
        } else {
            lines
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .map_event_format(fields::EscapedJson)
                .boxed()
        };
    // Filters of the layer itself (`with_filter`) can't leave out single events: tracing-subscriber 0.3.23 then keeps their
    // state for the thread's next event.
    Registry::default()
        .with(lines)
        .with(filter(settings.level))
        .with(limit)
}

fn is_for_people(format: Format, on_terminal: bool) -> bool {
    match format {
        Format::Auto => on_terminal,
        Format::Text => true,
        Format::Json => false,
    }
}

/// <https://no-color.org>: set, and not empty.
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// What the brokers' clients say of a broker's trouble, the publishers say in one line.
const CLIENTS: [&str; 2] = ["librdkafka", "rdkafka"];

/// How much is logged of this crate, of the brokers' clients, and of all other crates. Of those
/// that are not ours never more than INFO: below it they show frames, with credentials and bodies.
fn filter(level: Level) -> Targets {
    use LevelFilter as L;
    let (own, clients, others) = match level {
        Level::Error => (L::ERROR, L::OFF, L::ERROR),
        Level::Warn => (L::WARN, L::OFF, L::WARN),
        Level::Info => (L::INFO, L::OFF, L::WARN),
        Level::Debug => (L::DEBUG, L::WARN, L::WARN),
        Level::Trace => (L::TRACE, L::INFO, L::INFO),
    };
    Targets::new()
        .with_default(others)
        .with_targets(CLIENTS.map(|client| (client, clients)))
        // Anybody who sends it something that is no HTTP makes it log errors. `http` counts these.
        .with_target("actix_http", clients)
        // It logs returned messages with their bodies, at WARN.
        .with_target("lapin", L::OFF)
        .with_target(env!("CARGO_CRATE_NAME"), own)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written while an action logs.
    fn logged(format: Format, level: Level, on_terminal: bool, action: impl FnOnce()) -> String {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines(Arc::clone(&buffer));
        let settings = Settings { format, level };
        let limit = RateLimit::default();
        let subscriber = subscriber(&settings, on_terminal, move || lines.clone(), limit);
        tracing::subscriber::with_default(subscriber, action);
        let bytes = buffer.lock().expect("nothing panicked").clone();
        String::from_utf8(bytes).expect("logs are text")
    }

    #[derive(Clone)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nothing panicked").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn auto_is_text_on_a_terminal_and_json_elsewhere() {
        let hello = || tracing::info!(port = 8080, "listening");
        let text = logged(Format::Auto, Level::Info, true, hello);
        assert!(
            text.contains("listening") && !text.starts_with('{'),
            "{text}"
        );
        let json = logged(Format::Auto, Level::Info, false, hello);
        let line: serde_json::Value = serde_json::from_str(&json).expect("one object a line");
        assert_eq!(line["message"], "listening");
        assert_eq!(line["port"], 8080);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_chosen_format_holds_wherever_it_goes_to() {
        let hello = || tracing::info!("hello");
        assert!(logged(Format::Json, Level::Info, true, hello).starts_with('{'));
        let text = logged(Format::Text, Level::Info, false, hello);
        assert!(!text.starts_with('{'), "{text}");
        assert!(!text.contains('\x1b'), "a file has no colours: {text}");
    }

    #[test]
    fn the_level_is_that_of_this_crate() {
        let all = || {
            tracing::error!("E");
            tracing::warn!("W");
            tracing::info!("I");
            tracing::debug!("D");
            tracing::trace!("T");
        };
        let levels = [
            (Level::Error, 1),
            (Level::Warn, 2),
            (Level::Info, 3),
            (Level::Debug, 4),
            (Level::Trace, 5),
        ];
        for (level, lines) in levels {
            let text = logged(Format::Text, level, false, all);
            assert_eq!(text.lines().count(), lines, "{level:?}: {text}");
        }
    }

    #[test]
    fn a_client_of_a_broker_is_quiet_until_debug_and_never_shows_frames() {
        let trouble = || {
            tracing::error!(target: "lapin::returned_messages", "a body");
            tracing::warn!(target: "librdkafka", "all brokers are down");
            tracing::debug!(target: "lapin::frames", "a body");
            tracing::debug!(target: "actix_http::h1", "a head");
        };
        assert_eq!(logged(Format::Text, Level::Info, false, trouble), "");
        let debug = logged(Format::Text, Level::Debug, false, trouble);
        assert_eq!(debug.lines().count(), 1, "{debug}");
        let trace = logged(Format::Text, Level::Trace, false, trouble);
        assert_eq!(trace.lines().count(), 1, "{trace}");
    }

    #[test]
    fn another_crate_is_heard_when_it_warns() {
        let text = logged(Format::Text, Level::Info, false, || {
            tracing::info!(target: "actix_server", "starting");
            tracing::warn!(target: "actix_server", "too many open files");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn what_strangers_make_actix_log_is_not_heard_until_debug() {
        let garbage = || tracing::error!(target: "actix_http::h1::dispatcher", "stream error");
        assert_eq!(logged(Format::Text, Level::Info, false, garbage), "");
        let debug = logged(Format::Text, Level::Debug, false, garbage);
        assert_eq!(debug.lines().count(), 1, "{debug}");
    }

    #[test]
    fn the_same_message_is_written_a_hundred_times_a_minute_and_the_rest_is_counted() {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines(Arc::clone(&buffer));
        let settings = Settings {
            format: Format::Text,
            level: Level::Debug,
        };
        let limit = RateLimit::default();
        let subscriber = subscriber(&settings, false, move || lines.clone(), limit.clone());
        let count = |text: &str| {
            let bytes = buffer.lock().expect("nothing panicked").clone();
            let log = String::from_utf8(bytes).expect("logs are text");
            log.lines().filter(|line| line.contains(text)).count()
        };
        tracing::subscriber::with_default(subscriber, || {
            let lose = |event: u32| tracing::warn!(event, "an event was lost");
            (0..250).for_each(lose);
            for _ in 0..250 {
                tracing::debug!("each is wanted");
            }
            tracing::warn!("another message");
            assert_eq!(count("an event was lost"), 100);
            assert_eq!(count("each is wanted"), 250);
            assert_eq!(count("another message"), 1);
            limit.end_minute();
            assert_eq!(count("left_out=150 of=\"an event was lost\""), 1);
            assert_eq!(count("left_out"), 1, "only what was left out is told");
            lose(251);
            assert_eq!(count("an event was lost event=251"), 1);
            limit.end_minute();
            assert_eq!(count("left_out"), 1);
        });
    }

    #[test]
    fn a_line_of_text_keeps_control_characters_out_of_the_terminal() {
        let text = logged(Format::Text, Level::Info, true, || {
            tracing::info!(path = %"\x1b[2Jgone\n", "odd\r\u{85}\u{2028}\u{202e}\u{9b}é");
        });
        assert!(
            text.contains(r"odd\r\u{85}\u{2028}\u{202e}\u{9b}é"),
            "{text:?}"
        );
        assert!(!text.contains("\x1b[2J"), "{text:?}");
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(text.contains(r"path=\u{1b}[2Jgone\n"), "{text:?}");
    }

    #[test]
    fn hidden_characters_are_escaped_in_both_formats_and_read_back_as_they_were() {
        let hidden = [
            '\u{61c}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{feff}',
            '\u{e0041}',
        ];
        let ranges = [
            '\u{200b}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2066}'..='\u{2069}',
        ];
        let hidden: String = hidden
            .into_iter()
            .chain(ranges.into_iter().flatten())
            .collect();
        let log = |format| {
            logged(format, Level::Info, false, || {
                tracing::info!(detail = %hidden, debug = ?hidden, "é世\"\\{hidden}");
            })
        };
        for line in [log(Format::Text), log(Format::Json)] {
            let shown = |one: char| line.trim_end().contains(one);
            assert!(!hidden.chars().any(shown), "{line:?}");
            assert!(line.contains('é') && line.lines().count() == 1, "{line:?}");
        }
        let json = log(Format::Json);
        let line: serde_json::Value = serde_json::from_str(&json).expect("one object a line");
        assert_eq!(line["message"], format!("é世\"\\{hidden}"));
        assert_eq!(line["detail"], hidden);
    }

    #[test]
    fn a_panic_is_one_line_with_its_place_and_without_what_it_held() {
        let secret = "hunter2";
        let held = Box::new(format!("a body with {secret}"));
        let json = logged(Format::Json, Level::Error, false, || {
            panics::log("worker-1", file!(), 7, panics::bug(&*held));
            panics::log("worker-1", file!(), 8, panics::bug(&"a bug"));
        });
        let lines: Vec<&str> = json.lines().collect();
        assert_eq!(lines.len(), 2, "{json}");
        assert!(!json.contains(secret), "{json}");
        assert!(lines[0].contains("telemetry/mod.rs:7"), "{json}");
        assert!(lines[1].contains("a bug"), "{json}");
    }
}
