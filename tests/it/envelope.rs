//! What an envelope says of an event's origin, on every way that an event can take.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::amqp::client::shared_url;
use crate::client::Request;
use crate::cluster::{Cluster, Record};
use crate::command::{configure, run};
use crate::payload::{message, prefix};
use crate::process::{Posted, Process};

type Attributes = BTreeMap<String, String>;

const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A request that a relay signed by Standard Webhooks.
fn signed(path: &str, id: &str, body: impl AsRef<[u8]>) -> Request {
    let body = body.as_ref();
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let at = since.expect("it is later than 1970").as_secs().to_string();
    let key = STANDARD.decode(SECRET).expect("it is base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("every length is taken");
    for part in [id.as_bytes(), b".", at.as_bytes(), b".", body] {
        mac.update(part);
    }
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    Request::post(path, body)
        .with("webhook-id", id)
        .with("webhook-timestamp", &at)
        .with("webhook-signature", &signature)
}

fn sources(prefix: &str) -> String {
    format!(
        "sources: {{minchat: {{prefix: {prefix}, uri: \"urn:tenant:b\", auth: {{standard_webhooks: \
         {{secrets: [whsec_{SECRET}]}}}}}}}}\n"
    )
}

fn id(posted: &Posted) -> String {
    let id = posted.json["id"].as_str();
    id.expect("a 202 has an id").to_owned()
}

fn texts(value: &Value) -> Attributes {
    let members = value.as_object().expect("it is an object");
    let members = members.iter().filter(|(name, _)| *name != "data");
    let text = |value: &Value| value.as_str().expect("an attribute is a text").to_owned();
    members
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// The attributes of a record in either content mode.
fn attributes(record: &Record) -> Attributes {
    let binary = record.headers.iter();
    let binary = binary.filter_map(|(name, value)| Some((name.strip_prefix("ce_")?, value)));
    let mut binary: Attributes = binary
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    if binary.is_empty() {
        return texts(&record.value);
    }
    binary.insert("datacontenttype".to_owned(), "application/json".to_owned());
    binary
}

#[test]
fn an_event_has_every_attribute_again_after_its_dead_letter_was_replayed() {
    let cluster = Cluster::shared();
    let (kafka, amqp) = (&cluster.servers, shared_url());
    let kafka = |mode: &str| {
        format!(
            "kafka: {{bootstrap_servers: \"{kafka}\", create_topics: true, content_mode: {mode}}}\n"
        )
    };
    let amqp = |mode: &str| format!("amqp: {{uri: \"{amqp}\", content_mode: {mode}}}\n");
    let to = |where_to: &str| {
        format!("routes: {{message.sent: {{kafka: {{}}}}, dead-letter: {{{where_to}: {{}}}}}}\n")
    };
    for (brokers, kept) in [
        (kafka("structured") + &to("kafka"), false),
        (kafka("binary") + &to("kafka"), false),
        (
            kafka("structured") + &amqp("structured") + &to("amqp"),
            false,
        ),
        (kafka("structured") + &amqp("binary") + &to("amqp"), false),
        (kafka("structured") + "file: {}\n" + &to("file"), false),
        (kafka("structured") + &to("kafka"), true),
    ] {
        let prefix = prefix();
        let topic = format!("{prefix}message.sent.v1");
        cluster.create(&topic, 1, &[("max.message.bytes", "8192")]);
        if kept {
            let dead_letters = format!("{prefix}dead-letter.v1");
            cluster.create(&dead_letters, 1, &[("max.message.bytes", "8192")]);
        }
        let mut bridge = Process::start(&(sources(&prefix) + &brokers));
        bridge.await_ready();
        let mut payload: Value =
            serde_json::from_str(&message("c1", &"x".repeat(20_000))).expect("it is JSON");
        payload["chat_id"] = json!("a\"b\\c\u{7}\u{85}\u{fffe}\u{1fffe} é%😀");
        let webhook = |path: &str| {
            signed(path, "msg \"1\"\\", payload.to_string())
                .with("traceparent", PARENT)
                .with("tracestate", "rojo=\"a\\b\",other@v=1 2")
                .with("content-type", "application/json; charset=\"utf-8\"")
        };
        let shown = bridge.send(&webhook("/webhooks/minchat?dry_run=true"));
        assert_eq!(shown.status, 200, "{:?}", shown.json);
        let mut expected = texts(&shown.json["envelope"]);
        let names = expected.keys().map(String::as_str);
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "datacontenttype",
                "dataschema",
                "id",
                "partitionkey",
                "payloadsha256",
                "source",
                "specversion",
                "subject",
                "time",
                "traceparent",
                "tracestate",
                "type",
                "webhookid"
            ]
        );
        assert_eq!(
            expected["subject"],
            "chats/a\"b\\c%07%C2%85%EF%BF%BE%F0%9F%BF%BE é%😀"
        );
        let posted = bridge.send(&webhook("/webhooks/minchat"));
        assert_eq!(posted.json["receipt"], "dead-lettered", "{:?}", posted.json);
        bridge.await_metric(&["lane_pending_events"], 0.0);

        let dir = bridge.dir();
        let dir = dir.path();
        let listed = run(dir, &["dead-letters", "list", "--json"]).with(0).json();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["id"], posted.json["id"]);
        expected.insert("id".to_owned(), id(&posted));
        let time = listed[0]["received_at"].as_str().expect("it is a text");
        expected.insert("time".to_owned(), time.to_owned());
        cluster.takes(&topic, "1000000");
        run(dir, &["dead-letters", "replay"])
            .with(0)
            .says(&["1 published"]);
        let record = cluster.await_records(&topic, 1).remove(0);
        assert_eq!(attributes(&record), expected);
        assert_eq!(record.key.as_ref(), expected.get("partitionkey"));
        bridge.stop();
    }
}

