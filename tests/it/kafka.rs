//! The whole way to Kafka: the binary, and Apache Kafka.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::client::{Connection, Request};
use crate::cluster::Cluster;
use crate::load::{Load, assert_none_is_lost, through_an_outage};
use crate::node::Node;
use crate::payload::{destinations, message, prefix, sample};
use crate::process::{Process, await_some, program};
use crate::readme::explained;

/// A configuration for this cluster and prefix, with further lines in the section `kafka`.
fn yaml(servers: &str, prefix: &str, kafka: &str, rest: &str) -> String {
    format!(
        "sources:\n  minchat:\n    prefix: {prefix}\n    auth: {{none: true}}\n\
         kafka:\n  bootstrap_servers: {servers}\n{kafka}\nspool: {{max_size: 0}}\n{rest}"
    )
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const CREATE: &str = "  create_topics: {partitions: 3, replication_factor: 1}";

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
            format!("urn:minchat-bridge:schema:{kind}:1.0")
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
            "urn:minchat-bridge:schema:message.sent:1.0",
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

#[test]
fn what_is_not_json_is_refused_and_kept_as_a_dead_letter() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let deep = "[".repeat(61) + &"]".repeat(61);
    for (body, reason) in [
        ("{\"text\": nope}", "malformed_json"),
        (deep.as_str(), "too_deep"),
    ] {
        let posted = bridge.post(body);
        assert_eq!(
            (posted.status, posted.json["type"].as_str()),
            (400, Some("urn:minchat-bridge:problem:malformed-json"))
        );
        let id = posted.json["dead_letter_id"]
            .as_str()
            .expect("it says which dead letter")
            .to_owned();
        let records = cluster.read(&format!("{prefix}dead-letter.v1"));
        let record = records
            .iter()
            .find(|record| record.id() == id)
            .expect("it was confirmed before the answer");
        assert_eq!(record.value["type"], "io.minchat.bridge.dead-letter.v1");
        let data = &record.value["data"];
        assert_eq!(
            (data["reason"].as_str(), data["stage"].as_str()),
            (Some(reason), Some("parse"))
        );
        assert_eq!(data["body"], body);
        assert_eq!(data["request"]["path"], "/webhooks/minchat");
        assert_eq!(data["received_at"], record.value["time"]);
    }
    bridge.post_bytes_and_expect_base64(&cluster, &format!("{prefix}dead-letter.v1"));
    bridge.assert_the_books_balance();
}

impl Process {
    fn post_bytes_and_expect_base64(&self, cluster: &Cluster, topic: &str) {
        let posted = self.send(&Request::post("/webhooks/minchat", [0xff, 0xfe]));
        let id = posted.json["dead_letter_id"]
            .as_str()
            .expect("it says which")
            .to_owned();
        let records = cluster.read(topic);
        let record = records
            .iter()
            .find(|record| record.id() == id)
            .expect("it is there");
        assert_eq!(record.value["data"]["body_base64"], "//4=");
    }
}

