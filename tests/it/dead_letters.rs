//! `minchat-bridge dead-letters`, where the dead letters lie.

use std::path::Path;

use serde_json::Value;

use crate::amqp::client::{Client, quorum, shared_url};
use crate::cluster::{Cluster, Record};
use crate::command::{Ran, configure, run};
use crate::node::Node;
use crate::payload::{destinations, message, prefix, sample};
use crate::process::{Posted, Process, await_some};

/// Kafka, where topics that are not there are made; and where dead letters go.
fn yaml(cluster: &Cluster, prefix: &str, dead_letters: &str) -> String {
    format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
         kafka: {{bootstrap_servers: \"{}\", create_topics: true}}\n\
         routes: {{{dead_letters}}}\n",
        cluster.servers
    )
}

/// More than a topic of 8 KiB takes.
fn large(text: &str) -> String {
    message("c1", &format!("{text} {}", "x".repeat(20_000)))
}

fn id(posted: &Posted) -> String {
    let id = match posted.status {
        202 => &posted.json["id"],
        _ => &posted.json["dead_letter_id"],
    };
    id.as_str().expect("it says which").to_owned()
}

fn column(ran: &Ran, name: &str) -> Vec<String> {
    let lines = ran.json();
    let values = lines.iter().map(|line| line[name].as_str());
    values
        .map(|value| value.expect("it is a text").to_owned())
        .collect()
}

fn dead_letters(dir: &Path, words: &[&str]) -> Ran {
    run(dir, &[&["dead-letters"], words].concat())
}

/// The event that a payload of this id became, received when its dead letter was.
fn assert_is_the_event(record: &Record, id: &str, listed: &Value) {
    assert_eq!(record.id(), id);
    assert_eq!(record.value["time"], listed["received_at"]);
    let body: Value = serde_json::from_str(listed["body"].as_str().expect("it is UTF-8"))
        .expect("the payload is JSON");
    assert_eq!(record.value["data"], body);
    assert_eq!(record.key.as_deref(), Some("c1"));
}

#[test]
fn what_a_topic_was_too_small_for_is_published_again_from_kafka() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let topic = format!("{prefix}message.sent.v1");
    cluster.create(&topic, 1, &[("max.message.bytes", "8192")]);
    cluster.create(&format!("{prefix}dead-letter.v1"), 3, &[]);
    let mut bridge = Process::start(&yaml(&cluster, &prefix, ""));
    bridge.await_ready();
    let first = id(&bridge.post(&large("first")));
    let second = id(&bridge.post_to("/webhooks/minchat/message.sent", &large("second")));
    let broken = id(&bridge.post("nope"));
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let dir = bridge.dir();
    let dir = dir.path();

    let listed = dead_letters(dir, &["list"]).with(0);
    let place = format!("kafka:{prefix}dead-letter.v1");
    listed.says(&[&first, "too-large", "malformed-json", &place, "19.", "KiB"]);
    let json = dead_letters(dir, &["list", "--json", "--stage", "publish"]).with(0);
    assert_eq!(column(&json, "id"), [&*first, &second]);
    let json = json.json();
    assert_eq!(json[0]["destination"], format!("kafka:{topic}"));
    assert_eq!(json[0]["body"], large("first"));
    assert_eq!(
        (&json[0]["kind_in_url"], &json[1]["kind_in_url"]),
        (&Value::Null, &"message.sent".into())
    );

    let refused = dead_letters(dir, &["replay"]).with(69);
    refused.says(&[
        &format!("[-] {broken}: still no event: "),
        &format!("[-] {first}: its destination still refuses it"),
        "0 published; 1 left, as they are still no events; 2 left, as they could not be published",
    ]);
    let dead = cluster.read(&format!("{prefix}dead-letter.v1"));
    assert_eq!(dead.len(), 3, "what is refused again is not buried twice");

    cluster.takes(&topic, "1000000");
    let dry = dead_letters(dir, &["replay", "--dry-run"]).with(0);
    dry.says(&[
        &format!("[+] {first}: would be published as message.sent to kafka:{topic}"),
        "2 would be published; 1 left",
    ]);
    assert!(cluster.read(&topic).is_empty(), "it was a rehearsal");

    let one = dead_letters(dir, &["replay", "--id", &second]).with(0);
    assert_eq!(one.stdout, "1 published\n");
    dead_letters(dir, &["replay", "--reason", "too-large"])
        .with(0)
        .says(&["2 published"]);
    let records = cluster.await_records(&topic, 3);
    assert_is_the_event(&records[0], &second, &json[1]);
    assert_is_the_event(&records[1], &first, &json[0]);
    assert_eq!(records[2].id(), second, "a topic stays as it is");
    bridge.stop();
}

