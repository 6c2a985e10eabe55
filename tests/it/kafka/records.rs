//! What a plain consumer reads.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{CREATE, PARENT, yaml};
use crate::client::Request;
use crate::cluster::Cluster;
use crate::payload::{message, prefix, sample};
use crate::process::Process;

#[test]
fn each_kind_is_read_from_its_topic_by_a_plain_consumer() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    assert!(
        !bridge.log().contains("ERROR"),
        "a topic that the bridge creates is no trouble"
    );
    for (name, kind, key) in [
        (
            "message-sent.current",
            "message.sent",
            "63d3e12d669fc928b3d78f80",
        ),
        (
            "conversation-created.current",
            "conversation.created",
            "cmd5vwylc0006qfe97knky6vt",
        ),
        (
            "ai-agent-action.current",
            "ai-agent.action",
            "cmc34d3oh0008cy7urxr0f5zn",
        ),
        (
            "user-daily-active.current",
            "user.daily-active",
            "639575b2c280a7001e892906",
        ),
    ] {
        let body = sample(name);
        let posted = bridge.post(body);
        assert_eq!(
            (posted.status, posted.json["kind"].as_str()),
            (202, Some(kind))
        );
        assert_eq!(posted.json["receipt"], "published");
        let record = cluster
            .await_records(&format!("{prefix}{kind}.v1"), 1)
            .remove(0);
        assert_eq!(record.key.as_deref(), Some(key));
        let content_type = (
            "content-type".to_owned(),
            "application/cloudevents+json; charset=UTF-8".to_owned(),
        );
        assert_eq!(record.headers, [content_type]);
        let envelope = &record.value;
        assert_eq!(envelope["id"], posted.json["id"]);
        assert_eq!(envelope["specversion"], "1.0");
        assert_eq!(envelope["source"], "/webhooks/minchat");
        assert_eq!(envelope["type"], format!("io.minchat.{kind}.v1"));
        assert_eq!(envelope["partitionkey"], key);
        assert_eq!(
            envelope["dataschema"],
            format!("tag:minchat.io,2026:bridge:schema:{kind}:1.0")
        );
        assert_eq!(
            envelope["payloadsha256"],
            format!("{:x}", Sha256::digest(body))
        );
        let payload: serde_json::Value = serde_json::from_str(body).expect("a sample is JSON");
        assert_eq!(envelope["data"], payload);
    }
    let posted = bridge.post("[1,2]");
    assert_eq!(posted.json["kind"], "unrecognized");
    let record = cluster
        .await_records(&format!("{prefix}unrecognized.v1"), 1)
        .remove(0);
    assert_eq!(
        (record.key, record.value["data"].to_string()),
        (None, "[1,2]".to_owned())
    );
    assert!(record.value.get("subject").is_none() && record.value.get("partitionkey").is_none());
    bridge.assert_the_books_balance();
}

#[test]
fn the_trace_context_of_a_request_is_in_the_envelope_and_in_the_header() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let request = Request::post("/webhooks/minchat", message("c1", "hi"));
    bridge.send(
        &request
            .with("traceparent", PARENT)
            .with("tracestate", "rojo=1"),
    );
    let record = cluster
        .await_records(&format!("{prefix}message.sent.v1"), 1)
        .remove(0);
    assert!(
        record
            .headers
            .contains(&("traceparent".to_owned(), PARENT.to_owned()))
    );
    assert_eq!(
        (&record.value["traceparent"], &record.value["tracestate"]),
        (&PARENT.into(), &"rojo=1".into())
    );
}

#[test]
fn in_binary_mode_the_value_is_data_and_the_attributes_are_in_headers() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let binary = format!("{CREATE}\n  content_mode: binary");
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, &binary, ""));
    bridge.await_ready();
    let body = message("c1", "hi");
    let request = Request::post("/webhooks/minchat", &body).with("traceparent", PARENT);
    let posted = bridge.send(&request);
    assert_eq!(posted.json["receipt"], "published");
    let record = cluster
        .await_records(&format!("{prefix}message.sent.v1"), 1)
        .remove(0);
    assert_eq!(record.value.to_string(), sorted(&body));
    assert_eq!(record.key.as_deref(), Some("c1"));
    let mut headers: HashMap<String, String> = record.headers.into_iter().collect();
    let time = headers.remove("ce_time").expect("there is always a time");
    assert!(time.ends_with('Z'), "{time}");
    let id = posted.json["id"].as_str().expect("a 202 has an id");
    let expected = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_source", "/webhooks/minchat"),
        ("ce_type", "io.minchat.message.sent.v1"),
        ("ce_subject", "chats/c1"),
        (
            "ce_dataschema",
            "tag:minchat.io,2026:bridge:schema:message.sent:1.0",
        ),
        ("ce_partitionkey", "c1"),
        ("ce_payloadsha256", &format!("{:x}", Sha256::digest(&body))),
        ("ce_traceparent", PARENT),
        ("traceparent", PARENT),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers, HashMap::from(expected));
}

/// JSON as `serde_json` writes it.
fn sorted(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    value.to_string()
}

#[test]
fn keys_are_in_the_partitions_that_java_clients_choose() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let expected = HashMap::from([
        ("a", java_partition("a")),
        ("chat-1", java_partition("chat-1")),
        ("42", java_partition("42")),
    ]);
    for key in expected.keys() {
        assert_eq!(bridge.post(&message(key, "hi")).status, 202);
    }
    for record in cluster.await_records(&format!("{prefix}message.sent.v1"), 3) {
        let key = record.key.expect("a message has a key");
        assert_eq!(record.partition, expected[key.as_str()], "{key}");
    }
}

/// Kafka's own `UtilsTest` has these values.
#[test]
fn the_tests_murmur2_is_that_of_kafka() {
    for (text, hash) in [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
    ] {
        assert_eq!(murmur2(text).cast_signed(), hash, "{text}");
    }
}

fn java_partition(key: &str) -> i32 {
    i32::try_from((murmur2(key) & 0x7fff_ffff) % 3).expect("there are three")
}

/// Murmur2 as `org.apache.kafka.common.utils.Utils.murmur2` has it.
fn murmur2(key: &str) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let bytes = key.as_bytes();
    let mut hash = 0x9747_b28c_u32 ^ u32::try_from(bytes.len()).expect("a key is short");
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        mixed = (mixed ^ (mixed >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}
