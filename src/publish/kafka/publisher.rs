//! One topic's way to Kafka: a producer of its own, so that trouble with one topic is no other's.

use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::client::{self, Mode};
use super::context::{Context, opaque};
use super::errors;
use super::keeper::Keeper;
use super::settings::ContentMode;
use crate::envelope::{self, Event, Verdict};
use crate::publish::{
    Awaited, Class, Failure, Handover, PerKey, Polled, Publisher, Report, ReportSender,
};

pub(super) type Client = BaseProducer<Context>;

/// How soon reports are looked for that could be there, at the soonest: what comes in the meantime costs its lane
/// one turn.
const SHORTEST: Duration = Duration::from_micros(250);
/// The same, where as many events are on their way as there may be.
const LONGEST: Duration = Duration::from_micros(700);
/// About what an event costs its worker, its lane and librdkafka of a core, together: while many are on their
/// way, to look sooner is to find a part of them (measured on 2 cores AMD EPYC, 2026-11-25).
const EVENT: Duration = Duration::from_micros(16);
/// How often a client is listened to that owes no report, or has long owed one.
const IDLE: Duration = Duration::from_millis(100);
/// An idempotent producer has one request in flight for a partition that five events of are in flight, and
/// asks without a pause whether it is answered, if there are more to send (librdkafka 2.12,
/// `rd_kafka_toppar_producer_serve`: its limit for requests counts events).
const FEW: usize = 5;
/// How many of a client's events are heard before its lane goes on.
const HEARD: usize = 1024;

/// Bytes of a record besides its value, at most: key, headers, and Kafka's own framing of a batch.
const FRAMING: usize = 1024;

/// How long a broker has to refuse no event until its topic has an ordered client again.
const CALM: Duration = Duration::from_secs(10);

/// How soon after it was made a client that gave up is replaced.
const SHORTEST_LIFE: Duration = Duration::from_secs(2);

/// Whether a topic with this `max.message.bytes` takes every event whose body has up to `max_body` bytes and does not
/// grow when it is normalized.
pub(super) fn takes_all(max_message: usize, max_body: usize) -> bool {
    max_body + envelope::ROOM + FRAMING <= max_message
}

/// What a topic's publisher and the keeper of its client share.
pub(super) struct TopicLine {
    pub(super) topic: String,
    pub(super) reports: ReportSender,
    content_mode: ContentMode,
    /// Whoever hands over events, or takes the client away, holds the lock meanwhile: a client never goes
    /// with events that it was just given.
    client: Mutex<Option<Arc<Client>>>,
    /// The topic's `max.message.bytes`; 0 while it is not known.
    max_message: AtomicUsize,
    /// How many events its client holds.
    pub(super) queued: AtomicI64,
}

impl TopicLine {
    /// What the topic takes, as was just read. Whether that is news.
    pub(super) fn takes(&self, max_message: Option<usize>) -> bool {
        let max_message = max_message.unwrap_or(0);
        self.max_message.swap(max_message, Ordering::Relaxed) != max_message
    }

    /// What the topic takes, if that is known.
    pub(super) fn max_message(&self) -> Option<usize> {
        let max_message = self.max_message.load(Ordering::Relaxed);
        (max_message > 0).then_some(max_message)
    }

    pub(super) fn new(topic: &str, content_mode: ContentMode, reports: ReportSender) -> Self {
        TopicLine {
            topic: topic.to_owned(),
            reports,
            content_mode,
            client: Mutex::default(),
            max_message: AtomicUsize::new(0),
            queued: AtomicI64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic's client, if it has one.
    pub(super) fn client(&self) -> Option<Held> {
        self.lock().clone().map(Held::of)
    }

    /// Whether it has a client that knows its topic.
    pub(super) fn is_ready(&self) -> bool {
        self.client()
            .is_some_and(|client| client.context().is_found())
    }

    /// Gives it another client, or none; the one before is ended.
    fn put(&self, client: Option<Arc<Client>>) {
        Self::exchange(&mut self.lock(), client);
    }

    /// The same, unless the client holds events. Returns whether it was done.
    pub(super) fn put_if_idle(&self, client: Option<Arc<Client>>) -> bool {
        let mut current = self.lock();
        let is_idle = current
            .as_ref()
            .is_none_or(|client| client.in_flight_count() == 0);
        if is_idle {
            Self::exchange(&mut current, client);
        }
        is_idle
    }

    fn exchange(current: &mut Option<Arc<Client>>, client: Option<Arc<Client>>) {
        if let Some(before) = std::mem::replace(current, client).map(Held::of) {
            before.context().retire();
        }
    }
}

/// A client in somebody's hand. Who lets go of it last ends it, and does not wait for that: a lane that
/// listens to a client while its keeper replaces it may be the last.
pub(super) struct Held(Option<Arc<Client>>);

impl Held {
    pub(super) fn of(client: Arc<Client>) -> Self {
        Held(Some(client))
    }

    fn share(&self) -> Arc<Client> {
        Arc::clone(self.0.as_ref().expect("it is held until it is let go of"))
    }
}

impl Deref for Held {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0.as_ref().expect("it is held until it is let go of")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(last) = self.0.take().and_then(Arc::into_inner) {
            client::retire(last);
        }
    }
}

/// How soon the client is polled again.
fn poll_within(awaited: Option<Awaited>) -> Duration {
    awaited.map_or(IDLE, turn)
}

/// How soon these reports are looked for: ever more rarely, the longer none comes.
fn turn(awaited: Awaited) -> Duration {
    let events = u32::try_from(awaited.events).unwrap_or(u32::MAX);
    let together = EVENT.saturating_mul(events).clamp(SHORTEST, LONGEST);
    (awaited.silence / 8).clamp(together, IDLE)
}

/// Publishes to one topic.
///
/// Its client is ordered, and gives up when the broker refuses an event. Then a tolerant one takes its place, and as long as
/// the broker goes on refusing events, the lane hands over only one event of an ordering key at a time. Once the broker has
/// refused none for a while, an ordered client is prepared beside it, and takes over.
pub(super) struct TopicPublisher {
    line: Arc<TopicLine>,
    reports: Receiver<Report>,
    keeper: Keeper,
    /// The ordered client that takes over from a tolerant one when it is ready.
    next: Option<Held>,
    /// The configuration's own bound for a message, in bytes.
    max_message: Option<usize>,
}

impl Publisher for TopicPublisher {
    fn publish(&mut self, events: &[Handover]) {
        let current = self.line.lock();
        let Some(client) = current.as_ref() else {
            let rebuilt = errors::failure(None, "the client is being rebuilt");
            self.fail(events, &rebuilt);
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
            if let Err((error, _)) = client.send(self.line.record(handover)) {
                self.fail(std::slice::from_ref(handover), &errors::of_error(&error));
            }
        }
    }