#[test]
fn dead_letters_of_binary_mode_are_read_too() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let yaml = format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
         kafka: {{bootstrap_servers: \"{}\", create_topics: true, content_mode: binary}}\n\
         amqp: {{uri: \"{}\", content_mode: binary}}\n",
        cluster.servers,
        shared_url()
    );
    let mut bridge = Process::start(&yaml);
    bridge.await_ready();
    let broken = id(&bridge.post("\u{1F600} nope"));
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let listed = dead_letters(bridge.path(), &["list", "--json"]).with(0);
    assert_eq!(column(&listed, "id"), [&*broken, &broken], "{listed:?}");
    for line in listed.json() {
        assert_eq!(line["body"], "\u{1F600} nope");
        assert_eq!(line["reason"], "malformed-json");
    }
    let places = column(&listed, "lies_in");
    let dead_letter = format!("{prefix}dead-letter.v1");
    assert_eq!(
        places,
        [
            format!("kafka:{dead_letter}"),
            format!("amqp:{dead_letter}")
        ]
    );
    bridge.stop();
}

#[test]
fn the_right_to_read_the_topic_is_all_that_a_look_needs() {
    let node = Node::kafka(&["--user", "bridge:s3cret"]);
    let cluster = Cluster::at(&node.env("KAFKA_BOOTSTRAP_SERVERS"));
    for name in destinations("minchat.") {
        cluster.create(&name, 1, &[]);
    }
    let grant = |topic: &str, operations: [&str; 2]| {
        let operations = operations.iter().flat_map(|right| ["--operation", right]);
        let words = [
            "--add",
            "--force",
            "--allow-principal",
            "User:bridge",
            "--topic",
            topic,
        ];
        node.run(
            "acl",
            &words.into_iter().chain(operations).collect::<Vec<_>>(),
        );
    };
    grant("*", ["Write", "Describe"]);
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\nkafka:\n  bootstrap_servers: {}\n  \
         security_protocol: sasl_plaintext\n  \
         sasl: {{mechanism: SCRAM-SHA-512, username: bridge, password: s3cret}}\n",
        node.env("KAFKA_SASL_BOOTSTRAP_SERVERS")
    ));
    bridge.await_ready();
    let broken = id(&bridge.post("nope"));
    dead_letters(bridge.path(), &["list"]).with(69).says(&[
        "kafka:minchat.dead-letter.v1 could not be read",
        "(unauthorized)",
    ]);
    grant("minchat.dead-letter.v1", ["Read", "Describe"]);
    await_some("the right to read", || {
        let listed = dead_letters(bridge.path(), &["list", "--json"]);
        (listed.code == 0).then(|| assert_eq!(column(&listed, "id"), [&*broken]))
    });
}

#[test]
fn what_was_published_again_is_taken_out_of_a_rabbitmq_queue_and_nothing_else() {
    let (cluster, broker, prefix) = (Cluster::shared(), Client::new(&shared_url()), prefix());
    let topic = format!("{prefix}message.sent.v1");
    cluster.create(&topic, 1, &[("max.message.bytes", "8192")]);
    let queue = format!("{prefix}dead-letter.v1");
    let routes = "dead-letter: {amqp: {}}, message.sent: {kafka: {}}";
    let yaml = format!(
        "{}amqp: {{uri: \"{}\"}}\n",
        yaml(&cluster, &prefix, routes),
        shared_url()
    );
    let mut bridge = Process::start(&yaml);
    bridge.await_ready();
    let lost = id(&bridge.post(&large("first")));
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let broken = id(&bridge.post("nope"));
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let dir = bridge.dir();
    let dir = dir.path();
    let listed = dead_letters(dir, &["list", "--json"]).with(0);
    assert_eq!(column(&listed, "id"), [&*lost, &broken]);
    assert_eq!(column(&listed, "lies_in")[0], format!("amqp:{queue}"));
    dead_letters(dir, &["replay"])
        .with(69)
        .says(&["0 published"]);
    dead_letters(dir, &["replay", "--dry-run"])
        .with(0)
        .says(&["1 would be"]);

    cluster.takes(&topic, "1000000");
    dead_letters(dir, &["replay"])
        .with(0)
        .says(&["1 published; 1 left, as they are still no events"]);
    let records = cluster.await_records(&topic, 1);
    assert_is_the_event(&records[0], &lost, &listed.json()[0]);
    let listed = dead_letters(dir, &["list", "--json"]).with(0);
    assert_eq!(column(&listed, "id"), [&*broken]);
    bridge.assert_the_books_balance();
    bridge.stop();
    assert_eq!(broker.drain_ids(&queue), [&*broken]);
}

