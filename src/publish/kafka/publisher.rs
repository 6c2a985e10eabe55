//! One topic's way to Kafka: a producer of its own, so that trouble with one topic is no other's.
//!
//! The lane's thread owns the producer: it makes its callbacks, replaces it, and asks the supervisor's thread what has to
//! be known of the topic.

mod lifecycle;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;

use super::client::{self, Mode};
use super::context::{ClientEvent, Statistics};
use super::errors;
use super::owned_client::OwnedClient;
use super::record::record;
use super::settings::ContentMode;
use super::supervisor::{Answer, Supervisor};
use crate::envelope;
use crate::publish::{Class, Failure, Handover, PerKey, Polled, Publisher, Report, Wakeup};

/// How often it is looked whether another client would do better, and how long until a topic that was not found is looked
/// for again.
const LOOK: Duration = Duration::from_secs(1);
/// How often a client is polled that can't be used, or whose connections were closed.
const LOOK_AT_TROUBLE: Duration = Duration::from_millis(100);

/// Bytes of a record besides its value, at most: key, headers, and Kafka's own framing of a batch.
const FRAMING: usize = 1024;

/// Whether a topic with this `max.message.bytes` takes every event whose body has up to `max_body` bytes and does not
/// grow when it is normalized.
pub(super) fn takes_all(max_message: usize, max_body: usize) -> bool {
    max_body + envelope::ROOM + FRAMING <= max_message
}

/// Bounds that the configuration has, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For a message, if it has such a bound.
    pub(super) configured: Option<usize>,
    /// For a body that the listener lets in.
    pub(super) max_body: usize,
}

/// Publishes to one topic.
///
/// Its client is ordered, and gives up when the broker refuses an event. Then a tolerant one takes its place, and as long as
/// the broker goes on refusing events, the lane hands over only one event of an ordering key at a time. Once the broker has
/// refused none for a while, an ordered client is prepared beside it, and takes over.
pub(super) struct TopicPublisher {
    topic: String,
    content_mode: ContentMode,
    limits: Limits,
    supervisor: Supervisor,
    wakeup: Wakeup,
    answers: (Sender<Answer>, Receiver<Answer>),
    client: Option<OwnedClient>,
    /// The ordered client that takes over from a tolerant one when it is ready.
    next: Option<OwnedClient>,
    connection: Connection,
    /// The topic is there. Without it no connection is good enough.
    is_found: bool,
    is_asking: bool,
    /// When the topic's limit is asked for again.
    limit_at: Instant,
    look_at: Instant,
    /// The topic's `max.message.bytes`, if it is known.
    max_message: Option<usize>,
    /// When the broker last refused an event for ever.
    refused_at: Option<Instant>,
    /// How many events the client held by its last statistics.
    held: i64,
    reports: Vec<Report>,
    events: Vec<ClientEvent>,
}

/// Whether events can be handed over, as the lane knows it; otherwise since when not.
#[derive(Clone, Copy)]
enum Connection {
    Up,
    /// A new client has to be ready first.
    Waiting(Instant),
    Down(Instant),
}

impl Publisher for TopicPublisher {
    fn publish(&mut self, events: &[Handover]) {
        let Some(client) = &self.client else {
            let failure = errors::failure(None, "the client is being rebuilt");
            self.fail(events, &failure);
            return;
        };
        // A client that is of no use any more takes no events.
        if let Some((code, reason)) = client.client().fatal_error() {
            let failure = match code {
                Code::GaplessGuarantee if errors::is_refusal(&reason) => client::requeued(),
                _ => errors::failure(Some(Code::Fatal), format!("{code}: {reason}")),
            };
            self.fail(events, &failure);
            return;
        }
        for handover in events {
            let record = record(&self.topic, self.content_mode, handover);
            if let Err((error, _)) = client.send(record) {
                self.reports.push(handover.failed(errors::of_error(&error)));
                (self.wakeup)();
            }
        }
    }

    /// The client wakes the lane, and its callbacks run on the lane's own thread: rdkafka's thread for them would be another
    /// change of threads, and spins at the end of each of its waits (rdkafka 0.39, 2026-11-25: 0.9 % of a core each, idle).
    fn poll(&mut self, reports: &mut Vec<Report>) -> Polled {
        let now = Instant::now();
        self.read_answers(now);
        self.read_client(now);
        self.look(now);
        reports.append(&mut self.reports);
        let is_tolerant = |client: &OwnedClient| client.mode == Mode::Tolerant;
        let client = self.client.as_ref();
        Polled {
            poll_within: Some(
                match client.is_some_and(OwnedClient::is_well) && self.is_up() {
                    true => LOOK,
                    false => LOOK_AT_TROUBLE,
                },
            ),
            max_envelope: self.max_envelope(),
            per_key: match client.is_some_and(|client| is_tolerant(client) || client.was_refused())
            {
                true => PerKey::One,
                false => PerKey::Any,
            },
        }
    }

    fn rebuild(&mut self) {
        self.client = None;
        self.next = None;
        self.is_found = false;
        self.connection = Connection::Waiting(Instant::now());
        self.look_at = Instant::now();
        (self.wakeup)();
    }

    /// What is not confirmed is in the spool, or nobody was promised it: it is not sent any more.
    fn close(&mut self, _within: Duration) {
        self.next = None;
        if let Some(client) = self.client.take() {
            client.give_up_events(true);
        }
    }
}

impl TopicPublisher {
    pub(super) fn new(
        topic: &str,
        content_mode: ContentMode,
        limits: Limits,
        supervisor: Supervisor,
        wakeup: Wakeup,
    ) -> Self {
        let now = Instant::now();
        TopicPublisher {
            topic: topic.to_owned(),
            content_mode,
            limits,
            supervisor,
            wakeup,
            answers: channel(),
            client: None,
            next: None,
            connection: Connection::Waiting(now),
            is_found: false,
            is_asking: false,
            limit_at: now,
            look_at: now,
            max_message: None,
            refused_at: None,
            held: 0,
            reports: Vec::new(),
            events: Vec::new(),
        }
    }

