//! The CloudEvents envelope: from a payload that was told and normalized to the bytes that are published.
//!
//! Guarantees: one line of JSON, CloudEvents 1.0 in structured mode, its members in the order that
//! the contract names, `data` the payload token for token; the same bytes on every attempt.
//! Leaves to others: what the payload means (`minchat`), and where the envelope goes (`route`).

mod dead_letter;
mod event;
#[cfg(test)]
mod properties;
mod reading;
#[cfg(test)]
pub(crate) mod sealed;
pub mod settings;
mod stored;
mod trace;

use std::io::Write;
use std::ops::Range;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use uuid::{NoContext, Timestamp, Uuid};

pub use dead_letter::{DeadLetterReason, Stage};
pub use event::{Event, EventType, Verdict};
use event::{EventSource, Spans};
pub use reading::{DeadLetter, NoEvent, structured};
pub use settings::Settings;

use crate::minchat::{Kind, Payload, without_forbidden};

/// The minor version of every schema of this release; the major is in the event's type.
pub const SCHEMA_VERSION: &str = "1.0";

/// The JSON media type that an envelope travels under (CloudEvents JSON format 1.0.2, section 3).
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// The media type of an event's `data`: what it travels under alone, in binary mode.
pub const DATA_CONTENT_TYPE: &str = "application/json";

/// What an envelope usually takes up besides its data, in bytes. The longest keys, trace states and URIs need more.
pub const ROOM: usize = 768;

const TIME: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// What the edge knows of one webhook that it let in.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The place of its source among the configured ones.
    pub source: usize,
    /// The kind that the URL says.
    pub said: Option<Kind>,
    /// The request's `content-type`.
    pub content_type: Option<&'a str>,
    /// The request's `traceparent`, valid or not.
    pub traceparent: Option<&'a str>,
    /// The request's `tracestate`, valid or not.
    pub tracestate: Option<&'a str>,
    /// The verified `webhook-id` of a Standard Webhooks request.
    pub webhook_id: Option<&'a str>,
    /// The body, its content-encoding undone.
    pub body: &'a [u8],
    /// When its last byte was there.
    pub at: SystemTime,
}

/// What an envelope takes from a request, whatever source it came to.
#[derive(Clone, Copy)]
struct Request<'a> {
    said: Option<Kind>,
    content_type: Option<&'a str>,
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
    webhook_id: Option<&'a str>,
    body: &'a [u8],
    at: SystemTime,
}

impl<'a> Received<'a> {
    fn request(&self) -> Request<'a> {
        Request {
            said: self.said,
            content_type: self.content_type,
            traceparent: self.traceparent,
            tracestate: self.tracestate,
            webhook_id: self.webhook_id,
            body: self.body,
            at: self.at,
        }
    }
}

/// Seals payloads in envelopes: holds what is the same for every event of a source.
#[derive(Clone, Debug, Default)]
pub struct Sealer {
    settings: Settings,
    sources: Vec<SealedSource>,
}

/// How large an event becomes when it is sealed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedSize {
    /// The memory that the event takes, and about what the spool stores of it.
    pub memory: usize,
    /// The longest that its envelope can be.
    pub envelope: usize,
}

/// What follows an envelope's data in an event's bytes.
#[derive(Clone, Copy)]
enum BodyPlace {
    /// The data is the body, byte for byte.
    IsData,
    /// The body follows the envelope.
    BehindEnvelope,
    /// The data holds the body in another form, and nothing needs it apart.
    InsideData,
}

#[derive(Clone, Debug)]
struct SealedSource {
    name: String,
    /// One for each of [`EventType::ALL`].
    fixed: Vec<Fixed>,
}

/// The members of an envelope that depend on its source and type alone.
#[derive(Clone, Debug)]
struct Fixed {
    /// `","source":"...","type":"..."`: what stands between `id` and `subject`.
    source_and_type: String,
    /// `","datacontenttype":"...","dataschema":"..."`: what follows `time`.
    content_and_schema: String,
}

