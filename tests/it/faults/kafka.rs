//! Faults of Kafka, and of the bridge while it publishes there.

use std::time::Duration;

use super::checker::{
    Cost, KAFKA_REPEATS, ONE_OF_EACH_KEY, assert_nobody_waited, check, spool_files,
};
use super::scenes::{CREATE, Kafka as Scene, MESSAGES as TOPIC, await_draining};
use super::senders::Senders;
use super::thorough;
use crate::client::{Connection, Request};
use crate::cluster::Cluster;
use crate::payload::message;
use crate::process::{Process, await_some};

#[test]
fn row_1_without_a_fault_nothing_is_repeated_and_the_spool_is_never_touched() {
    let scene = Scene::new();
    // Where other tests run beside it, a busy machine is no fault.
    let patience = thorough("", "publish: {spool_after: 4s}");
    let bridge = Process::start(&scene.yaml(CREATE, patience));
    bridge.await_ready();
    // The first confirm of a producer takes a while; what waits for it goes to the spool, as it should.
    await_some("an event that is published at once", || {
        (bridge.post(&message("fresh", "first")).json["receipt"] == "published").then_some(())
    });
    let before = bridge.metric(&["spool_appended_total", TOPIC]);
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(2000);
    let ledger = senders.end();
    assert_eq!(ledger.refused, [0; 0]);
    scene.assert_all_is_well(&bridge);
    assert_eq!(bridge.metric(&["spool_appended_total", TOPIC]), before);
    check(&ledger, &scene.consumed(), 0);
}

#[test]
fn row_2_a_broker_that_is_down_at_start_finds_everything_when_it_comes() {
    let scene = Scene::new();
    scene.node.stop();
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_spooled(500);
    assert_eq!(bridge.metric(&["broker_up"]), 0.0);
    assert!(bridge.metric(&["spool_events", TOPIC]) > 0.0);
    assert!(bridge.metric(&["spool_oldest_event_timestamp_seconds", TOPIC]) > 1e9);
    scene.node.start();
    scene.await_published(&bridge);
    senders.await_accepted(200);
    let ledger = senders.end();
    assert_eq!(ledger.refused, [0; 0]);
    scene.assert_all_is_well(&bridge);
    assert!(bridge.metric(&["spool_drained_total", TOPIC]) >= 500.0);
    assert_eq!(bridge.metric(&["broker_up"]), 1.0);
    check(&ledger, &scene.consumed(), 0);
}

#[test]
fn row_3_a_broker_that_is_killed_under_load_costs_no_sender_anything() {
    let scene = Scene::new();
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(1000);
    let before = Cost::at_rest(&bridge);
    scene.node.kill();
    senders.await_spooled(2000);
    senders.keep_on(thorough(Duration::from_secs(30), Duration::ZERO));
    assert_eq!(bridge.ask("/readyz").0, 200);
    scene.node.start();
    await_draining(&bridge);
    senders.await_accepted(500);
    let ledger = scene.end(&bridge, senders);
    assert_nobody_waited(&ledger);
    before.assert_restored(&bridge);
    let log = bridge.log();
    let told = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(
        told("the broker is out of reach"),
        1,
        "an outage is one line at its start"
    );
    assert_eq!(told("the broker is back"), 1, "and one at its end");
    let end = bridge.await_log(&["the broker is back", "lasted", "spooled"]);
    let end: serde_json::Value = serde_json::from_str(&end).expect("the log is JSON");
    let spooled = end["spooled"].as_u64().expect("it says how many");
    assert!(spooled >= 2000, "{end}");
    assert!(!log.contains("ERROR"), "nobody has to act");
}

#[test]
fn row_5_a_broker_that_freezes_bounds_no_answer() {
    let scene = Scene::new();
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(500);
    scene.node.pause();
    senders.await_spooled(1000);
    senders.keep_on(thorough(Duration::from_secs(30), Duration::ZERO));
    scene.node.resume();
    senders.await_accepted(500);
    let ledger = scene.end(&bridge, senders);
    assert_nobody_waited(&ledger);
}