#[test]
fn a_dead_letter_of_what_is_not_json_has_what_came_with_the_request() {
    let prefix = prefix();
    let bridge = Process::start(&sources(&prefix));
    bridge.await_ready();
    let body = b"\xef\xbb\xbfnope";
    let request = signed("/webhooks/minchat", "msg_1", body)
        .with("traceparent", PARENT)
        .with("tracestate", "rojo=1");
    assert_eq!(bridge.send(&request).status, 400);
    let file = format!("data/events/{prefix}dead-letter.v1.ndjson");
    let lines = std::fs::read_to_string(bridge.path().join(file)).expect("it is there");
    let dead_letter: Value = serde_json::from_str(lines.trim_end()).expect("a line is JSON");
    for (name, value) in [
        ("source", "urn:tenant:b"),
        ("traceparent", PARENT),
        ("tracestate", "rojo=1"),
        ("webhookid", "msg_1"),
    ] {
        assert_eq!(dead_letter[name], value, "{name}");
    }
    let data = &dead_letter["data"];
    assert_eq!(data["reason"], "malformed-json");
    assert_eq!(
        data["body"], "\u{feff}nope",
        "it is kept as it was received"
    );
    let detail = "not JSON: an unknown word at byte 3";
    assert_eq!(data["detail"], detail, "as it was received");
}