#[test]
fn an_event_that_its_topic_does_not_take_is_a_dead_letter_and_the_lane_goes_on() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let topic = format!("{prefix}message.sent.v1");
    cluster.create(&topic, 1, &[("max.message.bytes", "8192")]);
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let limit = [topic.as_str(), "\"max_message_bytes\":8192"];
    bridge.await_log(&["WARN", "http.max_body lets in more", limit[0], limit[1]]);
    let large = message("c1", &"x".repeat(20_000));
    let traced = Request::post("/webhooks/minchat", &large)
        .with("traceparent", PARENT)
        .with("tracestate", "rojo=\"1\"");
    let posted = bridge.send(&traced);
    assert_eq!(
        (posted.status, posted.json["receipt"].as_str()),
        (202, Some("dead-lettered"))
    );
    assert_eq!(
        bridge.post(&message("c1", "small")).json["receipt"],
        "published"
    );
    bridge.await_log(&[
        explained("the destination will never take this event"),
        &topic,
    ]);
    let record = cluster
        .await_records(&format!("{prefix}dead-letter.v1"), 1)
        .remove(0);
    assert_eq!(record.value["id"], posted.json["id"]);
    let data = &record.value["data"];
    assert_eq!(
        (data["reason"].as_str(), data["stage"].as_str()),
        (Some("too_large"), Some("publish"))
    );
    assert_eq!(data["destination"], format!("kafka:{topic}"));
    assert_eq!(
        (&record.value["subject"], record.key.as_deref()),
        (&"chats/c1".into(), Some("c1"))
    );
    assert_eq!(
        (&record.value["traceparent"], &record.value["tracestate"]),
        (&PARENT.into(), &"rojo=\"1\"".into())
    );
    for counted in [
        &["dead_letters_total", &topic, "publish", "too_large"][..],
        &["webhooks_accepted_total", "message.sent", "dead-lettered"],
        &["published_total", &format!("{prefix}dead-letter.v1")],
    ] {
        assert_eq!(bridge.metric(counted), 1.0, "{counted:?}");
    }
    for (header, value) in [
        ("topic", topic.as_str()),
        ("stage", "publish"),
        ("exception.class.name", "too_large"),
        (
            "exception.message",
            data["detail"].as_str().expect("it says why"),
        ),
    ] {
        let header = format!("__connect.errors.{header}");
        assert!(
            record.headers.contains(&(header.clone(), value.to_owned())),
            "{header}"
        );
    }
    assert_eq!(data["body"], large);
    bridge.assert_the_books_balance();
}

#[test]
fn an_event_that_the_broker_refuses_for_ever_is_a_dead_letter_and_its_neighbours_are_published() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let topic = format!("{prefix}unrecognized.v1");
    // A compacted topic takes no record without a key, and what is not recognized has none.
    cluster.create(&topic, 1, &[("cleanup.policy", "compact")]);
    // The client is rebuilt twice on the way, which takes seconds on a loaded machine: the receipt is waited for.
    let to_it = format!(
        "routes:\n  message.sent: {{kafka: {{topic: {topic}}}}}\n\
         publish: {{deadline: 60s}}\nhttp: {{shutdown_timeout: 70s}}\n"
    );
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, &to_it));
    bridge.await_ready();
    let mut posting = Vec::new();
    for number in 0..20 {
        let body = if number == 7 {
            "{}".to_owned()
        } else {
            message("c1", &number.to_string())
        };
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(Request::post("/webhooks/minchat", body).bytes());
        posting.push(connection);
    }
    let receipts: Vec<_> = posting
        .iter_mut()
        .map(|c| c.answer().expect("each is answered").json()["receipt"].clone())
        .collect();
    let dead = receipts
        .iter()
        .filter(|receipt| *receipt == "dead-lettered")
        .count();
    assert_eq!(
        (dead, receipts[7].as_str()),
        (1, Some("dead-lettered")),
        "{receipts:?}"
    );
    assert!(cluster.read(&topic).len() >= 19);
    let record = cluster
        .await_records(&format!("{prefix}dead-letter.v1"), 1)
        .remove(0);
    assert_eq!(record.value["data"]["reason"], "rejected");
    assert_eq!(
        bridge.metric(&["dead_letters_total", "publish", "rejected"]),
        1.0
    );
    bridge.assert_the_books_balance();
}

#[test]
fn a_topic_that_is_missing_is_waited_for() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, "", ""));
    let topic = format!("{prefix}message.sent.v1");
    bridge.await_log(&[
        "ERROR",
        explained("the destination takes no events until somebody mends this"),
        &topic,
        "does not exist",
    ]);
    let posted = bridge.post(&message("c1", "too early"));
    assert_eq!(
        (posted.status, posted.json["type"].as_str()),
        (503, Some("urn:minchat-bridge:problem:storage-unavailable"))
    );
    assert_eq!(bridge.ask("/readyz").0, 503);
    let failures = ["publish_failures_total", &topic, "unknown_destination"];
    assert!(bridge.metric(&failures) > 0.0);
    cluster.create(&topic, 1, &[]);
    await_some("a 202", || {
        (bridge.post(&message("c1", "now")).status == 202).then_some(())
    });
}

