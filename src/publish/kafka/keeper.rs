//! Keeps every topic's client in working order: one thread for all topics of the cluster, that
//! finds out what a topic is like, makes its client, and looks again now and then.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::{Producer, PurgeConfig};
use tokio::runtime::Handle;

use super::client::{self, Mode};
use super::context::Context;
use super::errors;
use super::publisher::{Client, Held, TopicLine, takes_all};
use super::settings::Settings;
use super::topics::Topics;
use crate::publish::{Failure, Report};

/// How long until a topic without a client is looked at again.
const RETRY: Duration = Duration::from_secs(1);
/// How often all clients are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long a client may not reach the brokers that it knows until it is made anew: more than a
/// connection and a producer's number take with answers that come after 5 s each.
const REPLACE: Duration = Duration::from_secs(30);

/// A hand on the thread, and what makes clients. The last one that stops ends the thread.
#[derive(Clone)]
pub(super) struct Keeper(Arc<Bell>);

struct Bell {
    state: Mutex<State>,
    rung: Condvar,
    queue: Queue,
}

struct State {
    lines: Vec<Arc<TopicLine>>,
    settings: Settings,
    /// Counts the changes of the settings.
    generation: u64,
    /// What the files of the settings held when they were last taken.
    files: u64,
    rung: bool,
    stopped: bool,
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn start(
        settings: Settings,
        runtime: Handle,
        max_body: usize,
        on_queue: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> std::io::Result<Self> {
        let keeper = Keeper(Arc::new(Bell {
            state: Mutex::new(State {
                lines: Vec::new(),
                files: settings.fingerprint_of_files(),
                settings: settings.clone(),
                generation: 0,
                rung: false,
                stopped: false,
            }),
            rung: Condvar::new(),
            queue: Queue {
                held: Arc::default(),
                on_queue,
            },
        }));
        let round = Round {
            topics: Topics::new(settings.clone(), runtime.clone()),
            settings,
            generation: 0,
            runtime,
            max_body,
            keeper: keeper.clone(),
        };
        let thread = std::thread::Builder::new().name("kafka-keeper".to_owned());
        thread.spawn(move || round.run())?;
        Ok(keeper)
    }

    /// A new topic that needs a client.
    pub(super) fn add(&self, line: Arc<TopicLine>) {
        self.lock().lines.push(line);
        self.wake();
    }

    /// A topic lost its client.
    pub(super) fn wake(&self) {
        self.lock().rung = true;
        self.0.rung.notify_one();
    }

    /// Takes the login and the certificates of other settings, if they differ. A client that works is left alone.
    pub(super) fn reload(&self, settings: Settings) {
        let files = settings.fingerprint_of_files();
        let mut state = self.lock();
        if state.settings.take_credentials(settings) | (state.files != files) {
            state.files = files;
            state.generation += 1;
            drop(state);
            self.wake();
        }
    }

    /// The settings of now, and their generation.
    fn settings(&self) -> (Settings, u64) {
        let state = self.lock();
        (state.settings.clone(), state.generation)
    }

    /// Makes a client for a topic, which nobody uses yet.
    pub(super) fn make_client(
        &self,
        line: &Arc<TopicLine>,
        mode: Mode,
        prepare: impl FnOnce(Context) -> Context,
    ) -> Result<Arc<Client>, Failure> {
        let (settings, generation) = self.settings();
        let max_message = line.max_message();
        let config = client::producer(&settings, max_message, mode);
        let (queued, bell) = (Arc::clone(line), Arc::clone(&self.0));
        let on_queue = Arc::new(move |events| bell.queue.holds(&queued, events));
        let keeper = self.clone();
        let on_end = Arc::new(move || keeper.wake());
        let context = Context::new(
            line.reports.clone(),
            on_queue,
            on_end,
            generation,
            mode,
            client::batch_size(max_message, mode),
        );
        let client = Client::from_config_and_context(&config, prepare(context));
        Ok(Arc::new(client.map_err(|error| errors::of_error(&error))?))
    }

    /// Ends the thread after what it is doing.
    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.0.rung.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    /// The topics to look at, after a ring or so long; none when it is over.
    fn wait(&self, at_most: Duration) -> Option<Vec<Arc<TopicLine>>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .rung
            .wait_timeout_while(state, at_most, |state| !state.rung && !state.stopped);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.rung = false;
        (!state.stopped).then(|| state.lines.clone())
    }

    /// Puts the topic that is asked about first at the end.
    fn rotate(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.lines.is_empty() {
            state.lines.rotate_left(1);
        }
    }
}

struct Round {
    /// As of the last round.
    settings: Settings,
    generation: u64,
    runtime: Handle,
    /// The largest body that the listener lets in, in bytes.
    max_body: usize,
    topics: Topics,
    keeper: Keeper,
}

