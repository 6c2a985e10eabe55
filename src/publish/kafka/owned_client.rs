//! One client, and what it told of itself by its callbacks. One thread has it.

use std::ops::Deref;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{BaseProducer, Producer, PurgeConfig};

use super::client::{self, Mode};
use super::context::{ClientEvent, Context, Statistics};
use super::errors;
use super::settings::Settings;
use super::wakeup::QueueWakeup;
use crate::publish::{Class, Failure, Wakeup};

/// How many of librdkafka's events are read at once. The reports on one batch are one.
const READ: usize = 1024;
/// How long a client may show no sign of life while its lane waits for it. Its threads wait by the wall clock, and sleep on for as
/// long as that was set back (librdkafka 2.12, `cnd_timedwait`).
const SILENT: Duration = Duration::from_secs(5);
/// How long closed connections may take to be open again: some statistics, which come every second.
const REOPENED_WITHIN: Duration = Duration::from_secs(3);

/// See the module. Dropping it ends the client on a thread of its own.
pub(super) struct OwnedClient {
    /// `None` once it is dropped.
    producer: Option<BaseProducer<Context>>,
    events: Receiver<ClientEvent>,
    /// `None` once it is dropped.
    queue: Option<QueueWakeup>,
    wakeup: Wakeup,
    pub(super) mode: Mode,
    /// Which settings it has.
    pub(super) generation: u64,
    /// The largest batch that it collects, in bytes.
    pub(super) batch_size: usize,
    pub(super) made_at: Instant,
    /// By its last statistics, it is connected and has the number that an ordered producer needs.
    pub(super) is_ready: bool,
    /// It knows no broker any more, and asks for none: a broker that rejoins its cluster answers for a moment that
    /// there is no broker at all, and librdkafka 2.12 forgets those that it knew (2026-11-25).
    pub(super) is_lost: bool,
    /// Its fatal error, if it raised one: it takes no events any more.
    pub(super) fatal: Option<Fatal>,
    /// How many brokers it knows.
    brokers: usize,
    /// When it last showed that its threads run.
    heard_at: Instant,
    /// The last trouble of a connection, in librdkafka's words: what `AllBrokersDown` alone doesn't tell.
    pub(super) last_error: Option<Failure>,
    closed: Option<Closed>,
    /// There was an error that may be a fatal one: its code does not always say so.
    erred: bool,
}

/// A client's fatal error.
pub(super) struct Fatal {
    pub(super) at: Instant,
    /// The broker refused an event: what else the client held is not to blame.
    pub(super) is_refusal: bool,
    pub(super) reported: bool,
}

/// All connections were closed and are not known to be open again. The lane was not told: nothing was on its way.
struct Closed {
    at: Instant,
    /// It was seen once that nothing was on its way when the connections were closed.
    idle: bool,
    failure: Failure,
}

impl OwnedClient {
    /// A producer. `max_message` is what its topic takes, in bytes, where that is known. `wakeup` is called when there is
    /// something to read.
    pub(super) fn new(
        settings: &Settings,
        generation: u64,
        max_message: Option<usize>,
        mode: Mode,
        wakeup: Wakeup,
    ) -> Result<Self, Failure> {
        let (sender, events) = channel();
        let config = client::producer(settings, max_message, mode);
        let producer = BaseProducer::from_config_and_context(&config, Context(sender));
        let producer = producer.map_err(|error| errors::of_error(&error))?;
        let now = Instant::now();
        Ok(OwnedClient {
            queue: Some(QueueWakeup::new(&producer, wakeup.clone())),
            producer: Some(producer),
            events,
            wakeup,
            mode,
            generation,
            batch_size: client::batch_size(max_message, mode),
            made_at: now,
            is_ready: false,
            is_lost: false,
            fatal: None,
            brokers: 0,
            heard_at: now,
            last_error: None,
            closed: None,
            erred: false,
        })
    }

    /// Makes the callbacks that are due, and adds what they told to `events`. What is too much for once is read the next time,
    /// for which it wakes its owner.
    pub(super) fn read(&self, events: &mut Vec<ClientEvent>) {
        let is_empty = || self.queue.as_ref().is_none_or(QueueWakeup::is_empty);
        let is_read = (0..READ).any(|_| {
            self.poll(Duration::ZERO);
            is_empty()
        });
        events.extend(self.events.try_iter());
        if !is_read {
            (self.wakeup)();
        }
    }

