//! An event: a payload with its kind, id and receipt time, sealed in its envelope.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::SystemTime;

use serde::Deserialize;
use uuid::Uuid;

use super::DeadLetterReason;
use crate::minchat::Kind;

/// What an event is, as consumers tell it: one of MinChat's kinds, or the bridge's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A webhook's payload.
    Kind(Kind),
    /// What could not become an event, or could not be published.
    DeadLetter,
}

impl EventType {
    /// All of them: MinChat's kinds in their order, then the dead letter.
    pub const ALL: [EventType; 6] = [
        EventType::Kind(Kind::ALL[0]),
        EventType::Kind(Kind::ALL[1]),
        EventType::Kind(Kind::ALL[2]),
        EventType::Kind(Kind::ALL[3]),
        EventType::Kind(Kind::ALL[4]),
        EventType::DeadLetter,
    ];

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        match self {
            EventType::Kind(kind) => kind.index(),
            EventType::DeadLetter => Kind::ALL.len(),
        }
    }

    /// The name that stands in topics, exchanges, files, routes and schemas: `message.sent`.
    pub const fn name(self) -> &'static str {
        match self {
            EventType::Kind(kind) => kind.name(),
            EventType::DeadLetter => "dead-letter",
        }
    }

    /// The CloudEvents `type`: `io.minchat.message.sent.v1`.
    pub fn cloudevents_type(self) -> String {
        match self {
            EventType::Kind(kind) => format!("io.minchat.{}.v1", kind.name()),
            EventType::DeadLetter => "io.minchat.bridge.dead-letter.v1".to_owned(),
        }
    }
}

/// One event with its envelope, in one allocation that every destination shares.
///
/// Only [`super::Sealer`] makes one. Behind the envelope's bytes stand, unseen by consumers, what
/// publishers need apart from it: the ordering key, and what a dead letter would have to tell.
#[derive(Clone, Debug)]
pub struct Event {
    pub(super) id: Uuid,
    pub(super) event_type: EventType,
    pub(super) source: EventSource,
    pub(super) said: Option<Kind>,
    pub(super) verdict: Option<Verdict>,
    pub(super) received_at: SystemTime,
    pub(super) bytes: Vec<u8>,
    pub(super) spans: Spans,
}

/// The source that an event came from. A source that is not configured any more has no place, and is never taken for
/// another one: its events keep its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EventSource {
    /// The place of a source that the sealer knows.
    Known(usize),
    /// The name of a source that was removed from the configuration while the spool held this event.
    Removed(Box<str>),
}

/// The attributes that a dead letter takes over from its event's envelope, decoded.
#[derive(Debug, Default, Deserialize)]
pub(super) struct OwnAttributes {
    pub(super) source: Option<String>,
    pub(super) tracestate: Option<String>,
    pub(super) webhookid: Option<String>,
}

/// Why an event is a dead letter, for those who look through dead letters without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For graphs.
    pub reason: DeadLetterReason,
    /// For people.
    pub detail: String,
    /// Where it could not be published, as in logs; none if it was no event at all.
    pub destination: Option<String>,
}

/// Where what stands in an event's bytes. The envelope begins at 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    pub(super) envelope_end: usize,
    pub(super) data_start: usize,
    pub(super) traceparent: Option<Range<usize>>,
    pub(super) key: Option<Range<usize>>,
    pub(super) content_type: Option<Range<usize>>,
    pub(super) body: Range<usize>,
}

impl Event {
    /// The CloudEvents `id`, the same on every copy and every attempt.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What it is.
    pub fn event_type(&self) -> EventType {
        self.event_type
    }

    /// The place of its source among those that the sealer knows. None if the source is not configured any more.
    pub fn source(&self) -> Option<usize> {
        match self.source {
            EventSource::Known(place) => Some(place),
            EventSource::Removed(_) => None,
        }
    }

    /// Why it is a dead letter, if it is one.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// When the webhook was received.
    pub fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// The CloudEvents envelope in structured mode: JSON on one line, without a line feed.
    pub fn envelope(&self) -> &[u8] {
        &self.bytes[..self.spans.envelope_end]
    }

    /// The envelope's `data` alone, for binary mode.
    pub fn data(&self) -> &[u8] {
        let end = self.spans.envelope_end - "}".len();
        &self.bytes[self.spans.data_start..end]
    }

    /// What binary mode tells in headers: every attribute by its name, but for `datacontenttype`, which has a
    /// place of its own there.
    pub fn header_attributes(&self) -> BTreeMap<String, String> {
        let attributes: BTreeMap<String, String> = serde_json::from_str(&self.attributes_json())
            .expect("every attribute is written as a text");
        let apart = |name: &str| name == "datacontenttype";
        attributes
            .into_iter()
            .filter(|(name, _)| !apart(name))
            .collect()
    }

    /// What keeps related events in order; at most 256 bytes before control characters are written out.
    pub fn ordering_key(&self) -> Option<&str> {
        self.text(self.spans.key.as_ref())
    }

    /// The request's own trace context, when it was valid.
    pub fn traceparent(&self) -> Option<&str> {
        self.text(self.spans.traceparent.as_ref())
    }

    /// What the envelope says of the event's origin. All of it is missing if the envelope is damaged.
    pub(super) fn own_attributes(&self) -> OwnAttributes {
        serde_json::from_str(&self.attributes_json()).unwrap_or_default()
    }

    /// The request's content type as it came.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.text(self.spans.content_type.as_ref())
    }

    /// The request's body exactly as received, its content-encoding undone. Empty for a dead letter, which holds the
    /// body in its data.
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[self.spans.body.clone()]
    }

    /// What the event costs in memory, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>()
    }

    /// The envelope's attributes without its `data`: a JSON object, for dry runs.
    pub fn attributes_json(&self) -> String {
        let head = &self.bytes[..self.spans.data_start];
        let head = head.strip_suffix(b",\"data\":").unwrap_or(head);
        let mut attributes = String::from_utf8_lossy(head).into_owned();
        attributes.push('}');
        attributes
    }

    fn text(&self, span: Option<&Range<usize>>) -> Option<&str> {
        std::str::from_utf8(&self.bytes[span?.clone()]).ok()
    }
}