#[test]
fn row_14_a_topic_that_is_missing_is_waited_for() {
    let scene = Scene::new();
    let cluster = Cluster::at(&scene.servers);
    for name in crate::payload::destinations("minchat.") {
        if name != TOPIC {
            cluster.create(&name, 1, &[]);
        }
    }
    let bridge = Process::start(&scene.yaml("", ""));
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    bridge.await_log(&["ERROR", TOPIC, "unknown-destination"]);
    senders.await_spooled(200);
    cluster.create(TOPIC, 3, &[]);
    scene.await_published(&bridge);
    senders.await_accepted(200);
    scene.end(&bridge, senders);
}

#[test]
fn row_14_a_topic_that_is_deleted_is_waited_for() {
    let scene = Scene::new();
    let cluster = Cluster::at(&scene.servers);
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    let early = senders.end();
    bridge.await_metric(&["lane_pending_events"], 0.0);
    check(&early, &scene.consumed(), KAFKA_REPEATS);
    cluster.delete(TOPIC);
    let senders = Senders::start(bridge.webhooks(), 8);
    bridge.await_log(&["ERROR", TOPIC, "unknown-destination"]);
    senders.await_spooled(200);
    cluster.create(TOPIC, 3, &[]);
    await_draining(&bridge);
    senders.await_accepted(200);
    scene.end(&bridge, senders);
}

#[test]
fn row_23_a_stop_with_the_broker_up_publishes_what_is_in_flight() {
    let scene = Scene::new();
    let mut bridge = scene.bridge();
    await_some("an event that is published at once", || {
        (bridge.post(&message("fresh", "first")).json["receipt"] == "published").then_some(())
    });
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(500);
    bridge.stop();
    let ledger = senders.end();
    assert!(
        ledger.refused.iter().all(|status| *status == 503),
        "{:?}",
        ledger.refused
    );
    assert_eq!(
        spool_files(&bridge.path().join("data/spool")),
        [""; 0],
        "nothing is left"
    );
    check(&ledger, &scene.consumed(), 0);
}

#[test]
fn row_24_a_stop_with_the_broker_down_keeps_everything_for_the_next_start() {
    let scene = Scene::new();
    let mut bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(500);
    scene.node.kill();
    senders.await_spooled(200);
    // A client that is stuck in the middle of its body costs no more than the time for bodies.
    let mut stuck = Connection::open(bridge.webhooks());
    stuck.send(Request::post("/webhooks/minchat", "").head("content-length: 10\r\n"));
    bridge.stop();
    bridge.await_log(&["stopped; events wait in the spool"]);
    let ledger = senders.end();
    assert!(
        ledger.refused.iter().all(|status| *status == 503),
        "{:?}",
        ledger.refused
    );
    scene.node.start();
    let again = Process::start_in(bridge.dir(), &scene.yaml(CREATE, ""));
    again.await_ready();
    scene.assert_all_is_well(&again);
    // The client of the next start can't tell that these came from the one before: what each sender had in flight when
    // the broker was killed, with three times the room for a busy machine.
    check(&ledger, &scene.consumed(), 3 * ONE_OF_EACH_KEY);
}

