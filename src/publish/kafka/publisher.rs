//! One topic's way to Kafka: a producer of its own, so that trouble with one topic is no other's.

use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::client;
use super::context::{Context, opaque};
use super::errors;
use super::keeper::Keeper;
use super::settings::ContentMode;
use crate::envelope::{self, Event, Verdict};
use crate::publish::{Awaited, Handover, Publisher, Report, Reporter};

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

/// Whether a topic with this `max.message.bytes` takes every event whose body has up to `max_body` bytes.
pub(super) fn takes_all(max_message: usize, max_body: usize) -> bool {
    max_body + envelope::ROOM + FRAMING <= max_message
}

/// What a topic's publisher and the keeper of its client share.
pub(super) struct TopicLine {
    pub(super) topic: String,
    pub(super) reporter: Reporter,
    content_mode: ContentMode,
    client: Mutex<Option<Arc<Client>>>,
    /// The topic's `max.message.bytes`; 0 while it is not known.
    max_message: AtomicUsize,
    /// How many events its client holds.
    pub(super) queued: AtomicI64,
}

impl TopicLine {
    /// What the topic takes, as was just read. Whether that is news.
    pub(super) fn takes(&self, max_message: usize) -> bool {
        self.max_message.swap(max_message, Ordering::Relaxed) != max_message
    }

    pub(super) fn new(topic: &str, content_mode: ContentMode, reporter: Reporter) -> Self {
        TopicLine {
            topic: topic.to_owned(),
            reporter,
            content_mode,
            client: Mutex::default(),
            max_message: AtomicUsize::new(0),
            queued: AtomicI64::new(0),
        }
    }

    /// The topic's client, if it has one.
    pub(super) fn client(&self) -> Option<Held> {
        self.client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .map(Held::of)
    }

    /// Whether it has a client that knows its topic.
    pub(super) fn is_ready(&self) -> bool {
        self.client()
            .is_some_and(|client| client.context().is_found())
    }

    /// Another client, or none; the one before is ended.
    pub(super) fn put(&self, client: Option<Arc<Client>>) {
        let before = std::mem::replace(
            &mut *self.client.lock().unwrap_or_else(PoisonError::into_inner),
            client,
        );
        let Some(before) = before.map(Held::of) else {
            return;
        };
        before.context().retire();
    }
}

/// A client in somebody's hand. Who lets go of it last ends it, and does not wait for that: a lane that
/// listens to a client while its keeper replaces it may be the last.
pub(super) struct Held(Option<Arc<Client>>);

impl Held {
    pub(super) fn of(client: Arc<Client>) -> Self {
        Held(Some(client))
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

/// How soon these reports are looked for: ever more rarely, the longer none comes.
fn turn(awaited: Awaited) -> Duration {
    let events = u32::try_from(awaited.events).unwrap_or(u32::MAX);
    let together = EVENT.saturating_mul(events).clamp(SHORTEST, LONGEST);
    (awaited.silence / 8).clamp(together, IDLE)
}

/// Publishes to one topic.
pub(super) struct TopicPublisher {
    pub(super) line: Arc<TopicLine>,
    pub(super) keeper: Keeper,
}

impl Publisher for TopicPublisher {
    fn publish(&mut self, events: &[Handover]) {
        let Some(client) = self.line.client() else {
            for handover in events {
                self.failed(
                    handover,
                    errors::failure(None, "the client is being rebuilt"),
                );
            }
            return;
        };
        // A client that is of no use any more takes no events: the lane has to know, to get another.
        if let Some((code, reason)) = client.client().fatal_error() {
            tracing::warn!(topic = self.line.topic, %code, reason, "librdkafka's producer gave up: rebuilding it");
            for handover in events {
                let fatal = rdkafka::error::RDKafkaErrorCode::Fatal;
                self.failed(
                    handover,
                    errors::failure(Some(fatal), format!("{code}: {reason}")),
                );
            }
            return;
        }
        for handover in events {
            if let Err((error, _)) = client.send(self.line.record(handover)) {
                self.failed(handover, errors::of_error(&error));
            }
        }
    }

    fn rebuild(&mut self) {
        self.line.put(None);
        self.keeper.wake();
    }

    /// On the lane's own thread: one of the client's, as rdkafka has for it, would wake the lane for
    /// every batch of reports, and spins at the end of each of its waits (rdkafka 0.39, 2026-11-25:
    /// 0.9 % of a core each, idle).
    fn hear(&mut self) {
        let Some(client) = self.line.client() else {
            return;
        };
        for _ in 0..HEARD {
            let before = client.context().heard();
            client.poll(Duration::ZERO);
            if client.context().heard() == before {
                break;
            }
        }
    }

    fn hears_within(&self, awaited: Option<Awaited>) -> Option<Duration> {
        Some(awaited.map_or(IDLE, turn))
    }

    fn gathers_from(&self) -> usize {
        FEW
    }

    fn max_envelope(&self) -> Option<usize> {
        match self.line.max_message.load(Ordering::Relaxed) {
            0 => None,
            max => Some(max.saturating_sub(FRAMING)),
        }
    }

    fn close(&mut self, within: Duration) {
        self.keeper.stop();
        if let Some(client) = self.line.client() {
            // What is still unconfirmed nobody was promised; a frozen broker must not hold up the stop.
            if let Err(error) = client.flush(within.min(Duration::from_secs(1))) {
                tracing::debug!(topic = self.line.topic, %error, "not everything was confirmed at the stop");
            }
            self.line.put(None);
        }
    }
}

impl TopicPublisher {
    fn failed(&self, handover: &Handover, failure: crate::publish::Failure) {
        let Handover { seq, attempt, .. } = *handover;
        (self.line.reporter)(Report::Failed {
            seq,
            attempt,
            failure,
        });
    }
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
