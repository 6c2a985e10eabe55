//! Dead letters read back: what was received, from what is told about it.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{Event, EventType, Received, Sealer, is_receipt_time, json_string};
use crate::minchat::{self, Kind, Malformed};

/// What a dead letter tells, and the body that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The id of the event; of its own, where nothing became an event.
    pub id: Uuid,
    /// A [`super::DeadLetterReason`]'s name, or that of a later release.
    pub reason: String,
    /// A [`super::Stage`]'s name.
    pub stage: String,
    /// For people.
    pub detail: String,
    /// Where it could not be published, as in logs.
    pub destination: Option<String>,
    /// When the webhook was received.
    pub received_at: SystemTime,
    /// The name of its source.
    pub source: String,
    /// The kind that its URL said.
    pub said: Option<Kind>,
    /// The request's content type.
    pub content_type: Option<String>,
    /// The request's trace context.
    pub traceparent: Option<String>,
    /// What belongs to it.
    pub tracestate: Option<String>,
    /// The `webhook-id` that was verified.
    pub webhook_id: Option<String>,
    /// The body, its content-encoding undone.
    pub body: Vec<u8>,
}

/// Why a dead letter is still no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEvent {
    /// Nobody is configured who could have sent it.
    #[error("there is no source {0} any more")]
    Source(String),
    /// Its body is none.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

#[derive(Deserialize)]
struct Envelope {
    id: Uuid,
    r#type: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
    webhookid: Option<String>,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    reason: String,
    stage: String,
    detail: String,
    destination: Option<String>,
    received_at: String,
    request: Request,
    body: Option<String>,
    body_base64: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    source: String,
    path: String,
    content_type: Option<String>,
}

/// The envelope of an event that travelled in binary mode: these attributes, and its `data`.
pub fn structured<'a>(
    attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    data: &[u8],
) -> Vec<u8> {
    let mut envelope = b"{".to_vec();
    for (name, value) in attributes {
        envelope.extend_from_slice(json_string(name).as_bytes());
        envelope.push(b':');
        envelope.extend_from_slice(json_string(value).as_bytes());
        envelope.push(b',');
    }
    envelope.extend_from_slice(b"\"data\":");
    envelope.extend_from_slice(data);
    envelope.push(b'}');
    envelope
}

impl DeadLetter {
    /// Reads a dead letter's envelope. None if the bytes are none.
    pub fn read(envelope: &[u8]) -> Option<DeadLetter> {
        let Envelope {
            id,
            r#type,
            traceparent,
            tracestate,
            webhookid,
            data,
        } = serde_json::from_slice(envelope).ok()?;
        if r#type != EventType::DeadLetter.cloudevents_type() {
            return None;
        }
        let body = match (data.body, data.body_base64) {
            (Some(body), _) => body.into_bytes(),
            (None, base64) => STANDARD.decode(base64?).ok()?,
        };
        let received_at = OffsetDateTime::parse(&data.received_at, &Rfc3339).ok()?;
        let received_at = SystemTime::from(received_at);
        if !is_receipt_time(received_at) {
            return None;
        }
        let said = said(&data.request);
        Some(DeadLetter {
            id,
            reason: data.reason.replace('_', "-"),
            stage: data.stage,
            detail: data.detail,
            destination: data.destination,
            received_at,
            source: data.request.source,
            said,
            content_type: data.request.content_type,
            traceparent,
            tracestate,
            webhook_id: webhookid,
            body,
        })
    }
}

/// The kind behind the source's name in the path.
fn said(request: &Request) -> Option<Kind> {
    let rest = request.path.strip_prefix("/webhooks/")?;
    let said = rest.strip_prefix(&request.source)?.strip_prefix('/')?;
    Kind::ALL.into_iter().find(|kind| kind.name() == said)
}

impl Sealer {
    /// The event that a dead letter was, or would have been: with its id and time, and sealed as
    /// events are today.
    ///
    /// # Errors
    /// Why it is still none.
    pub fn revive(&self, dead_letter: &DeadLetter) -> Result<Event, NoEvent> {
        let mut sources = self.sources.iter();
        let source = sources
            .position(|source| source.name == dead_letter.source)
            .ok_or_else(|| NoEvent::Source(dead_letter.source.clone()))?;
        let received = Received {
            source,
            said: dead_letter.said,
            content_type: dead_letter.content_type.as_deref(),
            traceparent: dead_letter.traceparent.as_deref(),
            tracestate: dead_letter.tracestate.as_deref(),
            webhook_id: dead_letter.webhook_id.as_deref(),
            body: &dead_letter.body,
            at: dead_letter.received_at,
        };
        let payload = minchat::read(&dead_letter.body, dead_letter.said)?;
        Ok(self.seal_as(dead_letter.id, &received, &payload))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::envelope::{DeadLetterReason, Settings, Verdict};

    fn sealer(sources: &[(&'static str, &'static str)]) -> Sealer {
        let settings = Settings {
            schema_base: "urn:test:".to_owned(),
        };
        Sealer::new(&settings, sources.iter().copied())
    }

    fn received(body: &[u8]) -> Received<'_> {
        Received {
            source: 0,
            said: Some(Kind::MessageSent),
            content_type: Some("application/json"),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            tracestate: None,
            webhook_id: None,
            body,
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
        }
    }

