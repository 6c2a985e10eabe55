//! An event as bytes that outlive the process: what the spool keeps of it.
//!
//! ```text
//! id                16 bytes
//! received          microseconds since 1970, u64
//! type, source      names, each behind its length (u16)
//! said              a kind's name, empty if the URL said none
//! verdict           0, or 1 and the names of its reason, detail and destination (empty: none)
//! spans             of the envelope's end, of data, traceparent, key, content type, body: u32 each;
//!                   those that are missing are u32::MAX twice
//! the rest          the event's bytes
//! ```
//!
//! Numbers are little-endian. Names stand for themselves, so that an event is read by a process that
//! has other sources in another order. The version is that of the spool's segments.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::event::Spans;
use super::{DeadLetterReason, Event, EventType, Sealer, Verdict};
use crate::minchat::Kind;

const MISSING: u32 = u32::MAX;

impl Event {
    /// The receipt in microseconds since 1970.
    pub fn received_micros(&self) -> u64 {
        let since = self.received_at.duration_since(SystemTime::UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Sealer {
    /// Writes an event so that [`Self::read_stored`] gives it back.
    pub fn write_stored(&self, event: &Event, out: &mut Vec<u8>) {
        out.extend_from_slice(event.id.as_bytes());
        out.extend_from_slice(&event.received_micros().to_le_bytes());
        put(out, event.event_type.name());
        put(out, &self.sources[event.source].name);
        put(out, event.said.map_or("", Kind::name));
        match &event.verdict {
            None => out.push(0),
            Some(verdict) => {
                out.push(1);
                put(out, verdict.reason.name());
                put(out, &verdict.detail);
                put(out, verdict.destination.as_deref().unwrap_or_default());
            }
        }
        let spans = &event.spans;
        put_number(out, spans.envelope_end);
        put_number(out, spans.data_start);
        for span in [&spans.traceparent, &spans.key, &spans.content_type] {
            put_span(out, span.as_ref());
        }
        put_span(out, Some(&spans.body));
        out.extend_from_slice(&event.bytes);
    }

    /// Reads an event back. Its source is the first one, if there is none of its name any more.
    /// None if the bytes are no event.
    pub fn read_stored(&self, stored: &[u8]) -> Option<Event> {
        let mut rest = Rest(stored);
        let id = Uuid::from_slice(rest.take(16)?).ok()?;
        let received = u64::from_le_bytes(rest.take(8)?.try_into().ok()?);
        let event_type = rest.text()?;
        let event_type = *EventType::ALL
            .iter()
            .find(|known| known.name() == event_type)?;
        let source = rest.text()?;
        let source = self.place(source);
        let said = rest.text()?;
        let said = Kind::ALL.into_iter().find(|kind| kind.name() == said);
        let verdict = match rest.take(1)? {
            [0] => None,
            _ => Some(rest.verdict()?),
        };
        let (envelope_end, data_start) = (rest.number()?, rest.number()?);
        let (traceparent, key, content_type) = (rest.span()?, rest.span()?, rest.span()?);
        let body = rest.span()??;
        let bytes = rest.0.to_vec();
        let spans = [&traceparent, &key, &content_type].into_iter().flatten();
        let ends = spans.chain([&body]).map(|span| span.end);
        if data_start > envelope_end || ends.chain([envelope_end]).any(|end| end > bytes.len()) {
            return None;
        }
        Some(Event {
            id,
            event_type,
            source: source.unwrap_or(0),
            said,
            verdict,
            received_at: SystemTime::UNIX_EPOCH + Duration::from_micros(received),
            bytes,
            spans: Spans {
                envelope_end,
                data_start,
                traceparent,
                key,
                content_type,
                body,
            },
        })
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let length = u16::try_from(end).expect("it was cut to that");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("an event is far below 4 GiB");
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_span(out: &mut Vec<u8>, span: Option<&Range<usize>>) {
    match span {
        Some(span) => {
            put_number(out, span.start);
            put_number(out, span.end);
        }
        None => {
            out.extend_from_slice(&MISSING.to_le_bytes());
            out.extend_from_slice(&MISSING.to_le_bytes());
        }
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }

    fn number(&mut self) -> Option<usize> {
        let number = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        usize::try_from(number).ok()
    }

    /// A span, or that there is none.
    fn span(&mut self) -> Option<Option<Range<usize>>> {
        let (start, end) = (self.number()?, self.number()?);
        if start == MISSING as usize {
            return Some(None);
        }
        (start <= end).then_some(Some(start..end))
    }

    fn verdict(&mut self) -> Option<Verdict> {
        let (reason, detail, destination) = (self.text()?, self.text()?, self.text()?);
        let mut reasons = DeadLetterReason::ALL.into_iter();
        Some(Verdict {
            reason: reasons.find(|known| known.name() == reason)?,
            detail: detail.to_owned(),
            destination: (!destination.is_empty()).then(|| destination.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Received, Settings};

    fn sealer(sources: &[(&'static str, &'static str)]) -> Sealer {
        let settings = Settings {
            schema_base: "urn:test:".to_owned(),
        };
        Sealer::new(&settings, sources.iter().copied())
    }

    fn received(body: &[u8]) -> Received<'_> {
        Received {
            source: 1,
            said: Some(Kind::MessageSent),
            content_type: Some("application/json"),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            tracestate: None,
            webhook_id: None,
            body,
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
        }
    }

    fn same(one: &Event, other: &Event) {
        assert_eq!(
            format!(
                "{:?}",
                Event {
                    source: 0,
                    ..one.clone()
                }
            ),
            format!(
                "{:?}",
                Event {
                    source: 0,
                    ..other.clone()
                }
            )
        );
    }

    #[test]
    fn an_event_and_a_dead_letter_come_back_as_they_were() {
        let before = sealer(&[
            ("other", "/webhooks/other"),
            ("minchat", "/webhooks/minchat"),
        ]);
        let after = sealer(&[("minchat", "/webhooks/minchat"), ("third", "/third")]);
        let body = br#"{"id":"u1","username":"sam","name":"Sam"}"#;
        let payload = crate::minchat::read(body, None).expect("the body is JSON");
        let event = before.seal(&received(body), &payload);
        let refused = Verdict {
            reason: DeadLetterReason::TooLarge,
            detail: "too large".to_owned(),
            destination: Some("kafka:topic".to_owned()),
        };
        let dead_letter = before.dead_letter_of(&event, refused);
        for event in [event, dead_letter] {
            let mut stored = Vec::new();
            before.write_stored(&event, &mut stored);
            let again = after.read_stored(&stored).expect("it was just written");
            same(&again, &event);
            assert_eq!(again.source(), 0, "a source is found by its name");
            let renamed = sealer(&[("new", "/new")])
                .read_stored(&stored)
                .expect("a source is not needed");
            assert_eq!(renamed.source(), 0);
            for length in 0..stored.len() {
                // What is cut short is no event, or one whose spans still hold: never a panic.
                let cut = after.read_stored(&stored[..length]);
                assert!(cut.is_none(), "{length} of {} bytes", stored.len());
            }
        }
    }
}