#[test]
fn a_topic_that_is_deleted_and_made_again_takes_events_again() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let topic = format!("{prefix}message.sent.v1");
    let settings = yaml(
        &cluster.servers,
        &prefix,
        CREATE,
        "publish: {deadline: 2s}\n",
    );
    let bridge = Process::start(&settings.replace(CREATE, ""));
    for name in destinations(&prefix) {
        cluster.create(&name, 1, &[]);
    }
    bridge.await_ready();
    assert_eq!(bridge.post(&message("c1", "before")).status, 202);
    cluster.delete(&topic);
    await_some("a 503", || {
        (bridge.post(&message("c1", "gone")).status == 503).then_some(())
    });
    cluster.create(&topic, 1, &[]);
    let accepted = await_some("a 202", || {
        let posted = bridge.post(&message("c1", "again"));
        (posted.status == 202).then_some(posted)
    });
    let id = accepted.json["id"]
        .as_str()
        .expect("a 202 has an id")
        .to_owned();
    assert!(cluster.read(&topic).iter().any(|record| record.id() == id));
}

#[test]
fn a_broker_that_is_down_at_start_is_no_error() {
    let node = Node::kafka(&[]);
    let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
    node.stop();
    let bridge = Process::start(&yaml(&servers, "minchat.", CREATE, ""));
    bridge.await_log(&[
        "WARN",
        explained("the broker is out of reach; trying again"),
    ]);
    assert_eq!(bridge.post(&message("c1", "too early")).status, 503);
    assert_eq!(
        (bridge.ask("/livez").0, bridge.ask("/readyz").0),
        (200, 503)
    );
    assert_eq!(bridge.metric(&["broker_up", "kafka"]), 0.0);
    assert!(bridge.metric(&["publish_failures_total", "disconnected"]) > 0.0);
    node.start();
    bridge.await_ready();
    assert_eq!(bridge.post(&message("c1", "now")).status, 202);
    assert_eq!(bridge.metric(&["broker_up"]), 1.0);
    assert_eq!(bridge.metric(&["broker_reconnects_total"]), 1.0);
    bridge.await_log(&["the broker is back"]);
}

#[test]
fn a_kafka_that_is_killed_under_load_leaves_no_202_without_its_event() {
    let node = Node::kafka(&[]);
    let cluster = Cluster::at(&node.env("KAFKA_BOOTSTRAP_SERVERS"));
    let bridge = Process::start(&yaml(
        &cluster.servers,
        "minchat.",
        CREATE,
        "publish: {deadline: 2s}\n",
    ));
    bridge.await_ready();
    let accepted = through_an_outage(&bridge, || node.kill(), || node.start());
    let records = cluster.read("minchat.message.sent.v1");
    assert_none_is_lost(
        &accepted,
        records.iter().map(|record| record.id().to_owned()),
    );
}

#[test]
fn a_frozen_kafka_costs_a_503_within_the_deadline_and_nothing_once_it_is_known() {
    let node = Node::kafka(&[]);
    let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
    let bridge = Process::start(&yaml(
        &servers,
        "minchat.",
        CREATE,
        "publish: {deadline: 1s}\n",
    ));
    bridge.await_ready();
    assert_eq!(bridge.post(&message("c1", "before")).status, 202);
    node.pause();
    let answer =
        Request::post("/webhooks/minchat", message("c1", "frozen")).send_to(bridge.webhooks());
    assert_eq!(
        (answer.status, answer.header("retry-after").is_some()),
        (503, true)
    );
    let began = std::time::Instant::now();
    assert_eq!(bridge.post(&message("c1", "known")).status, 503);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "once an outage is known, nobody waits for its deadline"
    );
    bridge.await_log(&[
        "WARN",
        "kafka:minchat.message.sent.v1",
        "no confirm came",
        explained("events don't get through; trying again"),
    ]);
    assert!(bridge.metric(&["publish_failures_total", "timeout"]) > 0.0);
    await_some("the events that librdkafka holds", || {
        (bridge.metric(&["kafka_queue_events"]) > 0.0).then_some(())
    });
    node.resume();
    await_some("a 202", || {
        (bridge.post(&message("c1", "after")).status == 202).then_some(())
    });
}

