//! Faults of the network between the bridge and its broker.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::checker::{Cost, KAFKA_REPEATS, ONE_OF_EACH_KEY, assert_nobody_waited, check};
use super::proxy::{Proxy, Weather};
use super::scenes::{Kafka, MESSAGES, Rabbit, await_draining};
use super::senders::{REST, Senders};
use super::thorough;
use crate::command::run;
use crate::payload::message;
use crate::process::{Process, await_some};

const RESETS: usize = 10;
/// One a destination, and one that looks after topics.
const KAFKA_CLIENTS: usize = 7;

/// A Kafka behind a proxy, a bridge, and senders whose first events are through.
fn kafka_at_work() -> (Proxy, Kafka, Process, Senders) {
    let proxy = Proxy::new();
    let scene = Kafka::behind(&proxy);
    let bridge = scene.bridge();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    senders.await_accepted(500);
    (proxy, scene, bridge, senders)
}

fn rabbit_at_work(amqp: &str) -> (Proxy, Rabbit, Process, Senders) {
    rabbit_with_senders(amqp, REST)
}

fn rabbit_with_senders(amqp: &str, rest: Duration) -> (Proxy, Rabbit, Process, Senders) {
    let proxy = Proxy::new();
    let scene = Rabbit::behind(&proxy);
    let bridge = scene.bridge(amqp);
    let senders = Senders::resting(bridge.webhooks(), &[rest; 8]);
    senders.await_accepted(500);
    (proxy, scene, bridge, senders)
}

#[test]
fn row_6_a_slow_kafka_bounds_no_answer() {
    let (proxy, scene, bridge, senders) = kafka_at_work();
    for millis in thorough(&[200, 2000, 5000][..], &[200, 2000]) {
        proxy.weather(Weather::Slow(Duration::from_millis(*millis)));
        senders.await_accepted(500);
    }
    senders.await_spooled(500);
    proxy.weather(Weather::Fair);
    await_draining(&bridge);
    senders.await_accepted(100);
    let ledger = scene.end(&bridge, senders);
    assert_nobody_waited(&ledger);
}

#[test]
fn row_6_a_slow_rabbitmq_bounds_no_answer() {
    let (proxy, scene, bridge, senders) = rabbit_at_work("");
    for millis in thorough(&[200, 2000, 5000][..], &[200, 2000]) {
        proxy.weather(Weather::Slow(Duration::from_millis(*millis)));
        senders.await_accepted(500);
    }
    senders.await_spooled(500);
    proxy.weather(Weather::Fair);
    await_draining(&bridge);
    senders.await_accepted(100);
    let ledger = scene.assert_all_is_well(&bridge, senders, 0);
    assert_nobody_waited(&ledger);
}

#[test]
fn row_7_a_network_that_drops_everything_before_kafka_costs_no_sender_anything() {
    let (proxy, scene, bridge, senders) = kafka_at_work();
    proxy.weather(Weather::Silent);
    senders.await_spooled(1000);
    senders.keep_on(thorough(Duration::from_secs(60), Duration::ZERO));
    proxy.weather(Weather::Fair);
    await_draining(&bridge);
    senders.await_accepted(100);
    let ledger = scene.end(&bridge, senders);
    assert_nobody_waited(&ledger);
}

#[test]
fn row_7_a_network_that_drops_everything_before_rabbitmq_costs_no_sender_anything() {
    // A backlog of few keys is drained one event of each a confirm: an outage of full length gets a measured load.
    let rest = thorough(Duration::from_millis(40), REST);
    let (proxy, scene, bridge, senders) = rabbit_with_senders("  heartbeat: 2s", rest);
    proxy.weather(Weather::Silent);
    senders.await_spooled(1000);
    bridge.await_metric(&["broker_up"], 0.0);
    senders.keep_on(thorough(Duration::from_secs(60), Duration::ZERO));
    proxy.weather(Weather::Fair);
    await_draining(&bridge);
    senders.await_accepted(100);
    let ledger = scene.assert_all_is_well(&bridge, senders, ONE_OF_EACH_KEY);
    assert_nobody_waited(&ledger);
}