/// What the clients of all topics hold together, in events.
struct Queue {
    held: Arc<AtomicI64>,
    on_queue: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Queue {
    /// The client of one topic holds so many now.
    fn holds(&self, line: &TopicLine, events: i64) {
        let change = events - line.queued.swap(events, Ordering::Relaxed);
        let held = self.held.fetch_add(change, Ordering::Relaxed) + change;
        (self.on_queue)(u64::try_from(held).unwrap_or_default());
    }
}

impl Round {
    fn run(mut self) {
        let mut pause = RETRY;
        let mut refreshed = Instant::now();
        let keeper = self.keeper.clone();
        while let Some(lines) = keeper.0.wait(pause) {
            self.renew();
            let outdated = lines
                .iter()
                .filter(|line| self.is_outdated(line) || is_of_no_use(line))
                .inspect(|line| let_go(line))
                .count();
            let (ready, lacking): (Vec<_>, Vec<_>) =
                lines.into_iter().partition(|line| line.is_ready());
            self.equip_all(&lacking);
            if !ready.is_empty() && refreshed.elapsed() >= LOOK {
                self.refresh(&ready);
                refreshed = Instant::now();
            }
            if !lacking.iter().all(|line| line.is_ready()) {
                self.topics.forget();
            }
            pause = if outdated == 0 && lacking.iter().all(|line| line.is_ready()) {
                LOOK
            } else {
                RETRY
            };
        }
    }

    fn equip_all(&mut self, lacking: &[Arc<TopicLine>]) {
        for line in lacking {
            // Without a broker no topic can be asked about: the next round begins with another.
            let Err(failure) = self.equip(line) else {
                continue;
            };
            if failure.reason.is_of_the_whole_broker() {
                let others = lacking.iter().filter(|line| line.client().is_none());
                others.for_each(|line| line.reports.send(Report::Down(failure.clone())));
                self.keeper.0.rotate();
                return;
            }
            if line.client().is_none() {
                line.reports.send(Report::Down(failure));
            }
        }
    }

    fn renew(&mut self) {
        let (settings, generation) = self.keeper.settings();
        if generation != self.generation {
            self.generation = generation;
            self.settings = settings;
            self.topics.forget();
            self.topics = Topics::new(self.settings.clone(), self.runtime.clone());
        }
    }

    /// Whether a topic's client has settings that were replaced since.
    fn is_outdated(&self, line: &TopicLine) -> bool {
        let client = line.client();
        client.is_some_and(|client| client.context().generation != self.generation)
    }

    /// Brings a topic's client to where it can be used. It tells its lane by itself what is in the
    /// way, and when it is ready.
    fn equip(&mut self, line: &Arc<TopicLine>) -> Result<(), Failure> {
        let client = match line.client() {
            Some(client) => client,
            None => self.give_client(line)?,
        };
        let create = self.settings.create_topics.clone();
        let found = self
            .topics
            .find_or_create(client.client(), &line.topic, create.as_ref());
        if let Err(failure) = found {
            let failure = self
                .settings
                .explain(failure, client.context().last_error());
            client.context().went_down(failure.clone());
            return Err(failure);
        }
        let max_message = self.topics.max_message(&line.topic);
        self.learn(line, max_message);
        tracing::debug!(topic = line.topic, max_message, "found");
        let fits = max_message.is_none_or(|max| client.context().batch_size <= max);
        let client = match fits {
            true => client,
            false => self.give_client(line)?,
        };
        client.context().found();
        Ok(())
    }

    /// Gives the topic a client, in place of one that holds no events.
    fn give_client(&self, line: &Arc<TopicLine>) -> Result<Held, Failure> {
        let client = self
            .keeper
            .make_client(line, Mode::Ordered, |context| context)?;
        line.put_if_idle(Some(Arc::clone(&client)));
        Ok(Held::of(client))
    }

    /// Reads the topics' limits again, so that one that was raised or lowered counts.
    fn refresh(&mut self, lines: &[Arc<TopicLine>]) {
        for line in lines {
            let max_message = self.topics.max_message(&line.topic);
            if max_message.is_some() {
                self.learn(line, max_message);
            }
        }
    }

    /// What a topic takes, if that is known. Said once, where it is less than the listener lets in.
    fn learn(&self, line: &TopicLine, max_message: Option<usize>) {
        let is_news = line.takes(max_message);
        let too_small = max_message.filter(|max| !takes_all(*max, self.max_body));
        if let Some(max_message_bytes) = too_small.filter(|_| is_news) {
            tracing::warn!(
                topic = line.topic,
                max_message_bytes,
                max_body_bytes = self.max_body,
                "http.max_body lets in more than this topic takes: what is too large for it goes to the dead letters"
            );
        }
    }
}

/// Whether another client would do better: one that gave up and that its lane did not replace, one whose threads sleep, one that holds events and has not
/// reached its broker for a while (librdkafka 2.12 tries to connect 800 times a second then, and takes 0.9 of a core,
/// 2026-11-25; one that holds nothing rests between its attempts), one that has not for longer (all the
/// brokers that it knows may have been replaced), and one that knows no broker any more.
fn is_of_no_use(line: &TopicLine) -> bool {
    line.client().is_some_and(|client| {
        let context = client.context();
        let holds_events = client.in_flight_count() > 0;
        context.is_lost()
            || context.gave_up_before(RETRY)
            || context.is_stuck()
            || context.is_unusable_for(REPLACE)
            || context.is_unusable_for(LOOK) && context.is_down() && holds_events
    })
}

/// Ends a client that can't reach its broker, so that another can. What it holds is
/// reported first, as of no use any more, and the lane asks for another client; one that holds
/// nothing just goes.
fn let_go(line: &TopicLine) {
    let Some(client) = line.client() else { return };
    let context = client.context();
    let is_over = context.is_lost() || context.gave_up_before(RETRY);
    if context.is_found() && context.is_usable() && !is_over {
        return;
    }
    if !line.put_if_idle(None) {
        client.purge(PurgeConfig::default().queue().inflight());
    }
}