    fn rebuild(&mut self) {
        self.line.put(None);
        self.keeper.wake();
    }

    /// The client's callbacks run on the lane's own thread: one of the client's, as rdkafka has for it, would wake the
    /// lane for every batch of reports, and spins at the end of each of its waits (rdkafka 0.39, 2026-11-25:
    /// 0.9 % of a core each, idle).
    fn poll(&mut self, reports: &mut Vec<Report>) -> Polled {
        self.poll_client();
        reports.extend(self.reports.try_iter());
        let one_of_a_key = self.line.client().is_some_and(|client| {
            client.context().mode == Mode::Tolerant || client.context().was_refused()
        });
        Polled {
            poll_within: Some(poll_within),
            max_envelope: self.max_envelope(),
            gather_from: FEW,
            per_key: match one_of_a_key {
                true => PerKey::One,
                false => PerKey::Any,
            },
        }
    }

    fn close(&mut self, _within: Duration) {
        self.keeper.stop();
        self.next = None;
        // What is not confirmed is in the spool, or nobody was promised it: it is not sent any more.
        if let Some(client) = self.line.client() {
            client.purge(PurgeConfig::default().queue().inflight());
        }
        self.line.put(None);
    }
}

impl TopicPublisher {
    fn poll_client(&mut self) {
        let Some(client) = self.line.client() else {
            return;
        };
        poll(&client);
        let context = client.context();
        if context.erred() && client.client().fatal_error().is_some() {
            context.ended();
        }
        match context.gave_up() {
            true => self.give_up(&client),
            false => context.look_at_connections(as_count(client.in_flight_count())),
        }
        match context.mode {
            Mode::Tolerant => self.return_to_order(&client),
            Mode::Ordered => self.next = None,
        }
    }

    /// Whatever is larger is refused for certain; about what is as large as this or nearly so, the broker decides.
    fn max_envelope(&self) -> Option<usize> {
        let limits = [self.line.max_message(), self.max_message];
        let limit = limits.into_iter().flatten().min()?;
        Some(match self.line.content_mode {
            ContentMode::Structured => limit,
            // The envelope as such is not sent.
            ContentMode::Binary => limit + envelope::ROOM,
        })
    }

    pub(super) fn new(
        line: Arc<TopicLine>,
        reports: Receiver<Report>,
        keeper: Keeper,
        max_message: Option<usize>,
    ) -> Self {
        TopicPublisher {
            line,
            reports,
            keeper,
            next: None,
            max_message,
        }
    }

    fn fail(&self, events: &[Handover], failure: &Failure) {
        for Handover { seq, attempt, .. } in events {
            self.line.reports.send(Report::Failed {
                seq: *seq,
                attempt: *attempt,
                failure: failure.clone(),
            });
        }
    }

