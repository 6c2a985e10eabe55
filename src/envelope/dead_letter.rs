//! Dead letters: what could not become an event, or could not be published, as an event of its own.

use std::io::Write;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use super::{
    BodyPlace, Draft, Event, EventSource, EventType, Fixed, Received, Request, Sealer, Verdict,
    attributes_room, behind_room, json_string, new_id, subject_word, write_time,
};
use crate::minchat::{Kind, Malformed, Payload};

/// Where a webhook's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its body is no JSON that the bridge takes, or its event would be too large for the bridge.
    Parse,
    /// Its destination will never take it.
    Publish,
}

/// Why, for graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterReason {
    /// The body is not JSON.
    MalformedJson,
    /// The body is JSON that is nested too deep.
    TooDeep,
    /// Normalization makes the event larger than the bridge can hold.
    NormalizedTooLarge,
    /// Larger than the destination takes.
    TooLarge,
    /// The destination refuses the event itself.
    Rejected,
}

impl Stage {
    /// Both of them.
    pub const ALL: [Stage; 2] = [Stage::Parse, Stage::Publish];

    /// As it stands in metrics and in `data.stage`.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Parse => "parse",
            Stage::Publish => "publish",
        }
    }
}

impl DeadLetterReason {
    /// All of them.
    pub const ALL: [DeadLetterReason; 5] = [
        DeadLetterReason::MalformedJson,
        DeadLetterReason::TooDeep,
        DeadLetterReason::NormalizedTooLarge,
        DeadLetterReason::TooLarge,
        DeadLetterReason::Rejected,
    ];

    /// As it stands in metrics and in `data.reason`.
    pub const fn name(self) -> &'static str {
        match self {
            DeadLetterReason::MalformedJson => "malformed-json",
            DeadLetterReason::TooDeep => "too-deep",
            DeadLetterReason::NormalizedTooLarge => "normalized-too-large",
            DeadLetterReason::TooLarge => "too-large",
            DeadLetterReason::Rejected => "rejected",
        }
    }

    /// The reason of this name. Earlier releases wrote underscores for the hyphens.
    pub fn from_name(name: &str) -> Option<DeadLetterReason> {
        let name = name.replace('_', "-");
        DeadLetterReason::ALL
            .into_iter()
            .find(|known| known.name() == name)
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The stage at which it is found.
    pub const fn stage(self) -> Stage {
        match self {
            DeadLetterReason::MalformedJson
            | DeadLetterReason::TooDeep
            | DeadLetterReason::NormalizedTooLarge => Stage::Parse,
            DeadLetterReason::TooLarge | DeadLetterReason::Rejected => Stage::Publish,
        }
    }
}

impl From<&Malformed> for DeadLetterReason {
    fn from(why: &Malformed) -> Self {
        match why {
            Malformed::TooDeep { .. } => DeadLetterReason::TooDeep,
            _ => DeadLetterReason::MalformedJson,
        }
    }
}

impl Sealer {
    /// The dead letter of a webhook whose body can't become an event.
    pub fn dead_letter(&self, received: &Received<'_>, why: &Malformed) -> Event {
        let verdict = Verdict {
            reason: why.into(),
            detail: why.to_string(),
            destination: None,
        };
        self.dead_letter_at_parse(received, None, verdict)
    }

    /// The dead letter of a webhook whose event would be larger than the bridge can hold. It has the event's subject
    /// and key.
    pub fn dead_letter_too_large(
        &self,
        received: &Received<'_>,
        payload: &Payload<'_>,
        detail: String,
    ) -> Event {
        let verdict = Verdict {
            reason: DeadLetterReason::NormalizedTooLarge,
            detail,
            destination: None,
        };
        let word = subject_word(EventType::Kind(payload.kind()));
        let key = payload.ordering_key().map(|key| (word, key));
        self.dead_letter_at_parse(received, key, verdict)
    }

    fn dead_letter_at_parse(
        &self,
        received: &Received<'_>,
        key: Option<(&str, &str)>,
        verdict: Verdict,
    ) -> Event {
        let origin = Origin {
            source: EventSource::Known(received.source),
            name: &self.sources[received.source].name,
            fixed: self.fixed(received.source, EventType::DeadLetter),
        };
        let id = new_id(received.at);
        write_dead_letter(id, origin, &received.request(), key, verdict)
    }

    /// The dead letter of an event that its destination will never take: same id, same time, and every other
    /// attribute of the event but its type and schema. It stays its source's, whether or not that is still configured.
    pub fn dead_letter_of(&self, event: &Event, verdict: Verdict) -> Event {
        let own = event.own_attributes();
        let name = self.name_of(event);
        let uri = own.source.unwrap_or_else(|| format!("/webhooks/{name}"));
        let fixed = Fixed::new(&self.settings, &uri, EventType::DeadLetter);
        let request = Request {
            said: event.said,
            content_type: event.content_type(),
            traceparent: event.traceparent(),
            tracestate: own.tracestate.as_deref(),
            webhook_id: own.webhookid.as_deref(),
            body: event.body(),
            at: event.received_at,
        };
        let key = event
            .ordering_key()
            .map(|key| (subject_word(event.event_type), key));
        let origin = Origin {
            source: event.source.clone(),
            name,
            fixed: &fixed,
        };
        write_dead_letter(event.id, origin, &request, key, verdict)
    }
}

