//! What holds for every webhook, whatever its head and its body are: nothing of an event gets lost on any of the ways
//! that it can take, and its attributes are legal.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{
    DeadLetter, DeadLetterReason, Event, LAST_SECOND, Received, SealedSize, Sealer, Settings,
    Verdict, structured,
};
use crate::minchat::{self, Kind};

/// A webhook's head and body, owned.
#[derive(Clone, Debug)]
struct Webhook {
    said: Option<Kind>,
    content_type: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    webhook_id: Option<String>,
    body: Vec<u8>,
    micros: u64,
}

impl Webhook {
    fn received(&self) -> Received<'_> {
        Received {
            source: 1,
            said: self.said,
            content_type: self.content_type.as_deref(),
            traceparent: self.traceparent.as_deref(),
            tracestate: self.tracestate.as_deref(),
            webhook_id: self.webhook_id.as_deref(),
            body: &self.body,
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(self.micros),
        }
    }
}

/// Texts with characters that need an escape in JSON, that an attribute may not hold, or that are long.
fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\"\\\\%/ .\u{0}-\u{20}\u{7f}-\u{a0}\u{fdcf}-\u{fdf0}\u{fffd}-\u{ffff}\u{1fffe}\u{10ffff}]{0,20}",
        "[\"\\\\]{200,256}",
        "\u{0}{200,256}",
        Just("\u{10ffff}".repeat(64)),
    ]
}

/// What the text of a header can be.
fn header_text() -> impl Strategy<Value = String> {
    prop_oneof!["[\t -~]{0,40}", "[\"\\\\]{1,256}", "[ -~]{500,600}"]
}

fn traceparent() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "00-[1-9a-f][0-9a-f]{31}-[1-9a-f][0-9a-f]{15}-0[01]",
        1 => "01-[1-9a-f][0-9a-f]{31}-[1-9a-f][0-9a-f]{15}-00-[a-z]{1,400}",
        1 => header_text(),
    ]
}

fn tracestate() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{1,9}=[ -+\\--<>-~]{1,30}(,[a-z]{1,9}@v=[\"\\\\]{1,30}){0,2}", 1 => header_text()]
}

/// Payloads of each kind with an odd key, with white space or a byte order mark, or what is no JSON.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let keyed = (
        odd_text(),
        select(&["", "\u{feff}", " "][..]),
        select(
            &[
                r#""sent_by":{},"chat_id""#,
                r#""sentBy":{},"channelId""#,
                r#""event":"e","fields":{"a":1,"b":{}},"chat_id""#,
                r#""name":"n","id""#,
                r#""participantUserIds":"u","id""#,
                r#""other""#,
            ][..],
        ),
    );
    let keyed = keyed.prop_map(|(key, before, members)| {
        let key = serde_json::to_string(&key).expect("a text is always JSON");
        format!("{before}{{{members}:{key}}}").into_bytes()
    });
    prop_oneof![6 => keyed, 1 => any::<Vec<u8>>(), 1 => odd_text().prop_map(String::into_bytes)]
}

fn webhook() -> impl Strategy<Value = Webhook> {
    let said = option::of(select(&Kind::ALL[..]));
    let micros = prop_oneof![0..LAST_SECOND * 1_000_000, Just(0)];
    let head = (
        option::of(header_text()),
        option::of(traceparent()),
        option::of(tracestate()),
        option::of(odd_text()),
    );
    (said, head, body(), micros).prop_map(|(said, head, body, micros)| {
        let (content_type, traceparent, tracestate, webhook_id) = head;
        Webhook {
            said,
            content_type,
            traceparent,
            tracestate,
            webhook_id,
            body,
            micros,
        }
    })
}

fn sealer(sources: &[(&'static str, &'static str)]) -> Sealer {
    let settings = Settings {
        schema_base: "urn:test:".to_owned(),
    };
    Sealer::new(&settings, sources.iter().copied())
}

fn configured() -> Sealer {
    sealer(&[("other", "/webhooks/other"), ("tenant-b", "urn:tenant:b")])
}

/// CloudEvents 1.0.2, "Type System": no control characters, no noncharacters.
fn is_legal(character: char) -> bool {
    let code = u32::from(character);
    let is_control = matches!(code, 0..=0x1f | 0x7f..=0x9f);
    let is_noncharacter = matches!(code, 0xfdd0..=0xfdef) || code % 0x1_0000 >= 0xfffe;
    !is_control && !is_noncharacter
}

fn attributes(event: &Event) -> BTreeMap<String, String> {
    let attributes = event.header_attributes();
    for (name, value) in &attributes {
        assert!(!value.is_empty(), "{name}");
        assert!(value.chars().all(is_legal), "{name}: {value:?}");
    }
    attributes
}

