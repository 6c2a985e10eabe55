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
use super::{DeadLetterReason, Event, EventSource, EventType, Sealer, Verdict, is_receipt_time};
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
        put(out, self.name_of(event));
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

    /// The name of the source that an event came from.
    pub(super) fn name_of<'a>(&'a self, event: &'a Event) -> &'a str {
        match &event.source {
            EventSource::Known(place) => &self.sources[*place].name,
            EventSource::Removed(name) => name,
        }
    }

    /// The place of the source that an event came from. A source that was removed has one again when it is
    /// configured again.
    pub fn place_of(&self, event: &Event) -> Option<usize> {
        match &event.source {
            EventSource::Known(place) => Some(*place),
            EventSource::Removed(name) => self.place(name),
        }
    }

    /// Reads an event back. An event whose source is not configured any more keeps the source's name.
    /// None if the bytes are no event, as far as its parts tell: that the envelope is one is taken on the
    /// word of whoever kept the bytes, which has a checksum.
    pub fn read_stored(&self, stored: &[u8]) -> Option<Event> {
        let mut rest = Rest(stored);
        let id = Uuid::from_slice(rest.take(16)?).ok()?;
        let received = u64::from_le_bytes(rest.take(8)?.try_into().ok()?);
        let event_type = rest.text()?;
        let event_type = *EventType::ALL
            .iter()
            .find(|known| known.name() == event_type)?;
        let source = rest.text()?;
        let source = match self.place(source) {
            Some(place) => EventSource::Known(place),
            None => EventSource::Removed(source.into()),
        };
        let said = rest.text()?;
        let said = Kind::ALL.into_iter().find(|kind| kind.name() == said);
        let verdict = match rest.take(1)? {
            [0] => None,
            _ => Some(rest.verdict()?),
        };
        let (envelope_end, data_start) = (rest.number()?, rest.number()?);
        let (traceparent, key, content_type) = (rest.span()?, rest.span()?, rest.span()?);
        let body = rest.span()??;
        let spans = Spans {
            envelope_end,
            data_start,
            traceparent,
            key,
            content_type,
            body,
        };
        if !spans.hold(rest.0.len()) {
            return None;
        }
        let received_at = SystemTime::UNIX_EPOCH + Duration::from_micros(received);
        Some(Event {
            id,
            event_type,
            source,
            said,
            verdict,
            received_at: is_receipt_time(received_at).then_some(received_at)?,
            bytes: rest.0.to_vec(),
            spans,
        })
    }
}

