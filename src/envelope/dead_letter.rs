//! Dead letters: what could not become an event, or could not be published, as an event of its own.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use super::{
    Draft, Event, EventType, Received, Sealer, Verdict, json_string, new_id, subject_word,
    write_time,
};
use crate::minchat::{Kind, Malformed};

/// Where a webhook's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its body is no JSON that the bridge takes.
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
    pub const ALL: [DeadLetterReason; 4] = [
        DeadLetterReason::MalformedJson,
        DeadLetterReason::TooDeep,
        DeadLetterReason::TooLarge,
        DeadLetterReason::Rejected,
    ];

    /// As it stands in metrics and in `data.reason`.
    pub const fn name(self) -> &'static str {
        match self {
            DeadLetterReason::MalformedJson => "malformed_json",
            DeadLetterReason::TooDeep => "too_deep",
            DeadLetterReason::TooLarge => "too_large",
            DeadLetterReason::Rejected => "rejected",
        }
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The stage at which it is found.
    pub const fn stage(self) -> Stage {
        match self {
            DeadLetterReason::MalformedJson | DeadLetterReason::TooDeep => Stage::Parse,
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
        let id = new_id(received.at);
        let draft = Draft::with_id(id, EventType::DeadLetter, room(received.body));
        self.write_dead_letter(draft, received, None, verdict)
    }

    /// The dead letter of an event that its destination will never take: same id, same time, and
    /// the same subject and key.
    pub fn dead_letter_of(&self, event: &Event, verdict: Verdict) -> Event {
        let tracestate = event.tracestate();
        let received = Received {
            source: event.source,
            said: event.said,
            content_type: event.content_type(),
            traceparent: event.traceparent(),
            tracestate: tracestate.as_deref(),
            webhook_id: None,
            body: event.body(),
            at: event.received_at,
        };
        let draft = Draft::with_id(event.id, EventType::DeadLetter, room(received.body));
        let key = event
            .ordering_key()
            .map(|key| (subject_word(event.event_type), key));
        self.write_dead_letter(draft, &received, key, verdict)
    }

    fn write_dead_letter(
        &self,
        mut draft: Draft,
        received: &Received<'_>,
        key: Option<(&str, &str)>,
        verdict: Verdict,
    ) -> Event {
        draft.attributes(self, received, key);
        draft.start_data();
        draft.text("{\"reason\":\"");
        draft.text(verdict.reason.name());
        draft.text("\",\"stage\":\"");
        draft.text(verdict.reason.stage().name());
        draft.text("\",\"detail\":");
        draft.text(&json_string(&verdict.detail));
        if let Some(destination) = &verdict.destination {
            draft.text(",\"destination\":");
            draft.text(&json_string(destination));
        }
        draft.text(",\"received_at\":\"");
        write_time(received.at, &mut draft.bytes);
        draft.text("\"");
        self.write_request(&mut draft, received);
        write_body(&mut draft, received.body);
        draft.text("}");
        Event {
            verdict: Some(verdict),
            ..draft.finish(key.map(|(_, key)| key), received, false)
        }
    }

    fn write_request(&self, draft: &mut Draft, received: &Received<'_>) {
        let source = &self.sources[received.source].name;
        let path = match received.said {
            Some(kind) => format!("/webhooks/{source}/{}", Kind::name(kind)),
            None => format!("/webhooks/{source}"),
        };
        draft.text(",\"request\":{\"source\":");
        draft.text(&json_string(source));
        draft.text(",\"path\":");
        draft.text(&json_string(&path));
        if let Some(content_type) = received.content_type {
            draft.text(",\"content_type\":");
            draft.text(&json_string(content_type));
        }
        draft.text("}");
    }
}

/// Room for a body in either form, and for what is told about it, in bytes.
fn room(body: &[u8]) -> usize {
    body.len() * 4 / 3 + body.len() + 512
}

/// The body as a string if it is UTF-8 and that is the shorter, else in base64.
fn write_body(draft: &mut Draft, body: &[u8]) {
    let as_string = std::str::from_utf8(body).ok().map(json_string);
    let base64_len = body.len().div_ceil(3) * 4 + "_base64".len() + 2;
    match as_string {
        Some(string) if string.len() <= base64_len => {
            draft.text(",\"body\":");
            draft.text(&string);
        }
        _ => {
            draft.text(",\"body_base64\":\"");
            draft.text(&Base64Display::new(body, &STANDARD).to_string());
            draft.text("\"");
        }
    }
}