/// Whose dead letter it is.
struct Origin<'a> {
    source: EventSource,
    name: &'a str,
    fixed: &'a Fixed,
}

fn write_dead_letter(
    id: Uuid,
    origin: Origin<'_>,
    request: &Request<'_>,
    key: Option<(&str, &str)>,
    verdict: Verdict,
) -> Event {
    let head = data_before_body(origin.name, request, &verdict);
    let body = WrittenBody::of(request.body);
    let behind = behind_room(request, key.map(|(_, key)| key));
    let attributes = attributes_room(origin.fixed, request, key.map(|(_, key)| key));
    let capacity = attributes + head.len() + body.len() + "}".len() + behind;
    let mut draft = Draft::with_id(id, EventType::DeadLetter, capacity);
    draft.attributes(origin.fixed, request, key);
    draft.start_data();
    draft.text(&head);
    body.write(&mut draft.bytes);
    draft.text("}");
    let key = key.map(|(_, key)| key);
    Event {
        verdict: Some(verdict),
        ..draft.finish(origin.source, key, request, BodyPlace::InsideData)
    }
}

/// The members of `data` that stand before the body, with the brace before them.
fn data_before_body(source: &str, request: &Request<'_>, verdict: &Verdict) -> String {
    let path = match request.said {
        Some(kind) => format!("/webhooks/{source}/{}", Kind::name(kind)),
        None => format!("/webhooks/{source}"),
    };
    let mut received_at = Vec::new();
    write_time(request.at, &mut received_at);
    let optional = |name: &str, text: Option<&str>| {
        text.map_or(String::new(), |text| {
            format!(",\"{name}\":{}", json_string(text))
        })
    };
    format!(
        "{{\"reason\":\"{}\",\"stage\":\"{}\",\"detail\":{}{},\"received_at\":\"{}\",\"request\":{{\"source\":{},\"path\":{}{}}}",
        verdict.reason.name(),
        verdict.reason.stage().name(),
        json_string(&verdict.detail),
        optional("destination", verdict.destination.as_deref()),
        String::from_utf8_lossy(&received_at),
        json_string(source),
        json_string(&path),
        optional("content_type", request.content_type),
    )
}

/// A body in the shorter of two forms: as a string if it is UTF-8, or in base64. Nothing is written before its length
/// is known: the string of a body of control characters would be six times as long.
enum WrittenBody<'a> {
    Text(&'a str),
    Base64(&'a [u8]),
}

const TEXT: &str = ",\"body\":";
const BASE64: &str = ",\"body_base64\":\"";

impl<'a> WrittenBody<'a> {
    fn of(body: &'a [u8]) -> Self {
        let base64 = WrittenBody::Base64(body);
        match std::str::from_utf8(body).map(WrittenBody::Text) {
            Ok(text) if text.len() <= base64.len() => text,
            _ => base64,
        }
    }

    fn len(&self) -> usize {
        match self {
            WrittenBody::Text(text) => TEXT.len() + json_string_len(text),
            WrittenBody::Base64(body) => BASE64.len() + body.len().div_ceil(3) * 4 + "\"".len(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            WrittenBody::Text(text) => {
                out.extend_from_slice(TEXT.as_bytes());
                serde_json::to_writer(out, text).expect("memory takes every byte");
            }
            WrittenBody::Base64(body) => {
                let body = Base64Display::new(body, &STANDARD);
                write!(out, "{BASE64}{body}\"").expect("memory takes every byte");
            }
        }
    }
}

/// The length of a text as a JSON string, quotes included.
fn json_string_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0x00..=0x1f => 6,
        _ => 1,
    };
    2 + text.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_json_string_is_known_before_it_is_written() {
        let every: String = (0..=0x24f).filter_map(char::from_u32).collect();
        for text in [every.as_str(), "", "\u{feff}\u{ffff}\u{1F600}", "plain"] {
            assert_eq!(json_string_len(text), json_string(text).len(), "{text:?}");
        }
    }

    #[test]
    fn a_body_is_written_in_the_shorter_form_and_its_length_is_known() {
        for (body, begins) in [
            (&b"{}"[..], ",\"body\":\"{}\""),
            (b"\xff\xfe", ",\"body_base64\":\"//4=\""),
            (&[7; 100], ",\"body_base64\":\"BwcH"),
            (b"", ",\"body\":\"\""),
        ] {
            let form = WrittenBody::of(body);
            let mut written = Vec::new();
            form.write(&mut written);
            assert_eq!(written.len(), form.len());
            let written = String::from_utf8(written).expect("both forms are UTF-8");
            assert!(written.starts_with(begins), "{written}");
        }
    }

    #[test]
    fn a_reason_is_known_by_the_spelling_of_earlier_releases_too() {
        for reason in DeadLetterReason::ALL {
            let name = reason.name();
            assert_eq!(DeadLetterReason::from_name(name), Some(reason));
            let before = name.replace('-', "_");
            assert_eq!(DeadLetterReason::from_name(&before), Some(reason));
        }
        assert_eq!(DeadLetterReason::from_name("bored"), None);
    }
}
