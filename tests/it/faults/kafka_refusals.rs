//! What a Kafka that is up does not take.

use std::time::{Duration, Instant};

use super::checker::assert_nobody_waited;
use super::scenes::{CREATE, Kafka, MESSAGES};
use super::senders::Senders;
use crate::cluster::Cluster;
use crate::command::run;
use crate::node::Node;
use crate::payload::message;
use crate::process::{Process, await_some};

#[test]
fn row_15_a_right_that_is_revoked_is_waited_for() {
    let node = Node::kafka(&["--user", "bridge:s3cret"]);
    let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
    let scene = Kafka { node, servers };
    for name in crate::payload::destinations("minchat.") {
        scene.cluster().create(&name, 3, &[]);
    }
    let right = |verb: &str, whose: &str, topic: &str| {
        let mut words = vec![verb, "--force", whose, "User:bridge", "--topic", topic];
        words.extend(["--operation", "Write"]);
        scene.node.run("acl", &words);
    };
    right("--add", "--allow-principal", "*");
    let login = format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\nkafka:\n  bootstrap_servers: {}\n  \
         security_protocol: sasl_plaintext\n  \
         sasl: {{mechanism: SCRAM-SHA-512, username: bridge, password: s3cret}}\n",
        scene.node.env("KAFKA_SASL_BOOTSTRAP_SERVERS")
    );
    let bridge = Process::start(&login);
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(200);
    right("--add", "--deny-principal", MESSAGES);
    bridge.await_log(&["ERROR", MESSAGES, "unauthorized"]);
    senders.await_spooled(200);
    right("--remove", "--deny-principal", MESSAGES);
    senders.await_accepted(100);
    scene.end(&bridge, senders);
}

#[test]
fn row_55_topics_are_created_by_create_topics_alone_whatever_the_broker_would_do() {
    let node = Node::kafka(&["--set", "auto.create.topics.enable=true"]);
    let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
    let scene = Kafka { node, servers };
    let cluster = scene.cluster();
    let dir = tempfile::tempdir().expect("a directory can be made");
    let without = scene.yaml("", "publish: {deadline: 1s}");
    std::fs::write(dir.path().join("config.yaml"), &without).expect("it can be written");
    for (words, code) in [
        (&["check", "--connect"][..], 69),
        (&["topics", "check"], 69),
        (&["dead-letters", "list"], 69),
        (&["dead-letters", "replay"], 69),
    ] {
        run(dir.path(), words).with(code).says(&["does not exist"]);
        assert_eq!(cluster.topics(), [""; 0], "{words:?}");
    }
    let mut waiting = Process::start(&without);
    waiting.await_log(&["ERROR", MESSAGES, "does not exist"]);
    assert_eq!(waiting.post(&message("c1", "spooled")).status, 202);
    waiting.stop();
    assert_eq!(cluster.topics(), [""; 0]);

    let create = "  create_topics: {partitions: 3, replication_factor: 1, config: {retention.ms: \"12345678\"}}";
    let bridge = Process::start(&scene.yaml(create, ""));
    bridge.await_ready();
    for topic in crate::payload::destinations("minchat.") {
        assert_eq!(cluster.partitions(&topic), 3, "{topic}");
        let retention = cluster.setting(&topic, "retention.ms");
        assert_eq!(retention.as_deref(), Some("12345678"), "{topic}");
    }
}

#[test]
fn row_16_an_event_that_is_too_large_for_its_topic_is_a_dead_letter_and_the_lane_goes_on() {
    let scene = Kafka::new();
    let small = [("max.message.bytes", "20000")];
    scene.cluster().create(MESSAGES, 3, &small);
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    assert_large_ones_are_dead_letters(&scene, &bridge, senders);
}

#[test]
fn row_16_a_topic_that_takes_less_than_before_holds_nothing_up() {
    let scene = Kafka::new();
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    scene.cluster().takes(MESSAGES, "20000");
    assert_large_ones_are_dead_letters(&scene, &bridge, senders);
}

fn assert_large_ones_are_dead_letters(scene: &Kafka, bridge: &Process, senders: Senders) {
    let long = noise(60_000);
    for _ in 0..3 {
        let posted = bridge.post(&message("fresh", &long));
        assert_eq!(posted.status, 202, "{:?}", posted.json);
        senders.await_accepted(100);
    }
    bridge.await_metric(&["dead_letters_total", MESSAGES, "too-large"], 3.0);
    scene.end(bridge, senders);
    assert_eq!(scene.cluster().read("minchat.dead-letter.v1").len(), 3);
}

