//! Faults of RabbitMQ.

use super::checker::{Consumed, ONE_OF_EACH_KEY, assert_at_rest, assert_nobody_waited, check};
use super::scenes::{MESSAGES as EXCHANGE, QUEUE, Rabbit as Scene, await_draining};
use super::senders::Senders;
use crate::amqp::client::{Client, text};
use crate::process::{Process, await_some};

#[test]
fn row_3_a_broker_that_is_killed_under_load_costs_no_sender_anything() {
    let scene = Scene::new();
    let bridge = scene.bridge("");
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(1000);
    scene.node.kill();
    senders.await_spooled(1000);
    assert_eq!(bridge.ask("/readyz").0, 200);
    scene.node.start_again();
    senders.await_accepted(500);
    let ledger = scene.assert_all_is_well(&bridge, senders, ONE_OF_EACH_KEY);
    assert_nobody_waited(&ledger);
    bridge.await_log(&["the broker is back", "spooled"]);
}

#[test]
fn row_18_an_alarm_sends_events_to_the_spool_until_it_ends() {
    let scene = Scene::new();
    let bridge = scene.bridge("");
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    scene.node.set_memory_limit("0");
    bridge.await_metric(&["amqp_connection_blocked"], 1.0);
    senders.await_spooled(500);
    scene.node.set_memory_limit("0.6");
    await_draining(&bridge);
    senders.await_accepted(300);
    let ledger = scene.assert_all_is_well(&bridge, senders, 0);
    assert_nobody_waited(&ledger);
}

#[test]
fn row_19_an_exchange_that_is_deleted_and_made_again_gets_everything() {
    let scene = Scene::new();
    let bridge = scene.bridge("  declare: true");
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    let client = Client::new(&scene.node.url);
    client.delete_exchange(EXCHANGE);
    // The bridge makes the exchange anew; until a queue is bound again, the unrouted queue takes them.
    senders.await_accepted(300);
    let ledger = senders.end();
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let bodies = client
        .drain_bodies(QUEUE)
        .into_iter()
        .chain(client.drain_bodies("minchat.unrouted.v1"));
    let consumed: Vec<_> = bodies.map(Consumed).collect();
    check(&ledger, &consumed, ONE_OF_EACH_KEY);
    assert_eq!(ledger.refused, [0; 0]);
    assert_at_rest(&bridge);
}

#[test]
fn row_19_what_no_queue_takes_waits_for_one() {
    let scene = Scene::new();
    let client = Client::new(&scene.node.url);
    for name in crate::payload::destinations("minchat.") {
        client.declare_exchange(&name, lapin::ExchangeKind::Topic);
    }
    let bridge = Process::start(&scene.yaml("  declare: false"));
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    bridge.await_log(&["ERROR", EXCHANGE, "returned"]);
    senders.await_spooled(300);
    assert_eq!(
        bridge.metric(&["published_total{", EXCHANGE]),
        0.0,
        "never a false confirm"
    );
    scene.bind();
    await_draining(&bridge);
    senders.await_accepted(200);
    let ledger = scene.assert_all_is_well(&bridge, senders, 0);
    assert_eq!(ledger.refused, [0; 0]);
}

/// Each lane's first trouble is its own then: no lane was out of the broker's reach.
#[test]
fn row_19_exchanges_that_are_missing_at_the_start_and_come_later_leave_the_broker_up() {
    let scene = Scene::new();
    let bridge = Process::start(&scene.yaml("  declare: false"));
    for name in crate::payload::destinations("minchat.") {
        bridge.await_log(&["ERROR", &name, "NOT_FOUND"]);
    }
    let client = Client::new(&scene.node.url);
    for name in crate::payload::destinations("minchat.") {
        client.declare_exchange(&name, lapin::ExchangeKind::Topic);
    }
    bridge.await_metric(&["broker_up"], 1.0);
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.bind();
    senders.await_accepted(100);
    let ledger = scene.assert_all_is_well(&bridge, senders, 0);
    assert_eq!(ledger.refused, [0; 0]);
}

#[test]
fn row_20_what_a_full_queue_nacks_is_tried_again_in_order() {
    let scene = Scene::new();
    let bridge = scene.bridge_alone("");
    let client = scene.client();
    let full = [
        ("x-max-length", lapin::types::AMQPValue::LongInt(300)),
        ("x-overflow", text("reject-publish")),
    ];
    client.declare_queue(QUEUE, &full);
    client.bind(QUEUE, EXCHANGE, "message.sent", &[]);
    let senders = Senders::start(bridge.webhooks(), 8);
    await_some("a nack", || {
        (bridge.metric(&["publish_failures_total", EXCHANGE, "nack"]) > 0.0).then_some(())
    });
    senders.await_spooled(200);
    let ledger = senders.end();
    assert_eq!(ledger.refused, [0; 0]);
    let mut bodies = Vec::new();
    await_some("room for everything", || {
        let pending = bridge.metric(&["lane_pending_events", EXCHANGE]);
        bodies.extend(client.drain_bodies(QUEUE));
        (pending == 0.0).then_some(())
    });
    let consumed: Vec<_> = bodies.into_iter().map(Consumed).collect();
    check(&ledger, &consumed, 0);
    assert_at_rest(&bridge);
}

#[test]
fn row_21_what_an_operator_closes_is_built_anew() {
    const CHANNELS: &str = "[exit(Channel, kill) || Channel <- rabbit_channel:list()].";
    let scene = Scene::new();
    let bridge = scene.bridge("");
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    for words in [
        &["close_all_connections", "by the operator"][..],
        &["eval", CHANNELS],
    ] {
        let failures = || bridge.metric(&["publish_failures_total"]);
        let (failed, published) = (failures(), bridge.metric(&["published_total{", EXCHANGE]));
        scene.node.ctl(words);
        await_some("what was closed to be missed", || {
            (failures() > failed).then_some(())
        });
        await_some("what is built anew to publish", || {
            (bridge.metric(&["published_total{", EXCHANGE]) > published + 100.0).then_some(())
        });
    }
    let ledger = scene.assert_all_is_well(&bridge, senders, 2 * ONE_OF_EACH_KEY);
    assert_eq!(ledger.refused, [0; 0]);
}