#[test]
fn a_right_that_is_taken_and_given_back_stops_and_starts_its_lane_alone() {
    let node = Node::kafka(&["--user", "bridge:s3cret"]);
    let cluster = Cluster::at(&node.env("KAFKA_BOOTSTRAP_SERVERS"));
    for name in destinations("minchat.") {
        cluster.create(&name, 1, &[]);
    }
    let grant = |verb: &str, topic: &str| {
        node.run(
            "acl",
            &[
                verb,
                "--force",
                "--allow-principal",
                "User:bridge",
                "--topic",
                topic,
                "--operation",
                "Write",
                "--operation",
                "Describe",
            ],
        );
    };
    grant("--add", "*");
    let login = "  security_protocol: sasl_plaintext\n  sasl: {mechanism: SCRAM-SHA-512, username: bridge, password: s3cret}";
    let servers = node.env("KAFKA_SASL_BOOTSTRAP_SERVERS");
    let bridge = Process::start(&yaml(
        &servers,
        "minchat.",
        login,
        "publish: {deadline: 2s}\n",
    ));
    bridge.await_ready();
    assert_eq!(bridge.post(&message("c1", "before")).status, 202);
    let deny = [
        "--add",
        "--force",
        "--deny-principal",
        "User:bridge",
        "--topic",
        "minchat.message.sent.v1",
        "--operation",
        "Write",
    ];
    node.run("acl", &deny);
    await_some("a 503", || {
        (bridge.post(&message("c1", "denied")).status == 503).then_some(())
    });
    bridge.await_log(&[
        "ERROR",
        explained("the destination takes no events until somebody mends this"),
        "kafka:minchat.message.sent.v1",
        "unauthorized",
    ]);
    assert_eq!(
        bridge.post(sample("user-daily-active.current")).status,
        202,
        "other lanes go on"
    );
    let allow = deny.map(|word| if word == "--add" { "--remove" } else { word });
    node.run("acl", &allow);
    await_some("a 202", || {
        (bridge.post(&message("c1", "granted")).status == 202).then_some(())
    });
    let failures = [
        "publish_failures_total",
        "minchat.message.sent.v1",
        "unauthorized",
    ];
    assert!(bridge.metric(&failures) > 0.0);
    assert!(bridge.metric(&["publish_repeated_total", "kafka"]) > 0.0);
    bridge.assert_the_books_balance();
}

#[test]
fn a_wrong_password_is_said_clearly_and_waited_for() {
    let node = Node::kafka(&["--user", "bridge:s3cret"]);
    let servers = node.env("KAFKA_SASL_BOOTSTRAP_SERVERS");
    let login = "  security_protocol: sasl_plaintext\n  sasl: {mechanism: SCRAM-SHA-512, username: bridge, password: wr0ng-one}";
    let bridge = Process::start(&yaml(&servers, "minchat.", login, ""));
    bridge.await_log(&[
        "ERROR",
        explained("the broker takes no events until somebody mends this"),
        "authentication",
    ]);
    assert_eq!(bridge.post(&message("c1", "hi")).status, 503);
    assert!(bridge.metric(&["publish_failures_total", "authentication"]) > 0.0);
    assert!(
        !bridge.log().contains("wr0ng-one"),
        "a secret is never logged"
    );
}