    fn fail(&mut self, events: &[Handover], failure: &Failure) {
        let failures = events.iter().map(|event| event.failed(failure.clone()));
        self.reports.extend(failures);
        (self.wakeup)();
    }

    /// Whatever is larger is refused for certain; about what is as large as this or nearly so, the broker decides.
    fn max_envelope(&self) -> Option<usize> {
        let limits = [self.max_message, self.limits.configured];
        let limit = limits.into_iter().flatten().min()?;
        Some(match self.content_mode {
            ContentMode::Structured => limit,
            // The envelope as such is not sent.
            ContentMode::Binary => limit + envelope::ROOM,
        })
    }

    fn is_up(&self) -> bool {
        matches!(self.connection, Connection::Up)
    }

    fn is_down(&self) -> bool {
        matches!(self.connection, Connection::Down(_))
    }

    /// Since when events can't be handed over.
    fn waits_since(&self) -> Option<Instant> {
        match self.connection {
            Connection::Up => None,
            Connection::Waiting(since) | Connection::Down(since) => Some(since),
        }
    }

    fn came_up(&mut self) {
        self.connection = Connection::Up;
        self.reports.push(Report::Up);
    }

    /// Events can be handed over as soon as the topic is found and the connection can be used.
    fn come_up_if_ready(&mut self) {
        let is_ready = self.client.as_ref().is_some_and(|client| client.is_ready);
        if is_ready && self.is_found && !self.is_up() {
            self.came_up();
        }
    }

    /// The lane is told, once an outage, that there is no way now. What an operator has to fix is news even then.
    fn went_down(&mut self, now: Instant, failure: Failure) {
        if let Some(client) = &mut self.client {
            client.forget_closed();
        }
        let was_down = self.is_down();
        self.connection = Connection::Down(self.waits_since().unwrap_or(now));
        if !was_down || failure.class == Class::Operator {
            self.reports.push(Report::Down(failure));
        }
    }

    fn read_client(&mut self, now: Instant) {
        let mut events = std::mem::take(&mut self.events);
        if let Some(client) = &self.client {
            client.read(&mut events);
        }
        for event in events.drain(..) {
            self.handle(now, event);
        }
        self.events = events;
        let Some(client) = &mut self.client else {
            return;
        };
        client.look_for_fatal_error();
        match client.fatal {
            Some(_) => self.give_up(now),
            None => {
                if let Some(failure) = client.judge_closed(now) {
                    self.went_down(now, failure);
                }
            }
        }
        self.return_to_order(now);
    }

    fn handle(&mut self, now: Instant, event: ClientEvent) {
        match event {
            ClientEvent::Confirmed { seq, attempt } => {
                if self.is_down() {
                    self.came_up();
                }
                self.reports.push(Report::Confirmed { seq, attempt });
            }
            ClientEvent::Failed {
                seq,
                attempt,
                error,
            } => self.failed(now, seq, attempt, &error),
            ClientEvent::Error { code, words } => self.erred(now, code, &words),
            ClientEvent::Statistics(statistics) => self.read_statistics(&statistics),
            ClientEvent::Logged => {}
        }
    }

    fn failed(&mut self, now: Instant, seq: u64, attempt: u16, error: &KafkaError) {
        let Some(client) = &self.client else { return };
        let mut failure = errors::of_error(error);
        if failure.class == Class::DeadLetter {
            self.refused_at = Some(now);
        }
        let purged = [Code::PurgeQueue, Code::PurgeInflight].map(Some);
        if client.was_refused() && purged.contains(&error.rdkafka_error_code()) {
            failure = client::requeued();
        }
        // librdkafka remembers what is wrong with a topic until it reads its metadata again.
        let is_of_no_use = failure.class == Class::Operator && client.mode == Mode::Tolerant;
        self.reports.push(Report::Failed {
            seq,
            attempt,
            failure,
        });
        if is_of_no_use {
            let failure = errors::failure(Some(Code::Fatal), "the client is made anew");
            self.reports.push(Report::Down(failure));
        }
    }

    fn erred(&mut self, now: Instant, code: Option<Code>, words: &str) {
        let Some(client) = &mut self.client else {
            return;
        };
        let Some(failure) = client.note_error(code, words) else {
            return;
        };
        let is_operators = failure.class == Class::Operator;
        if code != Some(Code::AllBrokersDown) {
            // Another broker may be well: `AllBrokersDown` tells if none is.
            if is_operators && (!is_of_one_broker(words) || self.is_down()) {
                self.went_down(now, failure);
            }
            return;
        }
        let (settings, _) = self.supervisor.settings();
        let failure = settings.explain(failure, client.last_error.clone());
        match self.connection {
            Connection::Up if failure.class != Class::Operator => client.note_closed(now, failure),
            _ => self.went_down(now, failure),
        }
    }

    fn read_statistics(&mut self, statistics: &Statistics) {
        self.supervisor.holds_more(statistics.msg_cnt - self.held);
        self.held = statistics.msg_cnt;
        if let Some(client) = &mut self.client {
            client.note_statistics(statistics);
        }
        self.come_up_if_ready();
    }
}

/// Whether librdkafka's words are about the connection to one broker: they begin with its name then, such as
/// `ssl://10.0.0.7:9093/2`.
fn is_of_one_broker(words: &str) -> bool {
    let begins = words.split_once(": ").map(|(begins, _)| begins);
    begins.is_some_and(|begins| begins.contains('/') && !begins.contains(' '))
}