fn verdict() -> Verdict {
    Verdict {
        reason: DeadLetterReason::TooLarge,
        detail: "the broker's \"words\"\n".to_owned(),
        destination: Some("kafka:topic".to_owned()),
    }
}

fn text(event: &Event) -> String {
    String::from_utf8_lossy(event.envelope()).into_owned()
}

/// The event as a process with this sealer reads it back from the spool.
fn through_the_spool(written_by: &Sealer, event: &Event, read_by: &Sealer) -> Event {
    let mut stored = Vec::new();
    written_by.write_stored(event, &mut stored);
    let again = read_by.read_stored(&stored).expect("it was just written");
    assert_eq!(text(&again), text(event));
    assert_eq!(again.verdict(), event.verdict());
    again
}

/// A dead letter as it is read from a destination, in either content mode.
fn read_from_a_destination(dead_letter: &Event) -> DeadLetter {
    let read = DeadLetter::read(dead_letter.envelope()).expect("it is a dead letter");
    let attributes = dead_letter.header_attributes();
    let attributes = attributes.iter().map(|(name, value)| (&**name, &**value));
    let binary = structured(attributes, dead_letter.data());
    assert_eq!(DeadLetter::read(&binary).as_ref(), Some(&read));
    read
}

proptest! {
    #[test]
    fn an_event_keeps_every_attribute_through_spool_dead_letter_and_replay(webhook in webhook()) {
        let (sealer, without_b) = (configured(), sealer(&[("other", "/webhooks/other")]));
        let received = webhook.received();
        let Ok(payload) = minchat::read(&webhook.body, webhook.said) else {
            return Ok(());
        };
        let size = sealer.size_of(&received, &payload);
        let event = sealer.seal(&received, &payload);
        let is = SealedSize::of(&event);
        prop_assert!(is.memory <= size.memory && is.envelope <= size.envelope, "{is:?} {size:?}");

        let of_event = attributes(&event);
        let same_process = event.clone();
        let restarted = through_the_spool(&sealer, &event, &sealer);
        let removed = through_the_spool(&sealer, &event, &without_b);
        for (writer, event) in [(&sealer, same_process), (&sealer, restarted), (&without_b, removed)] {
            let dead_letter = writer.dead_letter_of(&event, verdict());
            let mut of_dead_letter = attributes(&dead_letter);
            for name in ["type", "dataschema"] {
                of_dead_letter.insert(name.to_owned(), of_event[name].clone());
            }
            prop_assert_eq!(&of_dead_letter, &of_event);
            let dead_letter = through_the_spool(writer, &dead_letter, &without_b);
            let read = read_from_a_destination(&dead_letter);
            prop_assert_eq!(&*read.source, "tenant-b");
            prop_assert_eq!(&read.content_type, &webhook.content_type);
            prop_assert_eq!(&read.body, &webhook.body);
            prop_assert!(without_b.revive(&read).is_err(), "it is nobody else's");
            let again = sealer.revive(&read).expect("it was an event before");
            prop_assert_eq!(text(&again), text(&event));
        }
    }

    #[test]
    fn what_is_dead_lettered_at_parse_keeps_what_came_with_it(webhook in webhook()) {
        let sealer = configured();
        let received = webhook.received();
        let dead_letter = match minchat::read(&webhook.body, webhook.said) {
            Ok(payload) => {
                let of_event = attributes(&sealer.seal(&received, &payload));
                let dead_letter = sealer.dead_letter_too_large(&received, &payload, "why".to_owned());
                let mut of_dead_letter = attributes(&dead_letter);
                for name in ["id", "type", "dataschema"] {
                    of_dead_letter.insert(name.to_owned(), of_event[name].clone());
                }
                prop_assert_eq!(of_dead_letter, of_event);
                dead_letter
            }
            Err(why) => sealer.dead_letter(&received, &why),
        };
        let of_dead_letter = attributes(&dead_letter);
        let taken = super::trace::valid(received.traceparent, received.tracestate);
        let text_of = |name: &str| of_dead_letter.get(name).map(String::as_str);
        prop_assert_eq!(text_of("traceparent"), taken.map(|(parent, _)| parent));
        prop_assert_eq!(text_of("tracestate"), taken.and_then(|(_, state)| state));
        let given = webhook.webhook_id.clone().filter(|id| !id.is_empty());
        let given = given.map(|id| minchat::without_forbidden(id.into()).into_owned());
        prop_assert_eq!(text_of("webhookid"), given.as_deref());
        let read = read_from_a_destination(&through_the_spool(&sealer, &dead_letter, &sealer));
        prop_assert_eq!(&read.body, &webhook.body);
        prop_assert_eq!(&read.webhook_id, &given);
        prop_assert!(dead_letter.size() <= 4096 + 6 * 600 + webhook.body.len() * 4 / 3 + 4 * 256);
    }
}