#[test]
fn a_byte_order_mark_is_ignored_and_the_digest_is_of_the_bytes_received() {
    let bridge = Process::start("{}\n");
    bridge.await_ready();
    let plain = message("c1", "hello");
    let marked = format!("\u{feff}{plain}");
    let posted = bridge.post(&marked);
    assert_eq!(
        (posted.status, posted.json["kind"].as_str()),
        (202, Some("message.sent"))
    );
    let file = bridge
        .path()
        .join("data/events/minchat.message.sent.v1.ndjson");
    let line = std::fs::read_to_string(file).expect("it is there");
    assert!(line.ends_with(&format!(",\"data\":{plain}}}\n")), "{line}");
    let event: Value = serde_json::from_str(&line).expect("a line is JSON");
    let digest = Sha256::digest(marked.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(event["payloadsha256"], digest.as_str());
    assert_eq!(bridge.post("\u{feff}\u{feff}{}").status, 400);
    let utf16 = Request::post("/webhooks/minchat", b"\xff\xfe{\0}\0");
    assert_eq!(bridge.send(&utf16).status, 400);
}

#[test]
fn a_webhook_id_that_the_specification_forbids_lets_nobody_in() {
    let bridge = Process::start(&sources(&prefix()));
    bridge.await_ready();
    let send = |id: &str| bridge.send(&signed("/webhooks/minchat", id, "{}")).status;
    for (id, status) in [
        ("msg_1", 202),
        ("a b", 202),
        ("msg.1", 401),
        (".", 401),
        ("a\tb", 401),
        ("a\u{85}b", 401),
        ("a\u{fffe}", 401),
        ("é", 401),
    ] {
        assert_eq!(send(id), status, "{id:?}");
    }
}

#[test]
fn refused_events_of_a_removed_source_stay_its_own() {
    let cluster = Cluster::shared();
    for (prefix_of_b, dead_letters, where_to) in [
        ("b.", "", None),
        ("a.", "", Some("a.dead-letter.v1")),
        (
            "b.",
            "dead-letter: {kafka: {topic: $PREFIX.dead}}",
            Some("dead"),
        ),
    ] {
        let unique = prefix();
        let name = |rest: &str| format!("{unique}{rest}");
        let source = |name: &str, prefix: &str| {
            format!("  {name}: {{prefix: {unique}{prefix}, auth: {{none: true}}}}\n")
        };
        let (a, b) = (source("a", "a."), source("b", prefix_of_b));
        let yaml = |sources: &str, servers: &str| {
            let routes = dead_letters.replace("$PREFIX.", &unique);
            format!(
                "sources:\n{sources}kafka: {{bootstrap_servers: \"{servers}\", create_topics: true}}\n\
                 routes: {{{routes}}}\npublish: {{spool_after: 20ms}}\n"
            )
        };
        let topic = name(&format!("{prefix_of_b}message.sent.v1"));
        cluster.create(&topic, 1, &[("max.message.bytes", "8192")]);

        let mut bridge = Process::start(&yaml(&format!("{a}{b}"), "127.0.0.1:1"));
        let large = message("c1", &"x".repeat(20_000));
        let posted = bridge.post_to("/webhooks/b", &large);
        assert_eq!(posted.json["receipt"], "spooled");
        let fits = bridge.post_to("/webhooks/b", &message("c1", "fits"));
        bridge.stop();

        let dir = bridge.dir();
        let mut bridge = Process::start_in(dir.clone(), &yaml(&a, &cluster.servers));
        bridge.await_metric(&["dead_letters_total", &topic, "publish", "too-large"], 1.0);
        bridge.await_metric(&["lane_pending_events"], 0.0);
        bridge.assert_the_books_balance();
        let metrics = bridge.ask("/metrics").1;
        assert!(!metrics.contains("source=\"b\""), "labels are a closed set");
        bridge.stop();

        let lies_in = match where_to {
            Some(topic) => format!("kafka:{}", name(topic)),
            None => "kept:./data/spool/dead-letters".to_owned(),
        };
        let listed = run(dir.path(), &["dead-letters", "list", "--json"])
            .with(0)
            .json();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["id"], posted.json["id"]);
        assert_eq!(
            (&listed[0]["source"], &listed[0]["lies_in"]),
            (&json!("b"), &json!(lies_in))
        );
        let dead_letter: Value = match where_to {
            Some(topic) => cluster.await_records(&name(topic), 1).remove(0).value,
            None => {
                let id = id(&posted);
                let file = dir
                    .path()
                    .join(format!("data/spool/dead-letters/{id}.json"));
                let text = std::fs::read(file).expect("it is there");
                serde_json::from_slice(&text).expect("it is JSON")
            }
        };
        assert_eq!(dead_letter["source"], "/webhooks/b");
        assert_eq!(dead_letter["data"]["request"]["source"], "b");
        assert_eq!(dead_letter["data"]["request"]["path"], "/webhooks/b");

        cluster.takes(&topic, "1000000");
        run(dir.path(), &["dead-letters", "replay"])
            .with(0)
            .says(&["there is no source b any more", "0 published"]);
        configure(dir.path(), &yaml(&format!("{a}{b}"), &cluster.servers));
        run(dir.path(), &["dead-letters", "replay", "--from", &lies_in])
            .with(0)
            .says(&["1 published"]);
        let records = cluster.await_records(&topic, 2);
        let ids: Vec<&str> = records.iter().map(Record::id).collect();
        assert_eq!(ids, [id(&fits), id(&posted)]);
        for record in &records {
            assert_eq!(record.value["source"], "/webhooks/b");
        }
    }
}