impl Spans {
    /// Whether they stand where those of an event do, whose bytes are this many.
    fn hold(&self, length: usize) -> bool {
        let within = |span: &Range<usize>, start: usize, end: usize| {
            start <= span.start && span.start <= span.end && span.end <= end
        };
        let mut trace = self.traceparent.iter();
        let mut behind = self.key.iter().chain(&self.content_type);
        self.data_start < self.envelope_end
            && self.envelope_end <= length
            && trace.all(|span| within(span, 0, self.data_start))
            && behind.all(|span| within(span, self.envelope_end, length))
            && within(&self.body, self.data_start, length)
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
        Some(Verdict {
            reason: DeadLetterReason::from_name(reason)?,
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
        let anyones = |event: &Event| Event {
            source: EventSource::Known(0),
            ..event.clone()
        };
        assert_eq!(
            format!("{:?}", anyones(one)),
            format!("{:?}", anyones(other))
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
            assert_eq!(again.source(), Some(0), "a source is found by its name");
            for length in 0..stored.len() {
                // What is cut short is no event, or one whose spans still hold: never a panic.
                let cut = after.read_stored(&stored[..length]);
                assert!(cut.is_none(), "{length} of {} bytes", stored.len());
            }
        }
    }

    #[test]
    fn an_event_of_a_removed_source_stays_its_own() {
        let before = sealer(&[("other", "/other"), ("minchat", "urn:tenant:b")]);
        let body = br#"{"sentBy":{},"chat_id":"c"}"#;
        let payload = crate::minchat::read(body, None).expect("the body is JSON");
        let mut stored = Vec::new();
        before.write_stored(&before.seal(&received(body), &payload), &mut stored);
        let refused = Verdict {
            reason: DeadLetterReason::Rejected,
            detail: String::new(),
            destination: None,
        };
        let expected = {
            let event = before.read_stored(&stored).expect("it was just written");
            before.dead_letter_of(&event, refused.clone())
        };
        for names in [
            &[][..],
            &[("other", "/other")],
            &[("new", "/new"), ("other", "/x")],
        ] {
            let after = sealer(names);
            let event = after
                .read_stored(&stored)
                .expect("it is an event of somebody");
            assert_eq!((event.source(), after.place_of(&event)), (None, None));
            let dead_letter = after.dead_letter_of(&event, refused.clone());
            same(&dead_letter, &expected);
            for event in [event, dead_letter] {
                let mut again = Vec::new();
                after.write_stored(&event, &mut again);
                let back = before.read_stored(&again).expect("it was just written");
                assert_eq!(back.source(), Some(1), "its source is configured again");
                same(&back, &event);
            }
        }
    }

    /// Where the numbers of a stored form without a verdict stand: behind the id, the time and three names.
    fn place_of(stored: &[u8], number: usize) -> usize {
        let mut at = 24;
        for _ in 0..3 {
            at += 2 + usize::from(u16::from_le_bytes([stored[at], stored[at + 1]]));
        }
        at + 1 + 4 * number
    }

    #[test]
    fn what_could_not_be_an_events_parts_is_no_event() {
        let sealer = sealer(&[("other", "/other"), ("minchat", "/webhooks/minchat")]);
        let body = br#"{"id":"u1","username":"sam","name":"Sam"}"#;
        let payload = crate::minchat::read(body, None).expect("the body is JSON");
        let mut stored = Vec::new();
        sealer.write_stored(&sealer.seal(&received(body), &payload), &mut stored);
        let with = |changes: &[(usize, u32)]| {
            let mut stored = stored.clone();
            for (number, value) in changes {
                let at = place_of(&stored, *number);
                stored[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            sealer.read_stored(&stored)
        };
        assert!(with(&[]).is_some(), "as it was written");
        let [envelope_end, data_start] = [0, 1].map(|number| {
            let at = place_of(&stored, number);
            u32::from_le_bytes(stored[at..at + 4].try_into().expect("four bytes"))
        });
        for (changes, what) in [
            // As fuzzing found it: `data` would end before it begins.
            (&[(0, 0), (1, 0)][..], "an envelope without a byte"),
            (&[(1, envelope_end)], "data that begins behind its brace"),
            (
                &[(2, 0), (3, data_start + 1)],
                "a trace context within data",
            ),
            (&[(4, 0), (5, 1)], "a key within the envelope"),
            (&[(6, 0), (7, 1)], "a content type within the envelope"),
            (&[(8, 0), (9, 1)], "a body before data"),
            (&[(9, u32::MAX - 1)], "a body behind the end"),
        ] {
            assert!(with(changes).is_none(), "{what}");
        }
    }

    #[test]
    fn what_was_received_after_the_year_9999_is_no_event() {
        let sealer = sealer(&[("other", "/other"), ("minchat", "/webhooks/minchat")]);
        let body = b"{}";
        let payload = crate::minchat::read(body, None).expect("the body is JSON");
        let mut stored = Vec::new();
        sealer.write_stored(&sealer.seal(&received(body), &payload), &mut stored);
        for (micros, is_event) in [
            (253_402_300_799_999_999, true),
            (253_402_300_800_000_000, false),
            (u64::MAX, false),
        ] {
            stored[16..24].copy_from_slice(&u64::to_le_bytes(micros));
            let read = sealer.read_stored(&stored);
            assert_eq!(read.is_some(), is_event, "{micros}");
            let refused = Verdict {
                reason: DeadLetterReason::Rejected,
                detail: String::new(),
                destination: None,
            };
            let buried = read.map(|event| sealer.dead_letter_of(&event, refused));
            assert_eq!(buried.is_some(), is_event, "{micros}");
        }
    }
}
