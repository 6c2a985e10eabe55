//! Another configuration while the bridge serves: on SIGHUP, and when a file of it changes.
//!
//! Guarantees: what can change does so as one, or not at all: while anything does not hold, the old
//! stays, and log and metric say so. A file that was cut, wherever that is, lets in nothing that was refused
//! before, lifts no limit, and leads no event elsewhere. Files that are written one after the other, such as a certificate
//! and its key, are waited for.
//! Leaves to others: what can change (`config`), and changing it (`http`, `publish`).
//!
//! Files are looked at, once a second, instead of listened to: what a change looks like differs
//! between an editor, a mounted volume and Kubernetes, which swaps a link two directories up. What a
//! path leads to does not.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::brokers::Publishers;
use super::{generation, storage};
use crate::config::{self, Changes, Config, Inputs, Loaded, Narrowing, ReadFile, SettingPath};
use crate::delivery::{Delivery, Generation};
use crate::http::Edge;
use crate::metrics::Metrics;
use crate::route::Destination;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a configuration that does not hold is tried again, as it may name a file that comes later.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// Asks for a reload. The last one that is dropped ends the thread.
pub(super) type Ask = SyncSender<()>;

/// The most settings that one line of the log names.
const MOST_NAMED: usize = 20;

/// The configuration that holds, and what follows it.
pub(super) struct Reload {
    pub(super) inputs: Inputs,
    /// The configuration of the start. What of it can't change while the bridge serves is what runs.
    pub(super) started: Loaded,
    pub(super) holds: Loaded,
    pub(super) narrowing: Narrowing,
    pub(super) edge: Edge,
    pub(super) delivery: Delivery,
    pub(super) publishers: Publishers,
    pub(super) metrics: Arc<Metrics>,
}

impl Reload {
    /// Starts the thread that reloads.
    pub(super) fn start(self) -> io::Result<Ask> {
        self.metrics.config_loaded();
        let (ask, asked) = sync_channel(1);
        let watch = Watch::new(&self.holds.files);
        let thread = std::thread::Builder::new().name("reload".to_owned());
        thread.spawn(move || self.run(&asked, watch))?;
        Ok(ask)
    }

    fn run(mut self, asked: &Receiver<()>, mut watch: Watch) {
        let mut refused: Option<Refused> = None;
        loop {
            let why = match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => "SIGHUP",
                Err(RecvTimeoutError::Timeout) if watch.has_changed() => "a file changed",
                Err(RecvTimeoutError::Timeout) if is_due(refused.as_ref()) => "trying again",
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match self.reload() {
                Ok(changes) => {
                    watch = Watch::new(&self.holds.files);
                    refused = None;
                    self.tell(why, &changes);
                }
                Err(problems) => {
                    self.metrics.config_refused();
                    let is_known = refused
                        .as_ref()
                        .is_some_and(|refused| refused.problems == problems);
                    if !is_known || why == "SIGHUP" {
                        tracing::error!(
                            why,
                            problems,
                            "the configuration was not reloaded; the old one stays"
                        );
                    }
                    refused = Some(Refused {
                        problems,
                        at: Instant::now(),
                    });
                }
            }
        }
    }

    /// Takes the configuration of now into use, and says what changed with it, and what of it waits for a restart.
    fn reload(&mut self) -> Result<Changes, String> {
        let would = config::load(&self.inputs).map_err(|problems| {
            let each: Vec<String> = problems.iter().map(ToString::to_string).collect();
            each.join(" | ")
        })?;
        let refused = self.narrowing.refuses(&would);
        if !refused.is_empty() {
            return Err(refused.join(" | "));
        }
        let changes = config::changes(&self.started, &self.holds, &would);
        if !changes.together.is_empty() {
            return Err(format!(
                "{} can't change without a restart",
                listed(&changes.together)
            ));
        }
        let change = self.edge.prepare(&would.config.http, &would.config.sources);
        let change = change.map_err(|why| format!("http.tls: {why}"))?;
        let generation = self.follow(&would.config)?;
        self.publishers.reload(&would.config);
        super::show_certificates(&would.config, &self.metrics);
        // Before the first request is answered by the new configuration.
        self.metrics.config_loaded();
        change.apply(generation);
        self.narrowing.add(&would);
        warn_of_open_sources(&self.holds.config, &would.config);
        self.holds = would;
        Ok(changes)
    }

