//! A few lines of a head and a body as what is sealed: its envelope is JSON, its members stand in their order, and it
//! comes back from the spool and from a dead letter as it was. And any bytes as what is read back.

use std::fmt;
use std::time::{Duration, SystemTime};

use minchat_bridge::envelope::{
    DeadLetter, DeadLetterReason, Event, Received, Sealer, Settings, Verdict,
};
use minchat_bridge::minchat::{self, Kind};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::oracle;

/// The members of an envelope in the order of the contract, and whether one can be left out.
const MEMBERS: [(&str, bool); 14] = [
    ("specversion", false),
    ("id", false),
    ("source", false),
    ("type", false),
    ("subject", true),
    ("time", false),
    ("datacontenttype", false),
    ("dataschema", false),
    ("partitionkey", true),
    ("payloadsha256", false),
    ("traceparent", true),
    ("tracestate", true),
    ("webhookid", true),
    ("data", false),
];

/// The last second of the year 9999: what an RFC 3339 timestamp can say.
const LAST_SECOND: u64 = 253_402_300_799;

/// Seals what the input says, and reads the input itself as what was sealed before.
pub fn check(input: &[u8]) {
    let sealer = sealer();
    read_back(&sealer, input);
    let received = received(input);
    let event = match minchat::read(received.body, received.said) {
        Ok(payload) => {
            let event = sealer.seal(&received, &payload);
            let mut data = Vec::new();
            payload.write_data(&mut data);
            assert_eq!(event.data(), data, "the data is the normalized payload");
            assert_eq!(event.ordering_key(), payload.ordering_key());
            comes_back_from_its_dead_letter(&sealer, &received, &event);
            event
        }
        Err(why) => {
            let event = sealer.dead_letter(&received, &why);
            let told = DeadLetter::read(event.envelope()).expect("it is a dead letter");
            assert_eq!(
                told.body, received.body,
                "the body is kept as it was received"
            );
            assert_eq!(told.detail, why.to_string());
            event
        }
    };
    is_an_envelope(&event, &received);
    comes_back_from_the_spool(&sealer, &event);
}

fn sealer() -> Sealer {
    let settings = Settings {
        schema_base: "tag:minchat.io,2026:bridge:schema:".to_owned(),
    };
    Sealer::new(
        &settings,
        [("minchat", "/webhooks/minchat"), ("other", "urn:other")],
    )
}

/// The lines before the first empty one say the head, what follows is the body.
fn received(input: &[u8]) -> Received<'_> {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&input[..end], &input[end + 2..]),
        None => (&input[..0], input),
    };
    let mut received = Received {
        source: 0,
        said: None,
        content_type: None,
        traceparent: None,
        tracestate: None,
        webhook_id: None,
        body,
        at: SystemTime::UNIX_EPOCH,
    };
    for line in head.split(|byte| *byte == b'\n') {
        // What a header's text can be: http::HeaderValue::to_str.
        let is_text = line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        let line = str::from_utf8(line).ok().filter(|_| is_text);
        match line.and_then(|line| line.split_once(": ")) {
            Some(("said", kind)) => received.said = Kind::from_url(kind),
            Some(("source", "other")) => received.source = 1,
            Some(("content-type", text)) => received.content_type = Some(text),
            Some(("traceparent", text)) => received.traceparent = Some(text),
            Some(("tracestate", text)) => received.tracestate = Some(text),
            // http/auth takes ids of 1 to 256 bytes.
            Some(("webhook-id", id)) if (1..=256).contains(&id.len()) => {
                received.webhook_id = Some(id)
            }
            Some(("at", micros)) => {
                let micros = micros.parse::<u64>().unwrap_or(0) % (LAST_SECOND * 1_000_000);
                received.at = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
            }
            _ => {}
        }
    }
    received
}