impl Sealer {
    /// A sealer for these sources, each with its name and its `uri`, in their order.
    pub fn new<'a>(
        settings: &Settings,
        sources: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        Sealer::default().following(settings, sources)
    }

    /// The sealer of another configuration. A source that has a place here keeps it, also one that
    /// is gone, as events of it may still be under way.
    #[must_use]
    pub fn following<'a>(
        &self,
        settings: &Settings,
        sources: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut sealer = self.clone();
        sealer.settings = settings.clone();
        for (name, uri) in sources {
            let source = SealedSource {
                name: name.to_owned(),
                fixed: EventType::ALL
                    .iter()
                    .map(|t| Fixed::new(settings, uri, *t))
                    .collect(),
            };
            match sealer.place(name) {
                Some(place) => sealer.sources[place] = source,
                None => sealer.sources.push(source),
            }
        }
        sealer
    }

    /// The names of all sources, in the order of their places.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|source| source.name.as_str())
    }

    /// The place of the source of this name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.sources.iter().position(|known| known.name == name)
    }

    /// The event of a webhook.
    pub fn seal(&self, received: &Received<'_>, payload: &Payload<'_>) -> Event {
        self.seal_as(new_id(received.at), received, payload)
    }

    /// The event of a webhook that has its id already.
    fn seal_as(&self, id: Uuid, received: &Received<'_>, payload: &Payload<'_>) -> Event {
        let event_type = EventType::Kind(payload.kind());
        let fixed = self.fixed(received.source, event_type);
        let size = self.size_of(received, payload);
        let mut draft = Draft::with_id(id, event_type, size.bytes());
        let key = payload
            .ordering_key()
            .map(|key| (subject_word(event_type), key));
        let request = received.request();
        draft.attributes(fixed, &request, key);
        draft.start_data();
        payload.write_data(&mut draft.bytes);
        let body = match payload.is_verbatim() {
            true => BodyPlace::IsData,
            false => BodyPlace::BehindEnvelope,
        };
        let source = EventSource::Known(received.source);
        draft.finish(source, payload.ordering_key(), &request, body)
    }

    /// How large the event of a webhook becomes. Normalization can make the data many times as long as the body, so
    /// that callers ask before they seal.
    pub fn size_of(&self, received: &Received<'_>, payload: &Payload<'_>) -> SealedSize {
        let fixed = self.fixed(received.source, EventType::Kind(payload.kind()));
        let (request, key) = (received.request(), payload.ordering_key());
        let envelope = attributes_room(fixed, &request, key) + payload.data_len();
        let body = match payload.is_verbatim() {
            true => 0,
            false => received.body.len(),
        };
        let behind = body + behind_room(&request, key);
        SealedSize {
            memory: envelope + behind + size_of::<Event>(),
            envelope,
        }
    }

    fn fixed(&self, source: usize, event_type: EventType) -> &Fixed {
        &self.sources[source].fixed[event_type.index()]
    }
}

impl SealedSize {
    /// Of an event that is sealed already.
    pub fn of(event: &Event) -> Self {
        SealedSize {
            memory: event.size(),
            envelope: event.envelope().len(),
        }
    }

    /// The bytes of the event's one allocation.
    fn bytes(&self) -> usize {
        self.memory - size_of::<Event>()
    }
}

impl Fixed {
    fn new(settings: &Settings, uri: &str, event_type: EventType) -> Self {
        Fixed {
            source_and_type: format!(
                "\",\"source\":{},\"type\":{}",
                json_string(uri),
                json_string(&event_type.cloudevents_type())
            ),
            content_and_schema: format!(
                "\",\"datacontenttype\":\"{DATA_CONTENT_TYPE}\",\"dataschema\":{}",
                json_string(&schema_uri(settings, event_type))
            ),
        }
    }
}

/// The most that an envelope's attributes take up, up to and with the braces around it.
fn attributes_room(fixed: &Fixed, request: &Request<'_>, key: Option<&str>) -> usize {
    /// The names of all attributes with their punctuation, `specversion`, `id`, `time` and `payloadsha256`.
    const ALWAYS: usize = 320;
    let length = |text: Option<&str>| text.map_or(0, str::len);
    // In JSON a quotation mark or a backslash is two bytes. What a webhook's id may not hold is `%XX`.
    ALWAYS
        + fixed.source_and_type.len()
        + fixed.content_and_schema.len()
        + 2 * 2 * length(key)
        + length(request.traceparent)
        + 2 * length(request.tracestate)
        + 3 * length(request.webhook_id)
}

/// What stands behind an event's envelope besides the body.
fn behind_room(request: &Request<'_>, key: Option<&str>) -> usize {
    key.map_or(0, str::len) + request.content_type.map_or(0, str::len)
}

/// The name of the exact schema of a type's `data`: behind a base that is a folder, the path that
/// the admin listener serves it under; behind any other, one more part of the URN.
fn schema_uri(settings: &Settings, event_type: EventType) -> String {
    let base = &settings.schema_base;
    match base.ends_with('/') {
        true => format!("{base}{}/{SCHEMA_VERSION}.json", event_type.name()),
        false => format!("{base}{}:{SCHEMA_VERSION}", event_type.name()),
    }
}