#[test]
fn row_8_what_is_reset_cut_off_or_torn_before_kafka_is_built_anew_and_leaks_nothing() {
    let (proxy, scene, bridge, senders) = kafka_at_work();
    let before = Cost::of(&bridge);
    proxy.weather(Weather::ByBytes);
    senders.await_accepted(300);
    proxy.weather(Weather::Fair);
    for _ in 0..RESETS {
        proxy.reset();
        senders.await_accepted(50);
    }
    proxy.cut();
    senders.await_accepted(300);
    await_draining(&bridge);
    let ledger = scene.end(&bridge, senders);
    assert_nobody_waited(&ledger);
    // After its first loss each of librdkafka's clients has one more thread for the address that it began with:
    // the two ends of a pipe, and a connection.
    let before = Cost {
        descriptors: before.descriptors + 3 * KAFKA_CLIENTS,
        ..before
    };
    before.assert_restored(&bridge);
}

#[test]
fn row_8_what_is_reset_cut_off_or_torn_before_rabbitmq_is_built_anew_and_leaks_nothing() {
    let (proxy, scene, bridge, senders) = rabbit_at_work("  heartbeat: 2s");
    let before = Cost::of(&bridge);
    proxy.weather(Weather::ByBytes);
    senders.await_accepted(300);
    proxy.weather(Weather::Fair);
    for _ in 0..RESETS {
        proxy.reset();
        senders.await_accepted(50);
    }
    proxy.cut();
    senders.await_accepted(300);
    await_draining(&bridge);
    let ledger = scene.assert_all_is_well(&bridge, senders, (RESETS + 1) * ONE_OF_EACH_KEY);
    assert_nobody_waited(&ledger);
    before.assert_restored(&bridge);
}

#[test]
fn row_22_a_rabbitmq_connection_whose_heartbeats_are_lost_is_built_anew() {
    const HEARTBEAT: Duration = Duration::from_secs(2);
    let (proxy, scene, bridge, senders) = rabbit_at_work("  heartbeat: 2s");
    let reconnects = bridge.metric(&["broker_reconnects_total"]);
    let began = Instant::now();
    proxy.cut();
    senders.await_spooled(100);
    await_some("a new connection", || {
        (bridge.metric(&["broker_reconnects_total"]) > reconnects).then_some(())
    });
    let rebuilt = began.elapsed();
    assert!(rebuilt < 3 * 2 * HEARTBEAT, "after {rebuilt:?}");
    await_draining(&bridge);
    let ledger = scene.assert_all_is_well(&bridge, senders, ONE_OF_EACH_KEY);
    assert_nobody_waited(&ledger);
}

/// The confirm is lost: the event has arrived, and only its broker knows.
#[test]
fn row_12_a_lost_confirm_of_kafka_loses_nothing() {
    let (proxy, scene, bridge, senders) = kafka_at_work();
    for _ in 0..3 {
        proxy.weather(Weather::Deaf);
        senders.await_spooled(50);
        proxy.reset();
        proxy.weather(Weather::Fair);
        await_draining(&bridge);
    }
    senders.await_accepted(100);
    let ledger = scene.end(&bridge, senders);
    assert_nobody_waited(&ledger);
}

#[test]
fn row_12_a_lost_confirm_of_rabbitmq_is_a_duplicate_that_is_counted() {
    let (proxy, scene, bridge, senders) = rabbit_at_work("");
    for _ in 0..3 {
        proxy.weather(Weather::Deaf);
        senders.await_spooled(50);
        proxy.reset();
        proxy.weather(Weather::Fair);
        await_draining(&bridge);
    }
    senders.await_accepted(100);
    let ledger = scene.assert_all_is_well(&bridge, senders, 3 * ONE_OF_EACH_KEY);
    assert_nobody_waited(&ledger);
    assert!(bridge.metric(&["publish_repeated_total", "amqp"]) > 0.0);
}

