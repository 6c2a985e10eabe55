//! What is created, what is used as it is, and what is waited for.

use lapin::ExchangeKind;
use minchat_bridge::publish::amqp::probe;
use minchat_bridge::publish::{Class, Reason};

use super::client::{Client, runtime, shared_url};
use super::lane::{Lane, amqp, destination, event, settings};

#[test]
fn what_nobody_consumes_yet_holds_nothing_up() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    let event = event("chat");
    assert_eq!(lane.publish(&event), Ok(()));
    assert_eq!(
        broker.drain_ids(&destination.unrouted),
        [event.id().to_string()]
    );
}

#[test]
fn dead_letters_have_a_queue_of_their_own() {
    let (broker, mut destination) = (Client::new(&shared_url()), destination());
    destination.queue = Some(destination.exchange.clone());
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    let event = event("chat");
    assert_eq!(lane.publish(&event), Ok(()));
    assert_eq!(
        broker.drain_ids(&destination.exchange),
        [event.id().to_string()]
    );
    assert_eq!(broker.drain_ids(&destination.unrouted), [""; 0]);
}

#[test]
fn an_exchange_that_is_there_is_used_as_it_is() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    broker.declare_exchange(&destination.exchange, ExchangeKind::Direct);
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    // It has no alternate exchange, and gets none.
    assert_eq!(
        lane.publish(&event("chat")),
        Err((Class::Operator, Reason::Returned))
    );
}

#[test]
fn without_declare_an_exchange_that_is_missing_is_waited_for() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    let mut lane = Lane::new(&amqp(settings(&shared_url(), false)), &destination);
    let (_, failure) = lane.await_down(Reason::UnknownDestination);
    assert_eq!(failure.class, Class::Operator);
    assert!(
        failure.detail.contains(&destination.exchange),
        "{}",
        failure.detail
    );

    broker.declare_exchange(&destination.exchange, ExchangeKind::Fanout);
    broker.declare_queue(&destination.exchange, &[]);
    broker.bind(&destination.exchange, &destination.exchange, "", &[]);
    lane.await_up(1);
    assert_eq!(lane.publish(&event("chat")), Ok(()));
}

#[test]
fn an_exchange_that_is_deleted_is_waited_for_and_nothing_is_confirmed_meanwhile() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    broker.declare_exchange(&destination.exchange, ExchangeKind::Fanout);
    broker.declare_queue(&destination.exchange, &[]);
    broker.bind(&destination.exchange, &destination.exchange, "", &[]);
    let mut lane = Lane::up(&amqp(settings(&shared_url(), false)), &destination);
    assert_eq!(lane.publish(&event("chat")), Ok(()));

    broker.delete_exchange(&destination.exchange);
    let missing = Err((Class::Operator, Reason::UnknownDestination));
    assert_eq!(lane.publish(&event("chat")), missing);
    lane.await_down(Reason::UnknownDestination);

    broker.declare_exchange(&destination.exchange, ExchangeKind::Fanout);
    broker.bind(&destination.exchange, &destination.exchange, "", &[]);
    lane.await_up(2);
    assert_eq!(lane.publish(&event("chat")), Ok(()));
    assert_eq!(broker.drain_ids(&destination.exchange).len(), 2);
}

#[test]
fn with_declare_an_exchange_that_is_deleted_is_made_again() {
    let (broker, destination) = (Client::new(&shared_url()), destination());
    let mut lane = Lane::up(&amqp(settings(&shared_url(), true)), &destination);
    broker.delete_exchange(&destination.exchange);
    let missing = Err((Class::Operator, Reason::UnknownDestination));
    assert_eq!(lane.publish(&event("chat")), missing);
    lane.await_up(2);
    assert_eq!(lane.publish(&event("chat")), Ok(()));
}

#[test]
fn a_probe_tells_what_is_there_and_creates_what_is_not() {
    let destination = destination();
    let settings = settings(&shared_url(), true);
    let look = |create| {
        let found = probe(&settings, std::slice::from_ref(&destination), create);
        runtime().block_on(found).remove(0)
    };
    let (exchange, missing) = look(false);
    assert_eq!(exchange, destination.exchange);
    assert_eq!(
        missing.map_err(|failure| failure.reason),
        Err(Reason::UnknownDestination)
    );
    let created = look(true).1.expect("it is created");
    assert!(
        created.starts_with("created: ") && created.contains(&exchange),
        "{created}"
    );
    assert_eq!(look(false).1, Ok("there".to_owned()));
}

#[test]
fn a_name_that_amqp_has_no_room_for_is_an_operators_matter() {
    let mut destination = destination();
    destination.exchange = "x".repeat(256);
    let lane = Lane::new(&amqp(settings(&shared_url(), true)), &destination);
    let (_, failure) = lane.await_down(Reason::UnknownDestination);
    assert_eq!(failure.class, Class::Operator);
}