    /// Starts the lanes of destinations that are new. From then on nothing can fail.
    fn follow(&self, config: &Config) -> Result<Arc<Generation>, String> {
        let before = self.delivery.current();
        let (table, sealer) = generation::following(before.table(), before.sealer(), config)?;
        storage::queue_names(&table)?;
        self.publishers.follow(config);
        let maker = |destination: &Destination| self.publishers.maker(destination);
        let next = self.delivery.follow(table, sealer, &maker);
        let next = next.map_err(|error| format!("no lane can be started: {error}"))?;
        tell_what_is_other(&before, &next, &self.delivery);
        Ok(next)
    }

    fn tell(&self, why: &str, changes: &Changes) {
        for warning in &self.holds.warnings {
            tracing::warn!("{warning}");
        }
        if !changes.later.is_empty() {
            tracing::warn!(
                settings = listed(&changes.later),
                "these settings changed, and wait for a restart"
            );
        }
        let changed = match changes.taken.is_empty() {
            true => "nothing".to_owned(),
            false => listed(&changes.taken),
        };
        tracing::info!(why, changed, "reloaded the configuration");
    }
}

/// Names each source that lets everybody in from now on and did not before.
fn warn_of_open_sources(before: &Config, now: &Config) {
    let is_open = |config: &Config, name: &str| {
        let mut sources = config.sources.iter();
        sources.any(|source| source.name == name && source.auth.none)
    };
    for source in &now.sources {
        if source.auth.none && !is_open(before, &source.name) {
            tracing::warn!(
                source = source.name,
                "this source is open to everybody who reaches it from now on"
            );
        }
    }
}

/// Which destinations came, and which went.
fn tell_what_is_other(before: &Generation, next: &Generation, delivery: &Delivery) {
    let backlogs = delivery.backlogs();
    let is_waited_for = |destination: &Destination| {
        let name = destination.to_string();
        backlogs.iter().any(|left| left.destination == name)
    };
    for (place, destination) in next.table().destinations().iter().enumerate() {
        match (
            before.table().is_routed(place),
            next.table().is_routed(place),
        ) {
            (false, true) => tracing::info!(%destination, "events go to this destination now"),
            (true, false) if is_waited_for(destination) => {
                storage::tell_of_what_is_left(destination);
            }
            (true, false) => {
                tracing::info!(%destination, "no route leads to this destination any more");
            }
            _ => {}
        }
    }
}

/// A configuration that was not taken.
struct Refused {
    problems: String,
    at: Instant,
}

fn is_due(refused: Option<&Refused>) -> bool {
    refused.is_some_and(|refused| refused.at.elapsed() >= RETRY_EVERY)
}

/// Names settings, the first of them if they are many.
fn listed(paths: &[SettingPath]) -> String {
    let named = paths.iter().take(MOST_NAMED).map(ToString::to_string);
    let named = named.collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}

/// The files of the configuration.
struct Watch {
    /// As they were when they were read, or told to have changed.
    known: Vec<ReadFile>,
    /// As they were at the last look.
    seen: Vec<ReadFile>,
}

impl Watch {
    fn new(files: &[ReadFile]) -> Self {
        Self {
            known: files.to_vec(),
            seen: files.to_vec(),
        }
    }

    /// Whether something changed, and nothing more since the last look.
    fn has_changed(&mut self) -> bool {
        let now: Vec<_> = self.seen.iter().map(ReadFile::now).collect();
        let is_quiet = now == self.seen;
        self.seen = now;
        let has_changed = is_quiet && self.seen != self.known;
        if has_changed {
            self.known.clone_from(&self.seen);
        }
        has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_when_it_has_come_to_rest() {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let file = dir.path().join("config.yaml");
        let write = |text: &str| std::fs::write(&file, text).expect("it can be written");
        write("sources: {minchat: {auth: {none: true}}}\n");
        let inputs = Inputs {
            file: Some(file.clone()),
            ..Inputs::default()
        };
        let loaded = config::load(&inputs).expect("it holds");
        let mut watch = Watch::new(&loaded.files);
        assert!(!watch.has_changed());
        write("log: {level");
        assert!(!watch.has_changed(), "it may not be all");
        write("log: {level: debug}");
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "it was told");
        std::fs::remove_file(&file).expect("it is there");
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "that it is gone");
    }
}
