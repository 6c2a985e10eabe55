//! Faults of those who send, and of those who operate the bridge.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::checker::{Consumed, KAFKA_REPEATS, assert_at_rest, check};
use super::proxy::Proxy;
use super::scenes::{CREATE, Kafka, MESSAGES};
use super::senders::{Ledger, Senders};
use super::thorough;
use crate::client::{Connection, Request};
use crate::payload::{message, sample};
use crate::process::{Process, await_some};

#[test]
fn row_25_a_client_that_is_stuck_does_not_use_up_the_time_for_a_stop() {
    const SHUTDOWN: Duration = Duration::from_secs(12);
    let scene = Kafka::new();
    let mut bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    senders.await_accepted(200);
    let stuck: Vec<_> = (0..50)
        .map(|_| {
            let mut stuck = Connection::open(bridge.webhooks());
            stuck.send(Request::post("/webhooks/minchat", "").head("content-length: 10\r\n"));
            stuck
        })
        .collect();
    let began = Instant::now();
    bridge.stop();
    let took = began.elapsed();
    assert!(took < SHUTDOWN, "{took:?}");
    println!("stopped after {took:?}");
    drop(stuck);
    let ledger = senders.end();
    assert!(ledger.refused.iter().all(|status| *status == 503));
    check(&ledger, &scene.consumed(), 0);
}

#[test]
fn row_36_a_hot_key_does_not_hold_up_the_others() {
    let scene = Kafka::new();
    scene.cluster().create(MESSAGES, 1, &[]);
    let bridge = scene.bridge();
    // Each of them waits longer than the hot one, whose load is about 90 % then.
    let mut rests = vec![Duration::from_millis(150); 5];
    rests[0] = Duration::ZERO;
    let senders = Senders::resting(bridge.webhooks(), &rests);
    senders.await_accepted(300);
    scene.node.pause();
    senders.await_spooled(1000);
    scene.node.resume();
    senders.await_accepted(500);
    let ledger = senders.end();
    assert_eq!(ledger.refused, [0; 0]);
    scene.assert_all_is_well(&bridge);
    let consumed = scene.consumed();
    check(&ledger, &consumed, KAFKA_REPEATS);
    let hot = ledger.accepted.iter().filter(|one| one.sender == 0).count();
    println!("{} % of one key", hot * 100 / ledger.accepted.len());
    assert_nobody_waits_for_the_hot_key(&ledger, &consumed);
}

/// Whatever of the hot key was sent after another key's event was answered stands behind it.
fn assert_nobody_waits_for_the_hot_key(ledger: &Ledger, consumed: &[Consumed]) {
    let mut places = HashMap::new();
    for (place, event) in consumed.iter().enumerate() {
        let json: serde_json::Value = serde_json::from_str(&event.0).expect("it is JSON");
        let id = json["id"].as_str().expect("it has an id").to_owned();
        places.entry(id).or_insert(place);
    }
    let (hot, others): (Vec<_>, Vec<_>) = ledger.accepted.iter().partition(|one| one.sender == 0);
    for other in others {
        let after = hot.iter().filter(|one| one.began > other.answered);
        let first = after.map(|one| places[&one.id]).min();
        assert!(
            first.is_none_or(|first| places[&other.id] < first),
            "{other:?} stands behind what was sent after it"
        );
    }
}

#[test]
fn row_39_what_a_client_does_not_wait_for_is_whole_or_not_there() {
    let scene = Kafka::new();
    let bridge = scene.bridge();
    let proxy = Proxy::new();
    proxy.lead_to(bridge.webhooks());
    let senders = Senders::start(proxy.address, 8);
    senders.await_accepted(100);
    for _ in 0..thorough(200, 50) {
        proxy.reset();
        senders.await_accepted(20);
    }
    let ledger = senders.end();
    let sent: u64 = ledger.sent.iter().sum();
    let unanswered = sent - ledger.accepted.len() as u64;
    println!("{unanswered} of {sent} were not answered");
    assert!(unanswered > 0, "there were requests to reset");
    scene.assert_all_is_well(&bridge);
    check(&ledger, &scene.consumed(), 0);
}