#[test]
fn looking_often_costs_no_dead_letter_of_a_queue_that_limits_deliveries() {
    let (broker, prefix) = (Client::new(&shared_url()), prefix());
    let queue = format!("{prefix}dead-letter.v1");
    let limited = [
        quorum()[0].clone(),
        ("x-delivery-limit", lapin::types::AMQPValue::LongInt(12)),
    ];
    broker.declare_queue(&queue, &limited);
    let mut bridge = Process::start(&format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\namqp: {{uri: \"{}\"}}\n",
        shared_url()
    ));
    bridge.await_ready();
    let mut posted: Vec<String> = (0..3).map(|_| id(&bridge.post("nope"))).collect();
    posted.sort_unstable();
    bridge.await_metric(&["lane_pending_events"], 0.0);
    for look in 0..30 {
        let listed = dead_letters(bridge.path(), &["list", "--json"]).with(0);
        let mut ids = column(&listed, "id");
        ids.sort_unstable();
        assert_eq!(ids, posted, "look {look}");
    }
    bridge.stop();
    assert_eq!(broker.drain_ids(&queue).len(), 3);
}

#[test]
fn files_are_read_beside_the_bridge_and_one_that_was_mended_is_published() {
    let mut bridge = Process::start("{}\n");
    bridge.await_ready();
    let broken = id(&bridge.post(r#"{"sent_by":{"id":"u1"},"sent_to":[],"chat_id":"c1""#));
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let deep = id(&bridge.post(&deep));
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let dir = bridge.dir();
    let dir = dir.path();
    let list = |words: &[&str]| {
        let listed = dead_letters(dir, &[&["list", "--json"], words].concat()).with(0);
        column(&listed, "id")
    };
    assert_eq!(list(&[]), [&*broken, &deep]);
    assert_eq!(list(&["--reason", "too-deep"]), [&*deep]);
    assert_eq!(
        list(&["--reason", "too-deep", "--reason", "malformed-json"]).len(),
        2
    );
    assert_eq!(list(&["--stage", "publish"]).len(), 0);
    assert_eq!(list(&["--id", &broken]), [&*broken]);
    let times = column(&dead_letters(dir, &["list", "--json"]), "received_at");
    assert_eq!(list(&["--since", &times[1]]), [&*deep]);
    assert_eq!(list(&["--until", &times[1]]), [&*broken]);
    assert_eq!(list(&["--since", "1h"]).len(), 2);
    assert_eq!(list(&["--until", "1h"]).len(), 0);
    assert_eq!(list(&["--from", "file:minchat.dead-letter.v1"]).len(), 2);
    assert_eq!(list(&["--from", "kept"]).len(), 0);
    dead_letters(dir, &["list", "--from", "kept"])
        .with(0)
        .says(&["no dead letters"]);
    for (words, says) in [
        (["--from", "kafka:x"], "kafka is not configured"),
        (["--from", "x"], "not kafka:TOPIC"),
        (["--reason", "bored"], "possible values"),
        (["--since", "soon"], "not a time"),
    ] {
        dead_letters(dir, &[&["list"][..], &words].concat())
            .with(64)
            .says(&[says]);
    }
    assert_eq!(bridge.post(sample("message-sent.current")).status, 202);
    bridge.stop();

    let file = dir.join("data/events/minchat.dead-letter.v1.ndjson");
    let text = std::fs::read_to_string(file).expect("it is there");
    let mended = text.replacen(r#"\"chat_id\":\"c1\""#, r#"\"chat_id\":\"c1\"}"#, 1);
    assert_ne!(text, mended);
    // The last line is one that is still being written.
    std::fs::write(dir.join("mended.ndjson"), mended + "{\"specversion\"").expect("there is room");
    dead_letters(dir, &["replay", "--from", "file:./mended.ndjson"])
        .with(0)
        .says(&[
            "1 published; 1 left",
            &format!("[-] {deep}: still no event"),
        ]);
    let events = std::fs::read_to_string(dir.join("data/events/minchat.message.sent.v1.ndjson"));
    let events = events.expect("it is there");
    let event: Value = serde_json::from_str(events.lines().last().expect("there are two"))
        .expect("a line is JSON");
    assert_eq!(event["id"], *broken);
    assert_eq!(event["time"], *times[0]);
    assert_eq!(event["subject"], "chats/c1");
    assert_eq!(events.lines().count(), 2);
}

#[test]
fn what_no_destination_took_is_published_from_where_it_is_kept() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    for name in destinations(&prefix) {
        cluster.create(&name, 1, &[("max.message.bytes", "8192")]);
    }
    let mut bridge = Process::start(&yaml(&cluster, &prefix, ""));
    bridge.await_ready();
    let lost = id(&bridge.post(&large("kept")));
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let dir = bridge.dir();
    let dir = dir.path();
    let listed = dead_letters(dir, &["list", "--json"]).with(0);
    assert_eq!(column(&listed, "id"), [&*lost]);
    assert_eq!(
        column(&listed, "lies_in"),
        ["kept:./data/spool/dead-letters"]
    );
    let topic = format!("{prefix}message.sent.v1");
    cluster.takes(&topic, "1000000");
    dead_letters(dir, &["replay", "--from", &column(&listed, "lies_in")[0]])
        .with(0)
        .says(&["1 published"]);
    let records = cluster.await_records(&topic, 1);
    assert_is_the_event(&records[0], &lost, &listed.json()[0]);
    let kept = dir.join(format!("data/spool/dead-letters/{lost}.json"));
    assert!(kept.exists(), "files stay");
    bridge.stop();
}

#[test]
fn what_can_t_be_read_or_published_now_is_told_and_stays() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let dir = dir.path();
    let away = "sources: {minchat: {auth: {none: true}}}\nkafka: {bootstrap_servers: \"127.0.0.1:1\"}\n\
        file: {}\nroutes: {message.sent: {kafka: {}}}\n";
    configure(dir, away);
    dead_letters(dir, &["list"]).with(69).says(&[
        "no dead letters",
        "kafka:minchat.dead-letter.v1 could not be read",
        "Connection refused",
    ]);

    let dead_letter = |source: &str, number: u8| {
        format!(
            r#"{{"specversion":"1.0","id":"019ab0c2-7d3e-7c51-9a3f-2f6f1f0b8a{number:02}","source":"/webhooks/minchat",
"type":"io.minchat.bridge.dead-letter.v1","time":"2026-11-22T10:15:30.123456Z","data":{{"reason":"too_large","stage":"publish",
"detail":"d","received_at":"2026-11-22T10:15:30.123456Z","request":{{"source":"{source}","path":"/webhooks/{source}"}},
"body":"{{\"sent_by\":{{}},\"chat_id\":\"c\"}}"}}}}"#
        )
        .replace('\n', "")
    };
    let lines = [
        dead_letter("minchat", 11),
        dead_letter("minchat", 12),
        dead_letter("gone", 13),
        "{\"id\":1}".to_owned(),
    ];
    std::fs::write(dir.join("left.ndjson"), lines.join("\n") + "\n").expect("there is room");
    // An earlier release wrote them, with underscores.
    let listed = [
        "list",
        "--json",
        "--from",
        "file:./left.ndjson",
        "--reason",
        "too-large",
    ];
    let listed = dead_letters(dir, &listed).with(0);
    assert_eq!(column(&listed, "reason"), ["too-large"; 3]);
    dead_letters(dir, &["list", "--from", "file:./left.ndjson"])
        .with(0)
        .says(&["1 messages beside them are no dead letters"]);
    dead_letters(dir, &["replay", "--from", "file:./left.ndjson"])
        .with(69)
        .says(&[
            "8a11: not confirmed: kafka:minchat.message.sent.v1: ",
            "8a12: not tried: its destination took nothing before",
            "8a13: still no event: there is no source gone any more",
            "0 published; 1 left, as they are still no events; 2 left, as they could not be published",
        ]);
}
