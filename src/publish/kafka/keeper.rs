//! Keeps every topic's client in working order: one thread for all topics of the cluster, that
//! finds out what a topic is like, makes its client, and looks again now and then.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::{Producer, PurgeConfig};
use tokio::runtime::Handle;

use super::client;
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
/// How often the limits of topics are read again, so that a raised one counts.
const REFRESH: Duration = Duration::from_secs(30);

/// A hand on the thread. The last one that stops ends it.
#[derive(Clone)]
pub(super) struct Keeper(Arc<Bell>);

#[derive(Default)]
struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<Arc<TopicLine>>,
    /// Other settings, that have yet to be taken.
    renewed: Option<Settings>,
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
        let keeper = Keeper(Arc::default());
        let queue = Queue {
            held: Arc::default(),
            on_queue,
        };
        let bell = Arc::clone(&keeper.0);
        let thread = std::thread::Builder::new().name("kafka-keeper".to_owned());
        thread.spawn(move || {
            Round {
                topics: Topics::new(settings.clone(), runtime.clone()),
                settings,
                generation: 0,
                runtime,
                max_body,
                queue,
                keeper: Keeper(Arc::clone(&bell)),
            }
            .run(&bell)
        })?;
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

    /// Takes the login and the certificates of other settings. A client that works is left alone.
    pub(super) fn reload(&self, settings: Settings) {
        self.lock().renewed = Some(settings);
        self.wake();
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

    fn renewed(&self) -> Option<Settings> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.renewed.take()
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
    settings: Settings,
    /// Counts the changes of the settings.
    generation: u64,
    runtime: Handle,
    /// The largest body that the listener lets in, in bytes.
    max_body: usize,
    queue: Queue,
    topics: Topics,
    /// For who has to wake this thread.
    keeper: Keeper,
}

/// What the clients of all topics hold together, in events.
#[derive(Clone)]
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
    fn run(mut self, bell: &Bell) {
        let mut pause = RETRY;
        let mut refreshed = Instant::now();
        while let Some(lines) = bell.wait(pause) {
            if let Some(settings) = bell.renewed() {
                self.renew(settings);
            }
            let ended = lines.iter().filter(|line| empty_if_ended(line)).count();
            let outdated = lines
                .iter()
                .filter(|line| self.is_outdated(line) || is_of_no_use(line))
                .inspect(|line| let_go(line))
                .count();
            let (ready, lacking): (Vec<_>, Vec<_>) =
                lines.into_iter().partition(|line| line.is_ready());
            for line in &lacking {
                // Without a broker no topic can be asked about: the next round begins with another.
                let Err(failure) = self.equip(line) else {
                    continue;
                };
                if failure.reason.is_of_the_whole_broker() {
                    let others = lacking.iter().filter(|line| line.client().is_none());
                    others.for_each(|line| (line.reporter)(Report::Down(failure.clone())));
                    bell.rotate();
                    break;
                }
                if line.client().is_none() {
                    (line.reporter)(Report::Down(failure));
                }
            }
            if lacking.is_empty() && refreshed.elapsed() >= REFRESH {
                self.refresh(&ready);
                refreshed = Instant::now();
            }
            if !lacking.iter().all(|line| line.is_ready()) {
                self.topics.forget();
            }
            pause = if outdated + ended == 0 && lacking.iter().all(|line| line.is_ready()) {
                LOOK
            } else {
                RETRY
            };
        }
    }

    fn renew(&mut self, settings: Settings) {
        self.settings.sasl = settings.sasl;
        self.settings.tls = settings.tls;
        self.generation += 1;
        self.topics.forget();
        self.topics = Topics::new(self.settings.clone(), self.runtime.clone());
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
            None => self.make_client(line, None)?,
        };
        let create = self.settings.create_topics.clone();
        let found = self
            .topics
            .find_or_create(client.client(), &line.topic, create.as_ref());
        if let Err(failure) = found {
            let failure = match client.context().last_error() {
                Some(known) if failure.reason.is_of_the_whole_broker() => known,
                _ => failure,
            };
            client.context().went_down(failure.clone());
            return Err(failure);
        }
        let max_message = self.topics.max_message(&line.topic);
        self.learn(line, max_message.unwrap_or(0));
        tracing::debug!(topic = line.topic, max_message, "found");
        let client = match client::fits(max_message) {
            true => client,
            false => self.make_client(line, max_message)?,
        };
        client.context().found();
        Ok(())
    }

    fn make_client(
        &self,
        line: &Arc<TopicLine>,
        max_message: Option<usize>,
    ) -> Result<Held, Failure> {
        let config = client::producer(&self.settings, max_message);
        let (queued, queue) = (Arc::clone(line), self.queue.clone());
        let on_queue = Arc::new(move |events| queue.holds(&queued, events));
        let keeper = self.keeper.clone();
        let on_end = Arc::new(move || keeper.wake());
        let reporter = Arc::clone(&line.reporter);
        let context = Context::new(reporter, on_queue, on_end, self.generation);
        let client = Client::from_config_and_context(&config, context);
        let client = Arc::new(client.map_err(|error| errors::of_error(&error))?);
        line.put(Some(Arc::clone(&client)));
        Ok(Held::of(client))
    }

    fn refresh(&mut self, lines: &[Arc<TopicLine>]) {
        for line in lines {
            if let Some(max_message) = self.topics.max_message(&line.topic) {
                self.learn(line, max_message);
            }
        }
    }

    /// What a topic takes, 0 if that can't be known. Said once, where it is less than the listener lets in.
    fn learn(&self, line: &TopicLine, max_message: usize) {
        let is_news = line.takes(max_message);
        if is_news && max_message > 0 && !takes_all(max_message, self.max_body) {
            tracing::warn!(
                topic = line.topic,
                max_message_bytes = max_message,
                max_body_bytes = self.max_body,
                "http.max_body lets in more than this topic takes: what is too large for it goes to the dead letters"
            );
        }
    }
}

/// Whether another client would do better: one that holds events and has not reached its broker for a
/// while (librdkafka 2.12 tries to connect 800 times a second then, and takes 0.9 of a core,
/// 2026-11-25; one that holds nothing rests between its attempts), one that has not for longer (all the
/// brokers that it knows may have been replaced), and one that knows no broker any more.
fn is_of_no_use(line: &TopicLine) -> bool {
    line.client().is_some_and(|client| {
        let context = client.context();
        let holds_events = client.in_flight_count() > 0;
        context.is_lost()
            || context.is_down_for(REPLACE)
            || context.is_down_for(LOOK) && holds_events
    })
}

/// Ends a client that can't reach its broker, so that another can. What it holds is
/// reported first, as of no use any more, and the lane asks for another client; one that holds
/// nothing just goes.
fn let_go(line: &TopicLine) {
    let Some(client) = line.client() else { return };
    let context = client.context();
    if context.is_found() && !context.is_down() && !context.is_lost() {
        return;
    }
    match client.in_flight_count() {
        0 => line.put(None),
        _ => client.purge(PurgeConfig::default().queue().inflight()),
    }
}

/// A producer that gave up sends nothing more, and would keep what it has queued for ever, because no event of it
/// times out: that is reported as of no use any more, and the lane asks for another client then. Returns
/// whether it gave up: what comes into its queues meanwhile has to be reported too.
fn empty_if_ended(line: &TopicLine) -> bool {
    let Some(client) = line.client() else {
        return false;
    };
    let is_over = client.client().fatal_error().is_some();
    if is_over {
        client.purge(PurgeConfig::default().queue().inflight());
    }
    is_over
}