#[test]
fn row_43_a_reload_in_an_outage_loses_nothing_and_takes_new_routes() {
    let scene = Kafka::new();
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    scene.node.kill();
    senders.await_spooled(300);
    let limit = "rate_limit: {per_second: 100000, burst: 100000}, auth:";
    let route = "routes: {user.daily-active: {kafka: {topic: users}}}";
    let yaml = scene.yaml(CREATE, route).replace("auth:", limit);
    std::fs::write(bridge.path().join("config.yaml"), &yaml).expect("it can be written");
    for _ in 0..3 {
        bridge.signal("HUP");
        senders.await_spooled(100);
    }
    bridge.await_log(&["events go to this destination now", "kafka:users"]);
    bridge.await_log(&["reloaded the configuration"]);
    assert_eq!(bridge.ask("/readyz").0, 200);
    let user = bridge.post(sample("user-daily-active.current"));
    assert_eq!(user.json["receipt"], "spooled");
    scene.node.start();
    senders.await_accepted(100);
    let users = scene.cluster().await_records("users", 1);
    assert_eq!(user.json["id"], users[0].id());
    scene.end(&bridge, senders);
}

#[test]
fn row_45_a_long_outage_with_large_events_fits_in_256_mib() {
    const MEMORY: u64 = 256 << 20;
    let scene = Kafka::new();
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 4);
    scene.await_published(&bridge);
    scene.node.kill();
    senders.await_spooled(100);
    let large = message("fresh", &"x".repeat(400_000));
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                for _ in 0..thorough(150, 30) {
                    let posted = bridge.post(&large);
                    assert_eq!(posted.status, 202, "{:?}", posted.json);
                }
            });
        }
    });
    let at_the_worst = bridge.peak_memory();
    scene.node.start();
    let ledger = senders.end();
    bridge.await_metric(&["spool_events", MESSAGES], 0.0);
    scene.assert_all_is_well(&bridge);
    let peak = bridge.peak_memory();
    println!(
        "{} MiB at most, {} MiB in the outage",
        peak >> 20,
        at_the_worst >> 20
    );
    assert!(peak < MEMORY, "{peak} bytes");
    check(&ledger, &scene.consumed(), KAFKA_REPEATS);
}

#[test]
fn row_48_replicas_that_are_restarted_in_turn_fail_no_request() {
    let scene = Kafka::new();
    let yaml = scene.yaml(CREATE, "http: {stop_delay: 1s}");
    let mut replicas = [Process::start(&yaml), Process::start(&yaml)];
    for replica in &replicas {
        replica.await_ready();
    }
    let senders = Senders::start(replicas[0].webhooks(), 8);
    scene.await_published(&replicas[0]);
    for restart in 0..thorough(10, 4) {
        let (stopping, other) = (restart % 2, (restart + 1) % 2);
        senders.await_accepted(100);
        replicas[stopping].signal("TERM");
        // What Kubernetes does: who is not ready gets nothing more.
        await_some("it to say that it is not ready", || {
            (replicas[stopping].ask("/readyz").0 == 503).then_some(())
        });
        senders.turn_to_replica(replicas[other].webhooks(), other);
        assert_eq!(replicas[stopping].ended().code(), Some(0));
        let dir = replicas[stopping].dir();
        replicas[stopping] = Process::start_in(dir, &yaml);
        replicas[stopping].await_ready();
    }
    senders.await_accepted(100);
    let ledger = senders.end();
    assert_eq!(ledger.refused, [0; 0]);
    let sent: u64 = ledger.sent.iter().sum();
    assert_eq!(sent, ledger.accepted.len() as u64, "each was answered");
    scene.assert_all_is_well(&replicas[0]);
    assert_at_rest(&replicas[1]);
    check(&ledger, &scene.consumed(), 0);
}
