//! One confirm that is lost on a connection that goes on: the event has arrived, and the bridge is not told.

use std::time::{Duration, Instant};

use super::checker::{ONE_OF_EACH_KEY, assert_nobody_waited, check, note};
use super::frames::Protocol;
use super::proxy::Proxy;
use super::scenes::{Kafka, MESSAGES, Rabbit};
use super::senders::Senders;
use crate::payload::message;
use crate::process::{Process, await_some, await_within};

/// How long the bridge waits for the next confirm of RabbitMQ.
const RABBITMQ_CONFIRMS_WITHIN: Duration = Duration::from_secs(30);
/// How long librdkafka waits for Kafka's answer: `socket.timeout.ms`.
const KAFKA_ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// More batches than those whose numbers Kafka keeps for each producer, and few enough to be drained one
/// event a confirm.
const EVENTS: usize = 50;
const REST: Duration = Duration::from_millis(50);

/// One sender, so that its first event is published alone: no later confirm stands for that one too. Gives the
/// sender once the confirm is lost, and when that was.
fn sender_whose_first_confirm_is_lost(bridge: &Process, proxy: &Proxy) -> (Senders, Instant) {
    proxy.loss().lose_after(0);
    let sender = Senders::resting(bridge.webhooks(), &[REST]);
    proxy.loss().await_lost();
    (sender, Instant::now())
}

/// Waits until everything is published, and notes how long after the loss that was.
fn await_published(bridge: &Process, lost: Instant, bound: Duration) {
    await_within(3 * bound, "everything published", || {
        (bridge.metric(&["lane_pending_events"]) == 0.0).then_some(())
    });
    note(&format!("published {:?} after the loss", lost.elapsed()));
}

#[test]
fn row_50_a_lane_goes_on_after_a_confirm_of_rabbitmq_is_lost_on_a_live_connection() {
    let proxy = Proxy::losing(Protocol::Amqp);
    let scene = Rabbit::behind(&proxy);
    let bridge = scene.bridge("");
    let (sender, lost) = sender_whose_first_confirm_is_lost(&bridge, &proxy);
    sender.await_spooled(EVENTS);
    // The connection lives: other destinations don't notice.
    let neighbour = r#"{"id":"u1","username":"sam","name":"Sam"}"#;
    await_some("a neighbour's event that is published", || {
        let posted = bridge.post(neighbour);
        assert_eq!(posted.status, 202);
        (posted.json["receipt"] == "published").then_some(())
    });
    let ledger = sender.end();
    await_published(&bridge, lost, RABBITMQ_CONFIRMS_WITHIN);
    bridge.await_log(&["events get through again", MESSAGES]);
    assert_eq!(bridge.metric(&["broker_reconnects_total"]), 0.0);
    assert_eq!(ledger.refused, [0; 0]);
    scene.assert_all_was_published(&bridge, &ledger, 1);
}

/// librdkafka gives the request up after its own time, and sends it again under the same number. Kafka knows only
/// the last five batches of a producer by their numbers.
#[test]
fn row_50_a_lane_goes_on_after_a_confirm_of_kafka_is_lost_on_a_live_connection() {
    let proxy = Proxy::losing(Protocol::Kafka);
    let scene = Kafka::behind(&proxy);
    let bridge = scene.bridge();
    await_some("an event that is published at once", || {
        let posted = bridge.post(&message("fresh", "first"));
        assert_eq!(posted.status, 202);
        (posted.json["receipt"] == "published").then_some(())
    });
    let (sender, lost) = sender_whose_first_confirm_is_lost(&bridge, &proxy);
    sender.await_accepted(EVENTS);
    let ledger = sender.end();
    await_published(&bridge, lost, KAFKA_ANSWERS_WITHIN);
    assert_eq!(ledger.refused, [0; 0]);
    scene.assert_all_is_well(&bridge);
    check(&ledger, &scene.consumed(), 1);
}

/// The sender goes on all the time.
#[test]
fn row_12_one_confirm_of_rabbitmq_that_is_lost_on_a_live_connection_is_one_duplicate_that_is_counted()
 {
    let proxy = Proxy::losing(Protocol::Amqp);
    let scene = Rabbit::behind(&proxy);
    let bridge = scene.bridge("");
    // A single sender: no later confirm stands for the lost one too.
    let sender = Senders::resting(bridge.webhooks(), &[REST]);
    sender.await_accepted(EVENTS);
    let (connections, closed) = (proxy.connections(), proxy.closed());
    let repeated = || bridge.metric(&["publish_repeated_total", "amqp"]);
    assert_eq!(repeated(), 0.0);
    proxy.loss().lose_after(EVENTS);
    proxy.loss().await_lost();
    await_within(
        3 * RABBITMQ_CONFIRMS_WITHIN,
        "the event published again",
        || (repeated() > 0.0).then_some(()),
    );
    sender.await_accepted(EVENTS);
    let ledger = sender.end();
    assert_nobody_waited(&ledger);
    scene.assert_all_was_published(&bridge, &ledger, 1);
    assert_eq!(repeated(), 1.0);
    assert_eq!((proxy.connections(), proxy.closed()), (connections, closed));
}

/// The senders go on all the time, so that more batches are published on the connection than Kafka knows the numbers of.
#[test]
fn row_12_one_confirm_of_kafka_that_is_lost_on_a_live_connection_repeats_at_most_its_batch() {
    let proxy = Proxy::losing(Protocol::Kafka);
    let scene = Kafka::behind(&proxy);
    let bridge = scene.bridge();
    let senders = Senders::resting(bridge.webhooks(), &[REST; 8]);
    scene.await_published(&bridge);
    senders.await_accepted(EVENTS);
    proxy.loss().lose_after(EVENTS);
    proxy.loss().await_lost();
    let lost = Instant::now();
    await_within(3 * KAFKA_ANSWERS_WITHIN, "the confirm given up", || {
        (lost.elapsed() > KAFKA_ANSWERS_WITHIN
            && bridge.metric(&["lane_pending_events"]) < ONE_OF_EACH_KEY as f64)
            .then_some(())
    });
    note(&format!("published {:?} after the loss", lost.elapsed()));
    senders.await_accepted(EVENTS);
    let ledger = scene.end_with(&bridge, senders, ONE_OF_EACH_KEY);
    assert_nobody_waited(&ledger);
}