    #[test]
    fn an_event_comes_back_from_its_dead_letter_as_it_was() {
        let sealer = sealer(&[("minchat", "/webhooks/minchat")]);
        let body =
            "{\"sentBy\": {\"id\": \"u\"}, \"text\": \"\u{1F600}\\u0000\", \"chat_id\": \"c\"}";
        let payload = minchat::read(body.as_bytes(), None).expect("the body is JSON");
        let event = sealer.seal(&received(body.as_bytes()), &payload);
        let refused = Verdict {
            reason: DeadLetterReason::TooLarge,
            detail: "too large".to_owned(),
            destination: Some("kafka:topic".to_owned()),
        };
        let buried = sealer.dead_letter_of(&event, refused);
        let read = DeadLetter::read(buried.envelope()).expect("it is a dead letter");
        assert_eq!(
            (read.reason.as_str(), read.stage.as_str(), read.said),
            ("too-large", "publish", Some(Kind::MessageSent))
        );
        assert_eq!(read.destination.as_deref(), Some("kafka:topic"));
        let again = sealer.revive(&read).expect("it was an event before");
        assert_eq!(
            String::from_utf8_lossy(again.envelope()),
            String::from_utf8_lossy(event.envelope())
        );
    }

    #[test]
    fn what_can_t_become_an_event_says_why() {
        let sealer = sealer(&[("minchat", "/webhooks/minchat")]);
        for body in [&b"nope"[..], b"\xff\xfe {}"] {
            let why = minchat::read(body, None).expect_err("that is no JSON");
            let buried = sealer.dead_letter(&received(body), &why);
            let read = DeadLetter::read(buried.envelope()).expect("it is a dead letter");
            assert_eq!(read.body, body);
            assert_eq!(sealer.revive(&read).err(), Some(NoEvent::Malformed(why)));
        }
        let body = b"{}";
        let payload = minchat::read(body, None).expect("the body is JSON");
        let event = sealer.seal(&received(body), &payload);
        assert_eq!(DeadLetter::read(event.envelope()), None, "an event is none");
        assert_eq!(DeadLetter::read(b"{}"), None);
    }

    #[test]
    fn the_dead_letter_of_a_source_that_is_gone_waits() {
        let before = sealer(&[("old", "/webhooks/old")]);
        let why = minchat::read(b"nope", None).expect_err("that is no JSON");
        let buried = before.dead_letter(&received(b"{}"), &why);
        let read = DeadLetter::read(buried.envelope()).expect("it is a dead letter");
        assert_eq!(
            sealer(&[("new", "/webhooks/new")]).revive(&read).err(),
            Some(NoEvent::Source("old".to_owned()))
        );
    }

    #[test]
    fn a_dead_letter_from_before_1970_or_after_9999_is_none() {
        let sealer = sealer(&[("minchat", "/webhooks/minchat")]);
        let why = minchat::read(b"nope", None).expect_err("that is no JSON");
        let buried = sealer.dead_letter(&received(b"{}"), &why);
        let text = String::from_utf8_lossy(buried.envelope()).into_owned();
        for (received_at, is_one) in [
            ("9999-12-31T23:59:59.999999Z", true),
            ("9999-12-31T23:59:59-00:01", false),
            ("1970-01-01T00:00:00Z", true),
            // As fuzzing found it: the spool would have kept another time.
            ("1315-11-22T10:15:30.123456Z", false),
            ("0000-01-01T00:00:00+00:01", false),
        ] {
            let text = text.replace("2023-11-14T22:13:20.123456Z\"", &format!("{received_at}\""));
            assert!(text.contains(received_at));
            let read = DeadLetter::read(text.as_bytes());
            assert_eq!(read.is_some(), is_one, "{received_at}");
            let again = read.map(|read| sealer.revive(&read).is_ok());
            assert_eq!(again, is_one.then_some(true), "{received_at}");
        }
    }
}
