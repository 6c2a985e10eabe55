//! Brokers that are away, topics that are missing, rights that are taken: what senders and operators see.

use std::time::Duration;

use super::{CREATE, yaml};
use crate::client::Request;
use crate::cluster::Cluster;
use crate::load::{Load, assert_none_is_lost, through_an_outage};
use crate::node::Node;
use crate::payload::{destinations, message, prefix, sample};
use crate::process::{Process, await_some};
use crate::readme::explained;

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
        (
            503,
            Some("tag:minchat.io,2026:bridge:problem:storage-unavailable")
        )
    );
    assert_eq!(bridge.ask("/readyz").0, 503);
    let failures = ["publish_failures_total", &topic, "unknown-destination"];
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
    bridge.await_metric(&["broker_up"], 0.0);
    await_some("the events that librdkafka holds", || {
        (bridge.metric(&["kafka_queue_events"]) > 0.0).then_some(())
    });
    node.resume();
    await_some("a 202", || {
        (bridge.post(&message("c1", "after")).status == 202).then_some(())
    });
    bridge.await_metric(&["broker_up"], 1.0);
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
