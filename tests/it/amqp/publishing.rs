//! What a confirm means, and what an event looks like on the broker.

use std::collections::HashSet;
use std::time::Duration;

use lapin::ExchangeKind;
use lapin::message::BasicGetMessage;
use lapin::types::AMQPValue;
use minchat_bridge::publish::{Class, Publisher, Reason};
use uuid::Uuid;

use super::client::{Client, id, quorum, shared_url, text};
use super::lane::{Lane, amqp, destination, event, sealed, settings};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_confirmed_event_is_in_the_queue_as_the_contract_has_it() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    broker.declare_queue(&destination.exchange, &quorum());
    broker.bind(
        &destination.exchange,
        &destination.exchange,
        "message.#",
        &[],
    );
    let body = br#"{"sent_by":{},"sent_to":[],"chat_id":"c\u00e4 1"}"#;
    let event = sealed(body, Some(PARENT));
    assert_eq!(lane.publish(&event), Ok(()));

    let message = broker.get(&destination.exchange).expect("it is there");
    assert_eq!(message.delivery.data, event.envelope());
    assert_eq!(message.delivery.routing_key.as_str(), "message.sent");
    let properties = &message.delivery.properties;
    let short = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    assert_eq!(
        short(properties.content_type()).as_deref(),
        Some("application/cloudevents+json; charset=UTF-8")
    );
    assert_eq!(id(&message), event.id().to_string());
    assert_eq!(
        short(properties.kind()).as_deref(),
        Some("io.minchat.message.sent.v1")
    );
    assert_eq!(
        short(properties.app_id()).as_deref(),
        Some("minchat-bridge")
    );
    assert_eq!(*properties.delivery_mode(), Some(2));
    let received = event
        .received_at()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(*properties.timestamp(), Some(received.as_secs()));
    let expected = [
        ("partitionkey".to_owned(), text("cä 1")),
        ("traceparent".to_owned(), text(PARENT)),
    ];
    assert_eq!(headers(&message), expected);
}

#[test]
fn an_event_without_a_key_has_no_partitionkey() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    assert_eq!(lane.publish(&sealed(b"[1]", None)), Ok(()));

    let message = broker
        .get(&destination.unrouted)
        .expect("it is among the unrouted ones");
    assert_eq!(headers(&message), []);
}

/// Those of the publisher: a quorum queue adds `x-delivery-count`.
fn headers(message: &BasicGetMessage) -> Vec<(String, AMQPValue)> {
    let headers = message
        .delivery
        .properties
        .headers()
        .as_ref()
        .expect("there are headers");
    let ours = headers
        .inner()
        .iter()
        .filter(|(name, _)| !name.as_str().starts_with("x-"));
    ours.map(|(name, value)| (name.to_string(), value.clone()))
        .collect()
}

#[test]
fn events_come_in_the_order_in_which_they_were_handed_over() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    let events: Vec<_> = (0..2_000).map(|_| event("chat")).collect();
    for some in events.chunks(7) {
        lane.hand_over(some);
    }
    lane.await_fates(events.len());
    assert!(lane.fates().values().all(|fate| *fate == Ok(())));
    let ids: Vec<_> = events.iter().map(|event| event.id().to_string()).collect();
    assert_eq!(broker.drain_ids(&destination.unrouted), ids);
}

#[test]
fn no_event_that_no_queue_takes_is_ever_confirmed() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    broker.declare_exchange(&destination.exchange, ExchangeKind::Topic);
    let mut lane = Lane::up(&amqp(settings(&shared_url(), false)), &destination);
    let events: Vec<_> = (0..2_000).map(|_| event("chat")).collect();
    lane.hand_over(&events);
    lane.await_fates(events.len());
    let returned = Err((Class::Operator, Reason::Returned));
    let others = lane
        .fates()
        .into_values()
        .filter(|fate| *fate != returned)
        .count();
    assert_eq!(others, 0);

    broker.declare_queue(&destination.exchange, &[]);
    broker.bind(&destination.exchange, &destination.exchange, "#", &[]);
    assert_eq!(lane.publish(&events[0]), Ok(()));
}

