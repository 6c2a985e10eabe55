//! Brokers that die, freeze, block and lie.

use std::collections::HashSet;
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use minchat_bridge::publish::amqp::Amqp;
use minchat_bridge::publish::{Class, Reason, Report};
use minchat_bridge::secret::Secret;

use super::client::{Client, quorum, runtime, shared_url};
use super::lane::{Lane, amqp, destination, event, settings};
use super::node::{Node, Tenant};
use crate::faults::frames::Protocol;
use crate::faults::proxy::{Proxy, Weather};

#[test]
fn what_was_confirmed_before_the_broker_was_killed_is_there_after_its_restart() {
    let (node, destination) = (Node::start(), destination());
    let mut lane = Lane::up(&amqp(settings(&node.url, true)), &destination);
    let broker = Client::new(&node.url);
    broker.declare_queue(&destination.exchange, &quorum());
    broker.bind(&destination.exchange, &destination.exchange, "#", &[]);
    node.sync();
    let events: Vec<_> = (0..20_000).map(|_| event("chat")).collect();
    lane.hand_over(&events);
    lane.await_fates(1_000);
    node.kill();
    lane.await_down(Reason::Disconnected);
    lane.await_fates(events.len());
    let fates = lane.fates();
    assert!(
        fates.values().any(Result::is_err),
        "the broker died in the middle"
    );
    let lost = Err((Class::Retry, Reason::Disconnected));
    assert!(fates.values().all(|fate| *fate == Ok(()) || *fate == lost));

    let mut late = Lane::new(&amqp(settings(&node.url, true)), &self::destination());
    let (_, failure) = late.await_down(Reason::Disconnected);
    assert_eq!(failure.class, Class::Retry);

    node.start_again();
    for lane in [&mut lane, &mut late] {
        lane.await_up(1);
        lane.publish_until_confirmed(&event("chat"));
    }
    let there: HashSet<_> = Client::new(&node.url)
        .drain_ids(&destination.exchange)
        .into_iter()
        .collect();
    for (n, event) in events
        .iter()
        .enumerate()
        .filter(|(n, _)| fates[&(*n as u64)].is_ok())
    {
        assert!(
            there.contains(&event.id().to_string()),
            "event {n} was confirmed and is gone"
        );
    }
    let downs = lane
        .reports
        .list()
        .into_iter()
        .filter(|(_, report)| matches!(report, Report::Down(_)));
    assert_eq!(downs.count(), 1, "an outage is told of once");
}

#[test]
fn a_frozen_broker_is_noticed_within_two_heartbeats() {
    let (node, destination) = (Node::start(), destination());
    let mut settings = settings(&node.url, true);
    settings.heartbeat = Duration::from_secs(2);
    let mut lane = Lane::up(&amqp(settings), &destination);
    assert_eq!(lane.publish(&event("chat")), Ok(()));
    node.pause();
    let frozen = Instant::now();
    lane.hand_over(&[event("chat")]);
    let (noticed, failure) = lane.await_down(Reason::Disconnected);
    let after = noticed - frozen;
    println!("noticed after {after:?}: {}", failure.detail);
    assert!(after < Duration::from_secs(3 * 2 * 2), "{after:?}");
    lane.await_fates(2);
    assert_eq!(lane.fates()[&1], Err((Class::Retry, Reason::Disconnected)));
    node.resume();
    lane.await_up(2);
    assert_eq!(lane.publish(&event("chat")), Ok(()));
}

#[test]
fn an_alarm_holds_events_up_and_loses_none() {
    let (node, destination) = (Node::start(), destination());
    let blocked = Arc::new(AtomicBool::new(false));
    let gauge = Arc::clone(&blocked);
    let handle = runtime().handle().clone();
    let amqp = Amqp::new(settings(&node.url, true), handle, move |is| {
        gauge.store(is, Ordering::Relaxed)
    });
    let mut lane = Lane::up(&amqp, &destination);
    // It has a connection of its own: lapin sends the end of a channel before what waits to be published on it, and
    // RabbitMQ closes the connection for that.
    let mut other = Lane::up(&self::amqp(settings(&node.url, true)), &self::destination());
    node.set_memory_limit("0");
    let began = Instant::now();
    let events: Vec<_> = (0..500).map(|_| event("chat")).collect();
    lane.hand_over(&events);
    let (at, failure) = lane.await_down(Reason::Blocked);
    println!("told after {:?}: {}", at - began, failure.detail);
    assert!(at - began < Duration::from_secs(3), "{:?}", at - began);
    assert_eq!(failure.class, Class::Retry);
    assert!(blocked.load(Ordering::Relaxed));

    other.hand_over(&[event("chat")]);
    let closing = Instant::now();
    other.close(Duration::from_secs(1));
    let took = closing.elapsed();
    assert!(
        took < Duration::from_secs(3),
        "closing a blocked publisher took {took:?}"
    );

    node.set_memory_limit("0.6");
    lane.await_up(2);
    lane.await_fates(events.len());
    let mut reports = lane.reports.list().into_iter();
    let failed = reports.find(|(_, report)| matches!(report, Report::Failed { .. }));
    assert!(failed.is_none(), "{failed:?}");
    assert!(!blocked.load(Ordering::Relaxed));
    assert_eq!(
        Client::new(&node.url)
            .drain_ids(&destination.unrouted)
            .len(),
        events.len()
    );
}