    /// The client raised a fatal error. If that is because an event was refused, a tolerant client takes its place once all
    /// that it held is reported; otherwise the lane has to ask for another.
    fn give_up(&mut self, client: &Held) {
        let context = client.context();
        let Some((code, reason)) = client.client().fatal_error() else {
            return;
        };
        // What is already on its way is waited for; the supervisor ends that if it takes too long.
        client.purge(PurgeConfig::default().queue().non_blocking());
        if !context.was_refused() {
            // Where a right is missing each client gives up as soon as it is connected.
            if context.is_older_than(SHORTEST_LIFE) && context.tells_of_its_end() {
                let failure = errors::failure(Some(code), format!("{code}: {reason}"));
                if failure.class == Class::Operator {
                    context.went_down(failure);
                }
                let fatal = errors::failure(Some(Code::Fatal), format!("{code}: {reason}"));
                self.line.reports.send(Report::Down(fatal));
            }
            return;
        }
        if client.in_flight_count() > 0 {
            return;
        }
        let tolerant = |context: Context| context.in_place(true);
        match self
            .keeper
            .make_client(&self.line, Mode::Tolerant, tolerant)
        {
            Ok(client) => {
                tracing::debug!(
                    topic = self.line.topic,
                    reason,
                    "the broker refused an event"
                );
                self.line.put(Some(client));
            }
            Err(failure) => {
                self.line.reports.send(Report::Down(failure));
                self.rebuild();
            }
        }
    }

    /// Prepares an ordered client once the broker refuses nothing any more, and changes over to it between two events.
    fn return_to_order(&mut self, tolerant: &Held) {
        if !tolerant.context().is_calm_for(CALM) {
            self.next = None;
            return;
        }
        let Some(next) = &self.next else {
            let prepared = |context: Context| context.in_place(false);
            let made = self.keeper.make_client(&self.line, Mode::Ordered, prepared);
            // If it can't be made, the tolerant one goes on.
            self.next = made.ok().map(Held::of);
            return;
        };
        poll(next);
        if next.client().fatal_error().is_some() {
            self.next = None;
        } else if next.context().is_usable()
            && tolerant.context().is_usable()
            && self.line.put_if_idle(Some(next.share()))
        {
            next.context().employ();
            self.next = None;
        }
    }
}

/// Makes the callbacks that there are.
fn poll(client: &Client) {
    for _ in 0..HEARD {
        let before = client.context().heard();
        client.poll(Duration::ZERO);
        if client.context().heard() == before {
            break;
        }
    }
}

fn as_count(events: i32) -> usize {
    usize::try_from(events).unwrap_or_default()
}

impl TopicLine {
    fn record<'a>(&'a self, handover: &'a Handover) -> BaseRecord<'a, str, [u8], usize> {
        let event = &handover.event;
        let (value, content_type) = match self.content_mode {
            ContentMode::Structured => (event.envelope(), envelope::CONTENT_TYPE),
            ContentMode::Binary => (event.data(), envelope::DATA_CONTENT_TYPE),
        };
        let mut headers = with(
            OwnedHeaders::new_with_capacity(2),
            "content-type",
            content_type,
        );
        if self.content_mode == ContentMode::Binary {
            headers = with_attributes(headers, event);
        }
        if let Some(traceparent) = event.traceparent() {
            headers = with(headers, "traceparent", traceparent);
        }
        if let Some(verdict) = event.verdict() {
            headers = with_verdict(headers, verdict);
        }
        let opaque = opaque(handover.seq, handover.attempt);
        let mut record = BaseRecord::with_opaque_to(&self.topic, opaque).payload(value);
        if let Some(key) = event.ordering_key() {
            record = record.key(key);
        }
        record.headers(headers)
    }
}

fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header {
        key,
        value: Some(value),
    })
}

/// The headers of binary mode (CloudEvents Kafka protocol binding 1.0.2, section 3.2).
fn with_attributes(headers: OwnedHeaders, event: &Event) -> OwnedHeaders {
    let attributes = event.header_attributes().into_iter();
    attributes.fold(headers, |headers, (name, value)| {
        with(headers, &format!("ce_{name}"), &value)
    })
}

/// The headers that Kafka Connect puts on dead letters, so that dead-letter browsers know them
/// (KIP-298, `errors.deadletterqueue.context.headers.enable`).
fn with_verdict(headers: OwnedHeaders, verdict: &Verdict) -> OwnedHeaders {
    let topic = verdict.destination.as_deref().unwrap_or_default();
    let topic = topic.strip_prefix("kafka:").unwrap_or(topic);
    [
        ("__connect.errors.topic", topic),
        ("__connect.errors.stage", verdict.reason.stage().name()),
        (
            "__connect.errors.exception.class.name",
            verdict.reason.name(),
        ),
        ("__connect.errors.exception.message", &verdict.detail),
    ]
    .into_iter()
    .fold(headers, |headers, (key, value)| with(headers, key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_looked_for_sooner_the_fewer_are_awaited_and_the_less_long() {
        for (events, silence, micros) in [
            (1, 0, 250),
            (15, 0, 250),
            (16, 0, 256),
            (40, 0, 640),
            (64, 0, 700),
            (usize::MAX, 0, 700),
            (1, 2_000, 250),
            (1, 8_000, 1_000),
            (64, 4_000, 700),
            (64, 8_000, 1_000),
            (64, 60_000_000, 100_000),
        ] {
            let silence = Duration::from_micros(silence);
            let awaited = Awaited { events, silence };
            let soon = Duration::from_micros(micros);
            assert_eq!(turn(awaited), soon, "{awaited:?}");
        }
    }
}
