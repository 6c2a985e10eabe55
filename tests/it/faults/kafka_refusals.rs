//! What a Kafka that is up does not take.

use super::scenes::{CREATE, Kafka, MESSAGES};
use super::senders::Senders;
use crate::cluster::Cluster;
use crate::command::run;
use crate::node::Node;
use crate::payload::message;
use crate::process::Process;

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
    let mut rng = fastrand::Rng::with_seed(16);
    let long: String = std::iter::repeat_with(|| rng.alphanumeric())
        .take(60_000)
        .collect();
    for _ in 0..3 {
        let posted = bridge.post(&crate::payload::message("fresh", &long));
        assert_eq!(posted.status, 202, "{:?}", posted.json);
        senders.await_accepted(100);
    }
    bridge.await_metric(&["dead_letters_total", MESSAGES, "too_large"], 3.0);
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