fn is_an_envelope(event: &Event, received: &Received<'_>) {
    let text = str::from_utf8(event.envelope()).expect("an envelope is UTF-8");
    assert_eq!(
        oracle::tokens(text).concat(),
        text,
        "no white space between tokens"
    );
    let Members(members) = serde_json::from_str(text).expect("an envelope is JSON");
    let mut found = members.iter().map(|(name, _)| name.as_str()).peekable();
    for (name, optional) in MEMBERS {
        let is_there = found.next_if_eq(&name).is_some();
        assert!(is_there || optional, "{name} is not where it belongs");
    }
    assert_eq!(
        found.next(),
        None,
        "a member that the contract does not have"
    );

    let attributes = event.header_attributes();
    for (name, value) in &members {
        if name == "data" {
            assert_eq!(value.get().as_bytes(), event.data());
            continue;
        }
        let value: String = serde_json::from_str(value.get()).expect("an attribute is a string");
        assert_eq!(
            attributes.get(name),
            Some(&value).filter(|_| name != "datacontenttype")
        );
    }
    let digest = Sha256::digest(received.body);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(attributes.get("payloadsha256"), Some(&digest));
    assert_eq!(attributes.get("id"), Some(&event.id().to_string()));
    let key = attributes.get("partitionkey").map(String::as_str);
    assert_eq!(key, event.ordering_key());
    let behind_slash = attributes
        .get("subject")
        .and_then(|subject| subject.split_once('/'));
    assert_eq!(behind_slash.map(|(_, key)| key), key);
    assert_eq!(
        attributes.get("webhookid").map(String::as_str),
        received.webhook_id
    );
    let (parent, given) = (attributes.get("traceparent"), received.traceparent);
    assert!(parent.is_none_or(|parent| given.map(str::trim) == Some(parent)));
    assert_eq!(parent.map(String::as_str), event.traceparent());
    assert!(parent.is_some() || !attributes.contains_key("tracestate"));
}

fn comes_back_from_the_spool(sealer: &Sealer, event: &Event) {
    let mut stored = Vec::new();
    sealer.write_stored(event, &mut stored);
    let again = sealer.read_stored(&stored).expect("it was just written");
    let mut once_more = Vec::new();
    sealer.write_stored(&again, &mut once_more);
    assert_eq!(once_more, stored);
    assert_eq!(again.id(), event.id());
    assert_eq!(again.event_type(), event.event_type());
    assert_eq!(again.source(), event.source());
    assert_eq!(again.verdict(), event.verdict());
    assert_eq!(again.received_micros(), event.received_micros());
    assert_eq!(again.envelope(), event.envelope());
    assert_eq!(again.data(), event.data());
    assert_eq!(again.ordering_key(), event.ordering_key());
    assert_eq!(again.traceparent(), event.traceparent());
}

fn comes_back_from_its_dead_letter(sealer: &Sealer, received: &Received<'_>, event: &Event) {
    let refused = Verdict {
        reason: DeadLetterReason::TooLarge,
        detail: "larger than the topic takes".to_owned(),
        destination: Some("kafka:minchat.message.sent.v1".to_owned()),
    };
    let buried = sealer.dead_letter_of(event, refused);
    comes_back_from_the_spool(sealer, &buried);
    let told = DeadLetter::read(buried.envelope()).expect("it is a dead letter");
    assert_eq!(told.body, received.body);
    let again = sealer.revive(&told).expect("it was an event before");
    assert_eq!(again.id(), event.id());
    assert_eq!(again.data(), event.data());
    if received.webhook_id.is_none() {
        let text = |event: &Event| String::from_utf8_lossy(event.envelope()).into_owned();
        assert_eq!(text(&again), text(event));
    }
}

/// Nothing that is read back takes anything down, whoever wrote it.
fn read_back(sealer: &Sealer, bytes: &[u8]) {
    if let Some(event) = sealer.read_stored(bytes) {
        let mut stored = Vec::new();
        sealer.write_stored(&event, &mut stored);
        assert!(event.data().len() < event.envelope().len());
        let _ = (
            event.ordering_key(),
            event.traceparent(),
            event.verdict(),
            event.attributes_json(),
        );
        let refused = Verdict {
            reason: DeadLetterReason::Rejected,
            detail: String::new(),
            destination: None,
        };
        let buried = sealer.dead_letter_of(&event, refused);
        assert!(DeadLetter::read(buried.envelope()).is_some());
    }
    if let Some(dead_letter) = DeadLetter::read(bytes)
        && let Ok(event) = sealer.revive(&dead_letter)
    {
        assert_eq!(event.id(), dead_letter.id);
        comes_back_from_the_spool(sealer, &event);
    }
}

/// The members of a JSON object in their order, doubled ones too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