/// lapin gives a return to whichever confirm comes next: without the confirm of the second event, the last
/// event's own return comes with none.
#[test]
fn an_event_that_was_returned_is_not_confirmed_where_the_confirm_of_another_is_lost() {
    let tenant = Tenant::new();
    let destination = destination();
    let broker = Client::new(&tenant.owner_url());
    broker.declare_exchange(&destination.exchange, lapin::ExchangeKind::Topic);
    let proxy = Proxy::losing(Protocol::Amqp);
    let there = tenant.address();
    proxy.lead_to(there);
    let url = tenant
        .url
        .replace(&there.to_string(), &proxy.address.to_string());
    let mut lane = Lane::up(&amqp(settings(&url, false)), &destination);
    proxy.loss().lose_after(1);
    // While the first waits for its answer, the others gather, and are one batch.
    proxy.weather(Weather::Silent);
    let events: Vec<_> = (0..6).map(|_| event("chat")).collect();
    lane.hand_over(&events[..1]);
    lane.hand_over(&events[1..]);
    proxy.weather(Weather::Fair);
    proxy.loss().await_lost();
    proxy.reset();
    lane.await_fates(events.len());
    let fates = lane.fates();
    assert!(fates.values().all(Result::is_err), "{fates:?}");
}

#[test]
fn an_event_that_is_larger_than_the_broker_takes_is_a_dead_letter() {
    let (tenant, destination) = (Tenant::new(), destination());
    let mut lane = Lane::up(&amqp(settings(&tenant.url, true)), &destination);
    let chat = "x".repeat(200);
    assert_eq!(lane.publish(&event(&chat)), Ok(()));
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(Tenant::MAX_MESSAGE));
    let too_large = super::lane::sealed(body.as_bytes(), None);
    assert_eq!(
        lane.publish(&too_large),
        Err((Class::DeadLetter, Reason::TooLarge))
    );
    lane.await_up(2);
    assert_eq!(lane.publish(&event(&chat)), Ok(()));
}

/// Without an end of its own, each attempt would leave a thread and a socket behind.
#[test]
fn a_broker_that_never_answers_is_given_up_and_its_socket_closed() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
    let address = silent.local_addr().expect("it is bound");
    let lane = Lane::new(
        &amqp(settings(&format!("amqp://u:p@{address}"), true)),
        &destination(),
    );
    let (mut socket, _) = silent.accept().expect("the publisher connects");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("30 s is a timeout");
    let mut said = Vec::new();
    socket
        .read_to_end(&mut said)
        .expect("the publisher closes the socket");
    assert_eq!(said, b"AMQP\0\0\x09\x01");
    let (_, failure) = lane.await_down(Reason::Disconnected);
    assert_eq!(failure.class, Class::Retry);
    assert!(
        failure.detail.contains(&address.to_string()),
        "{}",
        failure.detail
    );
}

#[test]
fn of_several_brokers_the_next_one_is_tried() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let closed = closed.expect("port 0 is always free");
    let mut settings = settings(&shared_url(), true);
    settings
        .uris
        .insert(0, Secret::new(format!("amqp://{closed}")));
    let mut lane = Lane::up(&amqp(settings), &destination());
    assert_eq!(lane.publish(&event("chat")), Ok(()));
}

#[test]
fn lanes_share_a_connection_and_the_last_one_closes_it() {
    let tenant = Tenant::new();
    let amqp = amqp(settings(&tenant.url, true));
    let mut lanes: Vec<_> = (0..4).map(|_| Lane::up(&amqp, &destination())).collect();
    assert_eq!(tenant.connections(), 1);
    for lane in &mut lanes {
        assert_eq!(lane.publish(&event("chat")), Ok(()));
        lane.close(Duration::from_secs(10));
    }
    assert_eq!(tenant.connections(), 0);
}
