//! What operators do: close connections, change passwords, take rights and give them back.

use lapin::ExchangeKind;
use minchat_bridge::publish::{Class, Reason};
use minchat_bridge::secret::Secret;

use super::client::{Client, shared_url};
use super::lane::{Lane, amqp, destination, event, settings};
use super::node::Tenant;

#[test]
fn connections_that_an_operator_closes_are_made_again() {
    let (tenant, destination) = (Tenant::new(), destination());
    let amqp = amqp(settings(&tenant.url, true));
    let mut lane = Lane::up(&amqp, &destination);
    let idle = Lane::up(&amqp, &super::lane::destination());
    let events: Vec<_> = (0..20_000).map(|_| event("chat")).collect();
    lane.hand_over(&events);
    lane.await_fates(100);
    tenant.close_connections();
    for lane in [&lane, &idle] {
        let (_, failure) = lane.await_down(Reason::Disconnected);
        assert_eq!(failure.class, Class::Retry);
        lane.await_up(2);
    }
    lane.await_fates(events.len());
    assert_eq!(lane.publish(&event("chat")), Ok(()));
}

#[test]
fn a_wrong_password_is_told_and_the_right_one_taken_without_a_restart() {
    let tenant = Tenant::new();
    let mut settings = settings(&tenant.url, true);
    settings.password = Some(Secret::new("the-wrong-one"));
    let amqp = amqp(settings.clone());
    let mut lane = Lane::new(&amqp, &destination());
    let (_, failure) = lane.await_down(Reason::Authentication);
    assert_eq!(failure.class, Class::Operator);
    assert!(
        !format!("{failure:?} {settings:?}").contains("the-wrong-one"),
        "{failure:?}"
    );

    settings.password = Some(Secret::new(&tenant.name));
    amqp.reload(settings);
    lane.await_up(1);
    assert_eq!(lane.publish(&event("chat")), Ok(()));
}

#[test]
fn a_right_that_is_taken_is_told_and_once_it_is_given_back_events_flow() {
    let (tenant, destination) = (Tenant::new(), destination());
    let amqp = amqp(settings(&tenant.url, true));
    let mut lane = Lane::up(&amqp, &destination);
    assert_eq!(lane.publish(&event("chat")), Ok(()));

    tenant.permit(".*", "^$", ".*");
    // A channel remembers its rights for up to a minute.
    tenant.close_connections();
    lane.await_up(2);
    assert_eq!(
        lane.publish(&event("chat")),
        Err((Class::Operator, Reason::Unauthorized))
    );
    lane.await_down(Reason::Unauthorized);

    tenant.permit(".*", ".*", ".*");
    lane.publish_until_confirmed(&event("chat"));
}

#[test]
fn who_may_not_create_is_told_what_is_missing_and_who_may_publish_needs_no_more() {
    let (tenant, destination) = (Tenant::new(), destination());
    tenant.permit("^$", ".*", "^$");
    let mut lane = Lane::new(&amqp(settings(&tenant.url, true)), &destination);
    let (_, failure) = lane.await_down(Reason::Unauthorized);
    assert_eq!(failure.class, Class::Operator);
    assert!(
        failure.detail.contains("may not create it"),
        "{}",
        failure.detail
    );

    Client::new(&tenant.owner_url()).declare_exchange(&destination.exchange, ExchangeKind::Fanout);
    lane.await_up(1);
    let returned = Err((Class::Operator, Reason::Returned));
    assert_eq!(lane.publish(&event("chat")), returned);
}

#[test]
fn a_virtual_host_that_is_missing_is_an_operators_matter() {
    let url = shared_url().replace("/%2f", "/none");
    let lane = Lane::new(&amqp(settings(&url, true)), &destination());
    let (_, failure) = lane.await_down(Reason::UnknownDestination);
    assert_eq!(failure.class, Class::Operator);
}