#[test]
fn a_stop_under_load_finishes_what_is_in_flight() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let mut bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let load = Load::start(&bridge, 8);
    await_some("some events", || (load.accepted() > 300).then_some(()));
    bridge.stop();
    let (accepted, refused) = load.end();
    assert!(refused.iter().all(|status| *status == 503), "{refused:?}");
    let records = cluster.read(&format!("{prefix}message.sent.v1"));
    let ids: Vec<&str> = records.iter().map(|record| record.id()).collect();
    let there: std::collections::HashSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), there.len(), "nothing is published twice");
    assert!(accepted.iter().all(|id| there.contains(id.as_str())));
}

#[test]
fn several_brokers_at_once_and_routes_between_them() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let routes = "file: {dir: events}\nroutes:\n  user.daily-active: {file: {}}\n  unrecognized: {discard: true}\n";
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, routes));
    bridge.await_ready();
    assert_eq!(
        bridge.post(&message("c1", "both")).json["receipt"],
        "published"
    );
    assert_eq!(
        bridge.post(sample("user-daily-active.current")).json["receipt"],
        "published"
    );
    assert_eq!(bridge.post("{}").json["receipt"], "discarded");
    assert_eq!(
        bridge.metric(&["webhooks_accepted_total", "unrecognized", "discarded"]),
        1.0
    );
    let lines = |kind: &str| {
        let file = bridge
            .path()
            .join(format!("events/{prefix}{kind}.v1.ndjson"));
        std::fs::read_to_string(file)
            .unwrap_or_default()
            .lines()
            .count()
    };
    assert_eq!(
        (
            lines("message.sent"),
            lines("user.daily-active"),
            lines("unrecognized")
        ),
        (1, 1, 0)
    );
    assert_eq!(cluster.read(&format!("{prefix}message.sent.v1")).len(), 1);
    bridge.assert_the_books_balance();
}

#[test]
fn an_event_is_refused_while_one_of_its_destinations_is_away() {
    // Nothing listens on port 1.
    let rest = "file: {dir: events}\nroutes:\n  user.daily-active: {file: {}}\n";
    let bridge = Process::start(&yaml("127.0.0.1:1", "minchat.", "", rest));
    bridge.await_log(&["WARN", "the broker is out of reach"]);
    let posted = bridge.post(&message("c1", "for both"));
    assert_eq!(posted.status, 503, "{:?}", posted.json);
    let posted = bridge.post(sample("user-daily-active.current"));
    assert_eq!(posted.json["receipt"], "published");
    let (status, text) = bridge.ask("/readyz");
    assert_eq!(status, 503);
    assert!(
        text.contains("[-]kafka:minchat.message.sent.v1 failed: "),
        "{text}"
    );
    assert!(
        text.contains("[+]file:minchat.message.sent.v1 ok\n"),
        "{text}"
    );
}

#[test]
fn a_dead_letter_that_its_own_topic_does_not_take_is_kept_as_a_file() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    for name in destinations(&prefix) {
        cluster.create(&name, 1, &[("max.message.bytes", "8192")]);
    }
    let large = message("c1", &"x".repeat(20_000));
    // The first confirm of a producer takes a while.
    let patient = yaml(
        &cluster.servers,
        &prefix,
        "",
        "publish: {spool_after: 4s}\n",
    );
    let bridge = Process::start(&patient.replace("spool: {max_size: 0}", ""));
    bridge.await_ready();
    let posted = bridge.post(&large);
    assert_eq!(posted.json["receipt"], "dead-lettered");
    let id = posted.json["id"].as_str().expect("a 202 has an id");
    let file = bridge
        .path()
        .join(format!("data/spool/dead-letters/{id}.json"));
    let dead_letter: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("it is there before the answer"))
            .expect("it is JSON");
    assert_eq!(dead_letter["data"]["body"], large.as_str());
    let mode = std::fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "it holds personal messages");
    bridge.await_metric(&["lane_pending_events"], 0.0);
    bridge.assert_the_books_balance();

    let nowhere = Process::start(&yaml(
        &cluster.servers,
        &prefix,
        "",
        "publish: {deadline: 1s}\n",
    ));
    nowhere.await_ready();
    assert_eq!(
        nowhere.post(&large).status,
        503,
        "without a place for it nothing is promised"
    );
    assert_eq!(
        nowhere.post(&message("c1", "small")).status,
        202,
        "and the lane goes on"
    );
}