#[test]
fn row_24_what_a_stop_leaves_to_the_spool_is_not_published_meanwhile() {
    const EVENTS: usize = 200;
    let scene = Scene::new();
    let mut bridge = scene.bridge();
    await_some("an event that is published at once", || {
        (bridge.post(&message("fresh", "first")).json["receipt"] == "published").then_some(())
    });
    scene.node.pause();
    let body = "x".repeat(10_000);
    let mut connections: Vec<_> = (0..EVENTS)
        .map(|_| Connection::open(bridge.webhooks()))
        .collect();
    for connection in &mut connections {
        connection.send(Request::post("/webhooks/minchat", message("fresh", &body)).bytes());
    }
    for connection in &mut connections {
        let answer = connection.answer().expect("each is answered");
        assert_eq!(answer.json()["receipt"], "spooled");
    }
    drop(connections);
    bridge.signal("TERM");
    bridge.await_log(&["stopping: finishing what is in flight"]);
    scene.node.resume();
    assert_eq!(bridge.ended().code(), Some(0), "{}", bridge.log());
    let again = Process::start_in(bridge.dir(), &scene.yaml(CREATE, ""));
    again.await_ready();
    again.await_metric(&["lane_pending_events"], 0.0);
    let records = scene.cluster().read(TOPIC);
    let ids: std::collections::HashSet<&str> = records.iter().map(|record| record.id()).collect();
    assert!(ids.len() > EVENTS, "{} arrived", ids.len());
    let twice = records.len() - ids.len();
    println!("{twice} events twice");
    assert!(
        twice < EVENTS / 2,
        "{twice} of {EVENTS} were published at the stop too"
    );
}

#[test]
fn row_24_a_second_signal_ends_it_at_once_and_loses_nothing() {
    let scene = Scene::new();
    let mut bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(200);
    let before = senders.accepted();
    scene.node.pause();
    senders.await_accepted(200);
    let mut stuck = Connection::open(bridge.webhooks());
    stuck.send(Request::post("/webhooks/minchat", "").head("content-length: 10\r\n"));
    bridge.signal("TERM");
    bridge.await_log(&["stopping: finishing what is in flight"]);
    bridge.signal("TERM");
    assert_eq!(bridge.ended().code(), Some(0), "{}", bridge.log());
    let ledger = senders.end();
    scene.node.resume();
    let again = Process::start_in(bridge.dir(), &scene.yaml(CREATE, ""));
    again.await_ready();
    scene.assert_all_is_well(&again);
    // The broker takes what it was sent while it was paused, and the next start knows of no confirm.
    let in_flight = ledger.accepted.len() - before + ONE_OF_EACH_KEY;
    check(&ledger, &scene.consumed(), in_flight);
}

/// In a life with the broker, the bridge is killed while it publishes. What comes twice of that is what was confirmed
/// since the last mark, which is a second old at most, and what was in flight.
#[test]
fn row_26_a_bridge_that_is_killed_again_and_again_loses_nothing() {
    const SENDERS: usize = 6;
    /// The age of a mark, with the room of another second.
    const MARKED_WITHIN: Duration = Duration::from_secs(2);
    let kills = thorough(200, 20);
    let scene = Scene::new();
    let mut bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), SENDERS);
    let mut rng = fastrand::Rng::with_seed(26);
    let mut may_come_twice = 0;
    for kill in 0..kills {
        // In every other life the broker is silent, so that the spool is what is torn.
        let silent = kill % 2 == 1;
        if silent {
            scene.node.pause();
        }
        senders.await_accepted(rng.usize(20..200));
        let count = |metric: &str| bridge.metric(&[metric, TOPIC]) as usize;
        let mut marked = 0;
        if !silent {
            scene.await_published(&bridge);
            // Half of these lives last until what they published first is marked.
            if kill % 4 == 0 {
                marked = count("published_total{");
                senders.keep_on(MARKED_WITHIN);
            }
            let accepted = senders.accepted();
            may_come_twice += count("lane_pending_events") + count("published_total{") - marked;
            bridge.kill();
            may_come_twice += senders.accepted() - accepted + SENDERS;
        } else {
            bridge.kill();
            scene.node.resume();
        }
        bridge = Process::start_in(bridge.dir(), &scene.yaml(CREATE, ""));
        senders.turn_to(bridge.webhooks());
    }
    senders.await_accepted(100);
    let ledger = senders.end();
    scene.assert_all_is_well(&bridge);
    println!("{may_come_twice} may come twice");
    check(&ledger, &scene.consumed(), may_come_twice);
}