/// lapin attaches a returned message to whichever confirm comes next.
#[test]
fn of_a_mixed_batch_exactly_the_returned_events_fail() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    broker.declare_exchange(&destination.exchange, ExchangeKind::Headers);
    broker.declare_queue(&destination.exchange, &quorum());
    let routed = [("x-match", text("all")), ("partitionkey", text("routed"))];
    broker.bind(&destination.exchange, &destination.exchange, "", &routed);
    let mut lane = Lane::up(&amqp(settings(&shared_url(), false)), &destination);
    let bytes = Uuid::now_v7().into_bytes();
    let is_routed = |n: usize| bytes[8 + n % 8] >> (n / 8 % 6) & 1 == 1;
    let chats = (0..2_000).map(|n| if is_routed(n) { "routed" } else { "lost" });
    let events: Vec<_> = chats.map(event).collect();
    lane.hand_over(&events);
    lane.await_fates(events.len());

    let there: HashSet<_> = broker
        .drain_ids(&destination.exchange)
        .into_iter()
        .collect();
    let fates = lane.fates();
    for (n, event) in events.iter().enumerate() {
        let is_there = there.contains(&event.id().to_string());
        assert_eq!(is_there, is_routed(n), "event {n} of {bytes:?}");
        let fate = if is_there {
            Ok(())
        } else {
            Err((Class::Operator, Reason::Returned))
        };
        assert_eq!(fates[&(n as u64)], fate, "event {n} of {bytes:?}");
    }
}

#[test]
fn what_a_full_queue_refuses_is_tried_again() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    broker.declare_exchange(&destination.exchange, ExchangeKind::Topic);
    let full = [
        ("x-max-length", AMQPValue::LongInt(5)),
        ("x-overflow", text("reject-publish")),
    ];
    broker.declare_queue(&destination.exchange, &full);
    broker.bind(&destination.exchange, &destination.exchange, "#", &[]);
    let mut lane = Lane::up(&amqp(settings(&shared_url(), false)), &destination);
    let events: Vec<_> = (0..50).map(|_| event("chat")).collect();
    lane.hand_over(&events);
    lane.await_fates(events.len());
    let nacked = lane
        .fates()
        .into_values()
        .filter(|fate| *fate == Err((Class::Retry, Reason::Nack)));
    assert!(nacked.count() > 0);
    let confirmed = lane
        .fates()
        .into_values()
        .filter(|fate| *fate == Ok(()))
        .count();
    assert_eq!(broker.drain_ids(&destination.exchange).len(), confirmed);

    broker.purge(&destination.exchange);
    lane.publish_until_confirmed(&events[49]);
}

#[test]
fn a_rebuilt_publisher_is_silent_about_what_it_held_and_comes_up_again() {
    let destination = destination();
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    let events: Vec<_> = (0..5_000).map(|_| event("chat")).collect();
    lane.hand_over(&events);
    lane.publisher().rebuild();
    lane.await_up(2);
    // A report that crossed the call was still made.
    let reported = lane.fates().len();
    let seq = lane.hand_over(&[event("chat")]);
    lane.reports.wait("the new event is confirmed", |list| {
        list.iter().any(|(_, report)| matches!(report, minchat_bridge::publish::Report::Confirmed { seq: s, .. } if *s == seq))
    });
    assert_eq!(lane.fates().len(), reported + 1);
}

#[test]
fn closing_finishes_what_was_handed_over() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    let events: Vec<_> = (0..1_000).map(|_| event("chat")).collect();
    lane.hand_over(&events);
    lane.close(Duration::from_secs(30));
    assert_eq!(
        lane.fates()
            .into_values()
            .filter(|fate| *fate == Ok(()))
            .count(),
        events.len()
    );
    assert_eq!(broker.drain_ids(&destination.unrouted).len(), events.len());
}

#[test]
fn the_depth_of_the_unrouted_queues_is_told() {
    let (destination, (told, depth)) = (destination(), std::sync::mpsc::channel());
    let amqp = amqp(settings(&shared_url(), true));
    let mut lane = Lane::up(&amqp, &destination);
    lane.hand_over(&[event("a"), event("b"), event("c")]);
    lane.await_fates(3);
    let told = std::sync::Mutex::new(told);
    let queues = vec![destination.unrouted, "no such queue".to_owned()];
    amqp.watch_unrouted(
        move || queues.clone(),
        move |depth| {
            let _ = told.lock().unwrap().send(depth);
        },
    );
    // A quorum queue counts with a little delay, and is asked every 15 s.
    let deepest = depth.iter().take(2).find(|depth| *depth == 3);
    assert_eq!(deepest, Some(3));
}