#[test]
fn row_17_what_a_compacted_topic_rejects_is_a_dead_letter_and_its_neighbours_are_delivered() {
    let scene = Kafka::new();
    let compacted = [("cleanup.policy", "compact")];
    Cluster::at(&scene.servers).create(MESSAGES, 3, &compacted);
    let bridge = Process::start(&scene.yaml(CREATE, ""));
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    for _ in 0..3 {
        let posted = bridge.post(r#"{"sent_by":{"id":"u1"},"sent_to":[],"text":"no chat"}"#);
        assert_eq!(posted.status, 202, "{:?}", posted.json);
        senders.await_accepted(100);
    }
    bridge.await_metric(&["dead_letters_total", MESSAGES, "rejected"], 3.0);
    scene.end(&bridge, senders);
    assert_eq!(scene.cluster().read("minchat.dead-letter.v1").len(), 3);
}

#[test]
fn row_59_events_that_kafka_refuses_cost_their_neighbours_nothing() {
    const REFUSED: usize = 60;
    let scene = Kafka::new();
    let compacted = [("cleanup.policy", "compact")];
    scene.cluster().create(MESSAGES, 3, &compacted);
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    senders.await_accepted(300);
    let before = bridge.metric(&["spool_appended_total", MESSAGES]);
    for _ in 0..REFUSED {
        senders.await_accepted(19);
        let posted = bridge.post(r#"{"sent_by":{"id":"u1"},"sent_to":[],"text":"no chat"}"#);
        assert_eq!(posted.status, 202, "{:?}", posted.json);
    }
    let spooled = bridge.metric(&["spool_appended_total", MESSAGES]) - before;
    println!("{spooled} events were late");
    // With its client made anew for each of them, nearly all events were late and went to the spool.
    assert!(spooled < REFUSED as f64, "{spooled} events were late");
    bridge.await_metric(
        &["dead_letters_total", MESSAGES, "rejected"],
        REFUSED as f64,
    );
    // Order and pace hold when the topic has its usual client again, and the next event is refused.
    senders.keep_on(Duration::from_secs(15));
    let posted = bridge.post(r#"{"sent_by":{"id":"u1"},"sent_to":[],"text":"no chat"}"#);
    assert_eq!(posted.json["receipt"], "dead-lettered");
    senders.await_accepted(300);
    let ledger = scene.end(&bridge, senders);
    assert_nobody_waited(&ledger);
}

#[test]
fn row_56_a_limit_that_is_raised_or_lowered_counts_without_a_restart() {
    let scene = Kafka::new();
    scene.cluster().create(MESSAGES, 3, &[]);
    let bridge = Process::start(&scene.yaml(CREATE, "http: {max_body: 4MiB}"));
    bridge.await_ready();
    for bytes in [999_000, 1_020_000, 1_046_000] {
        let posted = bridge.post(&message("fresh", &noise(bytes)));
        assert_eq!(posted.status, 202);
        assert_ne!(posted.json["receipt"], "dead-lettered");
    }
    let published = || scene.cluster().read(MESSAGES).len();
    await_some("all three to be published", || {
        (published() == 3).then_some(())
    });
    let dead = || bridge.metric(&["dead_letters_total", MESSAGES, "too-large"]);
    assert_eq!(dead(), 0.0);
    assert_eq!(
        bridge.post(&message("fresh", &noise(2_000_000))).status,
        202
    );
    await_some("a dead letter", || (dead() == 1.0).then_some(()));
    scene.cluster().takes(MESSAGES, "3000000");
    await_some("the raised limit to count", || {
        assert_eq!(
            bridge.post(&message("fresh", &noise(2_000_000))).status,
            202
        );
        bridge.await_metric(&["lane_pending_events"], 0.0);
        (published() > 3).then_some(())
    });
    scene.cluster().takes(MESSAGES, "20000");
    let (dead_before, published_before) = (dead(), published());
    assert_eq!(bridge.post(&message("fresh", &noise(60_000))).status, 202);
    assert_eq!(bridge.post(&message("fresh", "small")).status, 202);
    await_some("another dead letter", || {
        (dead() == dead_before + 1.0).then_some(())
    });
    await_some("the small one", || {
        (published() == published_before + 1).then_some(())
    });
}

#[test]
fn row_56_where_a_limit_may_not_be_read_the_broker_decides() {
    let node = Node::kafka(&["--user", "bridge:s3cret"]);
    let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
    let scene = Kafka { node, servers };
    for name in crate::payload::destinations("minchat.") {
        let limit = match name == MESSAGES {
            true => "3000000",
            false => "8192",
        };
        scene
            .cluster()
            .create(&name, 1, &[("max.message.bytes", limit)]);
    }
    let words = [
        "--add",
        "--force",
        "--allow-principal",
        "User:bridge",
        "--topic",
        "*",
    ];
    let rights = ["--operation", "Write", "--operation", "Describe"];
    scene.node.run("acl", &[&words[..], &rights].concat());
    let yaml = |properties: &str| {
        format!(
            "sources: {{minchat: {{auth: {{none: true}}}}}}\nhttp: {{max_body: 4MiB}}\nkafka:\n  bootstrap_servers: {}\n  \
             security_protocol: sasl_plaintext\n  {properties}\n  \
             sasl: {{mechanism: SCRAM-SHA-512, username: bridge, password: s3cret}}\n",
            scene.node.env("KAFKA_SASL_BOOTSTRAP_SERVERS")
        )
    };
    let bridge = Process::start(&yaml(""));
    bridge.await_ready();
    assert_eq!(
        bridge.post(&message("fresh", &noise(2_000_000))).status,
        202
    );
    await_some("it to be published", || {
        (scene.cluster().read(MESSAGES).len() == 1).then_some(())
    });
    // Larger than another topic takes: only its broker knows.
    let refused = bridge.post(&format!(r#"{{"other":"{}"}}"#, noise(20_000)));
    assert_eq!(refused.status, 202);
    bridge.await_metric(&["dead_letters_total", "unrecognized", "too-large"], 1.0);
    assert_eq!(bridge.post("{}").status, 202);
    bridge.await_metric(&["published_total{", "unrecognized"], 1.0);

    let bounded = Process::start(&yaml("properties: {message.max.bytes: 1500000}"));
    bounded.await_ready();
    let posted = bounded.post(&message("fresh", &noise(2_000_000)));
    assert_eq!(posted.status, 202);
    bounded.await_metric(&["dead_letters_total", MESSAGES, "too-large"], 1.0);
}

#[test]
fn a_right_that_is_granted_after_the_start_is_noticed_soon() {
    let node = Node::kafka(&["--user", "bridge:s3cret"]);
    let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
    let scene = Kafka { node, servers };
    for name in crate::payload::destinations("minchat.") {
        scene.cluster().create(&name, 1, &[]);
    }
    let grant = |right: &str| {
        let words = [
            "--add",
            "--force",
            "--allow-principal",
            "User:bridge",
            "--topic",
            "*",
        ];
        scene
            .node
            .run("acl", &[&words[..], &["--operation", right]].concat());
    };
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\nkafka:\n  bootstrap_servers: {}\n  \
         security_protocol: sasl_plaintext\n  \
         sasl: {{mechanism: SCRAM-SHA-512, username: bridge, password: s3cret}}\n",
        scene.node.env("KAFKA_SASL_BOOTSTRAP_SERVERS")
    ));
    bridge.await_log(&["ERROR", MESSAGES, "unauthorized"]);
    let mut published = 0.0;
    for right in ["Describe", "Write"] {
        grant(right);
        bridge.post_spooled();
        published += 1.0;
        if right == "Describe" {
            // The client is told that it may not publish.
            await_some_attempts(&bridge);
        }
    }
    let began = Instant::now();
    bridge.await_metric(&["published_total{", MESSAGES], published);
    let noticed = began.elapsed();
    assert!(noticed < Duration::from_secs(10), "{noticed:?}");
}

/// Waits for the bridge to have made some clients that may see the topic and not publish to it.
fn await_some_attempts(bridge: &Process) {
    let began = Instant::now();
    await_some("some more attempts", || {
        assert_eq!(bridge.metric(&["published_total{", MESSAGES]), 0.0);
        (began.elapsed() > Duration::from_secs(4)).then_some(())
    });
}

/// Text of this length that can't be compressed.
fn noise(bytes: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(bytes as u64);
    std::iter::repeat_with(|| rng.alphanumeric())
        .take(bytes)
        .collect()
}