#[test]
fn an_operator_sees_what_is_missing_creates_it_and_sees_that_it_is_there() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let user = format!("{prefix}user.daily-active.v1");
    cluster.create(&user, 1, &[("max.message.bytes", "8192")]);
    let dir = tempfile::tempdir().expect("a directory can be made");
    let config = dir.path().join("config.yaml");
    std::fs::write(&config, yaml(&cluster.servers, &prefix, CREATE, ""))
        .expect("it can be written");
    let run = |words: &[&str]| program(words, &["--config", config.to_str().expect("it is UTF-8")]);
    let topic = format!("kafka:{prefix}message.sent.v1");
    let (code, text) = run(&["topics", "check"]);
    assert_eq!(code, 69);
    assert!(
        text.contains(&format!("[-] {topic}")) && text.contains("does not exist"),
        "{text}"
    );
    assert_eq!(run(&["check", "--connect"]).0, 69);
    let (code, text) = run(&["topics", "create"]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(&format!(
            "[+] {topic}: 3 partitions, takes messages of up to 1048588 bytes\n"
        )),
        "{text}"
    );
    let other = format!(
        "[+] kafka:{user}: 1 partition (kafka.create_topics says 3), takes messages of up to 8192 bytes: \
         what http.max_body (524288 bytes) lets in beyond that goes to the dead letters\n"
    );
    assert!(text.contains(&other), "{text}");
    assert_eq!(run(&["topics", "check"]).0, 0);
    assert_eq!(run(&["check", "--connect"]).0, 0);
}

/// Six topics, six clients; each spun for a hundredth of its time when rdkafka listened to it.
#[test]
fn a_bridge_that_has_nothing_to_do_rests() {
    const WATCHED: Duration = Duration::from_secs(4);
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let (before, began) = (cpu_time(&bridge), Instant::now());
    while began.elapsed() < WATCHED {
        std::thread::sleep(Duration::from_millis(100));
    }
    let busy = cpu_time(&bridge) - before;
    assert!(busy < WATCHED / 50, "{busy:?} of {WATCHED:?}");
}

/// librdkafka packs a batch in about as much memory as glibc lets lie free at a heap's end by default: whether in
/// more, each client's thread finds for itself.
#[test]
fn a_batch_is_packed_in_memory_that_is_there() {
    const ROUNDS: u64 = 100;
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let post_all = || {
        for sample in minchat_bridge::minchat::SAMPLES {
            assert_eq!(bridge.post(sample.json).status, 202);
        }
    };
    (0..ROUNDS).for_each(|_| post_all());
    let before = page_faults(&bridge);
    (0..ROUNDS).for_each(|_| post_all());
    let faults = page_faults(&bridge) - before;
    assert!(faults < ROUNDS, "{faults} page faults");
}

/// What a process took of the processors until now (`proc_pid_stat(5)`: in hundredths of a second).
fn cpu_time(process: &Process) -> Duration {
    const UTIME: usize = 14;
    const STIME: usize = 15;
    Duration::from_millis((stat(process, UTIME) + stat(process, STIME)) * 10)
}

/// How often a process asked for a page until now that no disk had to be read for.
fn page_faults(process: &Process) -> u64 {
    const MINFLT: usize = 10;
    stat(process, MINFLT)
}

/// A field of `/proc/pid/stat`, by its number in `proc_pid_stat(5)`.
fn stat(process: &Process, field: usize) -> u64 {
    const AFTER_THE_NAME: usize = 3;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("it has a name");
    let value = rest.split(' ').nth(field - AFTER_THE_NAME);
    value
        .and_then(|value| value.parse().ok())
        .expect("a number")
}