    /// The same for a client that publishes nothing yet: it notes what it is told of its connections.
    pub(super) fn note_events(&mut self) {
        let mut events = Vec::new();
        self.read(&mut events);
        for event in events {
            match event {
                ClientEvent::Error { code, words } => drop(self.note_error(code, &words)),
                ClientEvent::Statistics(statistics) => self.note_statistics(&statistics),
                _ => {}
            }
        }
    }

    /// A failure of the whole broker in the words of the connection's last trouble. Of a client that publishes nothing.
    pub(super) fn explain(&mut self, settings: &Settings, failure: Failure) -> Failure {
        self.note_events();
        settings.explain(failure, self.last_error.clone())
    }

    /// How many events it holds.
    pub(super) fn held(&self) -> usize {
        usize::try_from(self.in_flight_count()).unwrap_or_default()
    }

    /// Has it report on all events that no request has gone out for, and with `in_flight` on the others too. The
    /// reports come when it is read.
    pub(super) fn give_up_events(&self, in_flight: bool) {
        let events = PurgeConfig::default().queue().non_blocking();
        self.purge(match in_flight {
            true => events.inflight(),
            false => events,
        });
    }

    /// An error of the client. Gives it back unless it is that the client can't go on.
    pub(super) fn note_error(&mut self, code: Option<Code>, words: &str) -> Option<Failure> {
        let failure = errors::failure(code, words);
        self.erred = true;
        if failure.class == Class::Rebuild {
            self.note_fatal().is_refusal |= errors::is_refusal(words);
            return None;
        }
        if code != Some(Code::AllBrokersDown) {
            self.last_error = Some(failure.clone());
        }
        Some(failure)
    }

    /// Finds out whether an error was a fatal one.
    pub(super) fn look_for_fatal_error(&mut self) {
        if std::mem::take(&mut self.erred) && self.client().fatal_error().is_some() {
            self.note_fatal();
        }
    }

    fn note_fatal(&mut self) -> &mut Fatal {
        self.fatal.get_or_insert_with(|| Fatal {
            at: Instant::now(),
            is_refusal: false,
            reported: false,
        })
    }

    pub(super) fn was_refused(&self) -> bool {
        self.fatal.as_ref().is_some_and(|fatal| fatal.is_refusal)
    }

    pub(super) fn note_statistics(&mut self, statistics: &Statistics) {
        self.heard_at = Instant::now();
        self.brokers = statistics.brokers();
        self.is_lost |= self.brokers == 0;
        let is_connected = statistics.is_connected();
        self.is_ready = is_connected && (self.mode == Mode::Tolerant || statistics.has_id());
        if is_connected {
            self.closed = None;
            self.last_error = None;
        }
    }

    /// Whether nothing has to be watched closely.
    pub(super) fn is_well(&self) -> bool {
        self.fatal.is_none() && self.closed.is_none()
    }

    /// Whether its threads show no sign of life.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) >= SILENT
    }

    /// All connections are closed. Brokers and load balancers close those that nobody uses, so while nothing was on its
    /// way, it is trouble only if none can be opened again.
    pub(super) fn note_closed(&mut self, now: Instant, failure: Failure) {
        self.closed = Some(Closed {
            at: now,
            idle: false,
            failure,
        });
    }

    /// The connections are known to be down: they need no judgement.
    pub(super) fn forget_closed(&mut self) {
        self.closed = None;
    }

    /// Judges closed connections. Gives the failure if it is trouble.
    pub(super) fn judge_closed(&mut self, now: Instant) -> Option<Failure> {
        let was_idle = self.closed.as_ref()?.idle;
        let has_events = self.held() > 0;
        let closed = self.closed.as_mut()?;
        let is_late = now.saturating_duration_since(closed.at) >= REOPENED_WITHIN;
        let failed = self.last_error.is_some() && (is_late || self.brokers <= 1);
        if failed || (has_events && !was_idle) {
            let failure = closed.failure.clone();
            return Some(self.last_error.clone().unwrap_or(failure));
        }
        closed.idle = true;
        None
    }
}

impl Deref for OwnedClient {
    type Target = BaseProducer<Context>;

    fn deref(&self) -> &Self::Target {
        let producer = self.producer.as_ref();
        producer.expect("only dropping it takes the producer")
    }
}

impl Drop for OwnedClient {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(producer) = self.producer.take() {
            client::retire(producer);
        }
    }
}