#[test]
fn row_4_a_broker_that_comes_and_goes_has_each_event_spooled_once_at_most() {
    const FLAP: Duration = Duration::from_secs(2);
    let (proxy, scene, bridge, senders) = kafka_at_work();
    for _ in 0..thorough(10, 3) {
        proxy.weather(Weather::Away);
        senders.keep_on(FLAP);
        proxy.weather(Weather::Fair);
        senders.keep_on(FLAP);
    }
    senders.await_accepted(100);
    let ledger = senders.end();
    assert_nobody_waited(&ledger);
    scene.assert_all_is_well(&bridge);
    let spooled = bridge.metric(&["spool_appended_total", MESSAGES]);
    // One more is the fresh event of the check.
    assert!(spooled <= ledger.accepted.len() as f64 + 1.0, "{spooled}");
    check(&ledger, &scene.consumed(), KAFKA_REPEATS);
}

#[test]
fn row_58_idle_connections_that_are_closed_are_no_outage() {
    const IDLE: Duration = Duration::from_secs(2);
    let watched = Duration::from_secs(thorough(50, 20));
    let proxy = Proxy::new();
    let scene = Kafka::behind(&proxy);
    let bridge = scene.bridge();
    await_some("an event that is published at once", || {
        let posted = bridge.post(&message("fresh", "first"));
        (posted.json["receipt"] == "published").then_some(())
    });
    proxy.weather(Weather::Impatient(IDLE));
    let (began, mut posted_at) = (Instant::now(), Instant::now());
    await_some("the end of the fault", || {
        assert_eq!(bridge.metric(&["broker_up"]), 1.0, "{}", bridge.log());
        if posted_at.elapsed() > 3 * IDLE {
            posted_at = Instant::now();
            let posted = bridge.post(&message("fresh", "now and then"));
            assert_eq!(posted.status, 202, "{:?}", posted.json);
        }
        (began.elapsed() > watched).then_some(())
    });
    assert!(
        proxy.closed() > 5,
        "{} connections were closed",
        proxy.closed()
    );
    assert!(!bridge.log().contains("out of reach"), "{}", bridge.log());
    scene.assert_all_is_well(&bridge);
    // Where nobody listens any more, that is told, also when nothing is on its way.
    proxy.weather(Weather::Away);
    bridge.await_log(&["WARN", "the broker is out of reach"]);
    proxy.weather(Weather::Fair);
    bridge.await_metric(&["broker_up"], 1.0);
}

#[test]
fn a_reload_without_a_change_purges_nothing_at_the_next_disconnect() {
    let (proxy, scene, bridge, senders) = kafka_at_work();
    let fatal = || bridge.metric(&["publish_failures_total", "fatal"]);
    for _ in 0..3 {
        bridge.signal("HUP");
    }
    bridge.await_log(&["reloaded the configuration"]);
    proxy.weather(Weather::Silent);
    senders.await_spooled(10);
    proxy.weather(Weather::Away);
    bridge.await_metric(&["broker_up"], 0.0);
    // Longer than the clients' supervisor rests between two looks.
    senders.keep_on(Duration::from_millis(2500));
    proxy.weather(Weather::Fair);
    await_draining(&bridge);
    senders.await_accepted(100);
    scene.end(&bridge, senders);
    assert_eq!(fatal(), 0.0, "nothing was taken back from a client");
}

#[test]
fn a_kafka_that_accepts_connections_and_never_answers_is_named() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = silent.local_addr().expect("it is bound").to_string();
    let yaml = format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\nkafka: {{bootstrap_servers: \"{address}\"}}\n"
    );
    let bridge = Process::start(&yaml);
    bridge.await_log(&["WARN", "the broker is out of reach", &address]);
    run(bridge.path(), &["topics", "check"])
        .with(69)
        .says(&[&address]);
    let (_, ready) = bridge.ask("/readyz?verbose");
    assert!(ready.contains(&address), "{ready}");
}