/// An envelope that is being written.
struct Draft {
    id: Uuid,
    event_type: EventType,
    bytes: Vec<u8>,
    spans: Spans,
}

impl Draft {
    /// `capacity` is at least what will be written, so that writing never allocates again.
    fn with_id(id: Uuid, event_type: EventType, capacity: usize) -> Self {
        let bytes = Vec::with_capacity(capacity);
        Draft {
            id,
            event_type,
            bytes,
            spans: Spans::default(),
        }
    }

    /// Everything before `data`. The key comes with the word that makes it a subject.
    fn attributes(&mut self, fixed: &Fixed, request: &Request<'_>, key: Option<(&str, &str)>) {
        self.text("{\"specversion\":\"1.0\",\"id\":\"");
        let mut id = Uuid::encode_buffer();
        self.text(self.id.hyphenated().encode_lower(&mut id));
        self.text(&fixed.source_and_type);
        if let Some((word, key)) = key {
            self.text(",\"subject\":\"");
            self.text(word);
            self.escaped(key);
            self.text("\"");
        }
        self.text(",\"time\":\"");
        write_time(request.at, &mut self.bytes);
        self.text(&fixed.content_and_schema);
        if let Some((_, key)) = key {
            self.text(",\"partitionkey\":\"");
            self.escaped(key);
            self.text("\"");
        }
        self.text(",\"payloadsha256\":\"");
        self.hex(&Sha256::digest(request.body));
        self.text("\"");
        self.trace(request);
        if let Some(webhook_id) = request.webhook_id.filter(|id| !id.is_empty()) {
            self.text(",\"webhookid\":\"");
            self.escaped(&without_forbidden(webhook_id.into()));
            self.text("\"");
        }
    }

    fn trace(&mut self, request: &Request<'_>) {
        let Some((parent, state)) = trace::valid(request.traceparent, request.tracestate) else {
            return;
        };
        self.text(",\"traceparent\":\"");
        self.spans.traceparent = Some(self.append(parent.as_bytes()));
        self.text("\"");
        if let Some(state) = state {
            self.text(",\"tracestate\":\"");
            self.escaped(state);
            self.text("\"");
        }
    }

    fn start_data(&mut self) {
        self.text(",\"data\":");
        self.spans.data_start = self.bytes.len();
    }

    /// Closes the envelope and puts behind it what publishers and dead letters need.
    fn finish(
        mut self,
        source: EventSource,
        key: Option<&str>,
        request: &Request<'_>,
        body: BodyPlace,
    ) -> Event {
        let data = self.spans.data_start..self.bytes.len();
        self.text("}");
        self.spans.envelope_end = self.bytes.len();
        self.spans.body = match body {
            BodyPlace::IsData => data,
            BodyPlace::BehindEnvelope => self.append(request.body),
            BodyPlace::InsideData => data.start..data.start,
        };
        self.spans.key = key.map(|key| self.append(key.as_bytes()));
        self.spans.content_type = request.content_type.map(|t| self.append(t.as_bytes()));
        Event {
            id: self.id,
            event_type: self.event_type,
            source,
            said: request.said,
            verdict: None,
            received_at: request.at,
            bytes: self.bytes,
            spans: self.spans,
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// The inside of a JSON string.
    fn escaped(&mut self, text: &str) {
        if text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
            let quoted = json_string(text);
            self.text(&quoted[1..quoted.len() - 1]);
        } else {
            self.text(text);
        }
    }

    fn hex(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in bytes {
            self.bytes.push(DIGITS[usize::from(byte >> 4)]);
            self.bytes.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

/// An id for what was received at this time.
fn new_id(at: SystemTime) -> Uuid {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        since.as_secs(),
        since.subsec_nanos(),
    ))
}

/// What stands before the ordering key in a subject.
const fn subject_word(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Kind(Kind::UserDailyActive) => "users/",
        _ => "chats/",
    }
}

/// The last second that a timestamp has digits for, that of the year 9999 (RFC 3339), since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

/// Whether an event can have been received then: the spool keeps times since 1970, and [`write_time`] writes four
/// digits of a year.
fn is_receipt_time(at: SystemTime) -> bool {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.is_ok_and(|since| since.as_secs() <= LAST_SECOND)
}

/// A receipt timestamp: UTC, microseconds, `Z`.
fn write_time(at: SystemTime, out: &mut impl Write) {
    OffsetDateTime::from(at)
        .format_into(out, TIME)
        .expect("a date of this calendar is always written, and memory takes every byte");
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}
