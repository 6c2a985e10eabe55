use std::time::SystemTime;

use minchat_bridge::envelope::settings::Settings;
use minchat_bridge::envelope::{Received, Sealer};
use minchat_bridge::minchat::{Drift, SAMPLES, read};

/// A sample as MinChat sends it, without white space.
fn compact(json: &str) -> Vec<u8> {
    let mut data = Vec::new();
    read(json.as_bytes(), None)
        .expect("a payload")
        .write_data(&mut data);
    data
}

#[test]
fn a_compact_payload_of_todays_shape_is_read_without_an_allocation() {
    for sample in SAMPLES {
        let body = compact(sample.json);
        let mut out = Vec::with_capacity(body.len());
        let counted = allocation_counter::measure(|| {
            let payload = read(&body, None).expect("a payload");
            assert!(payload.is_verbatim());
            assert!(payload.ordering_key().is_some());
            assert_eq!(payload.unknown_keys().count(), 0);
            payload.write_data(&mut out);
        });
        assert_eq!(counted.count_total, 0, "{}", sample.name);
        assert_eq!(out, body, "{}", sample.name);
    }
}

#[test]
fn old_spellings_cost_no_allocation_either() {
    let body = br#"{"sentBy":{"id":"u","createdAt":"d"},"sentTo":[{"id":"v"}],"text":"Hello","channelId":"c"}"#;
    let mut out = Vec::with_capacity(2 * body.len());
    let counted = allocation_counter::measure(|| {
        let payload = read(body, None).expect("a payload");
        assert!(payload.drift().contains(Drift::LegacyKey));
        payload.write_data(&mut out);
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn white_space_costs_one_allocation_no_larger_than_the_body() {
    for sample in SAMPLES {
        let counted = allocation_counter::measure(|| {
            assert!(
                !read(sample.json.as_bytes(), None)
                    .expect("a payload")
                    .is_verbatim()
            );
        });
        assert_eq!(counted.count_total, 1, "{}", sample.name);
        assert_eq!(
            counted.bytes_max,
            sample.json.len() as u64,
            "{}",
            sample.name
        );
    }
}

#[test]
fn memory_stays_in_proportion_to_the_body() {
    let repeated = |before: &str, unit: &str, after: &str| {
        let units = vec![unit; 100_000].join(",");
        format!("{before}{units}{after}")
    };
    for body in [
        repeated(r#"{"id":"i","name":"n","#, r#""":0"#, "}"),
        repeated(r#"{"event":"e","fields":{"#, r#""":0"#, "}}"),
        repeated(r#"{"sent_by":{},"sent_to":["#, r#"{"createdAt":0}"#, "]}"),
        repeated("[", "[]", "]"),
    ] {
        let counted =
            allocation_counter::measure(|| drop(read(body.as_bytes(), None).expect("a payload")));
        assert!(
            counted.bytes_max <= 10 * body.len() as u64,
            "{} bytes for {}",
            counted.bytes_max,
            body.len()
        );
    }
}

#[test]
fn an_event_is_one_allocation() {
    let settings = Settings {
        schema_base: "tag:minchat.io,2026:bridge:schema:".to_owned(),
    };
    let sealer = Sealer::new(&settings, [("minchat", "/webhooks/minchat")]);
    // A thread's generator of random numbers is made with its first id.
    uuid::Uuid::now_v7();
    for sample in SAMPLES {
        let body = compact(sample.json);
        let mut event = None;
        let counted = allocation_counter::measure(|| {
            let payload = read(&body, None).expect("a payload");
            let received = Received {
                source: 0,
                said: None,
                content_type: Some("application/json"),
                traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                tracestate: None,
                webhook_id: None,
                body: &body,
                at: SystemTime::now(),
            };
            event = Some(sealer.seal(&received, &payload));
        });
        assert_eq!(counted.count_total, 1, "{}", sample.name);
        assert!(event.is_some());
    }
}
