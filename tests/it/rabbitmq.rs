//! The whole way to RabbitMQ: the binary, and RabbitMQ.

use std::collections::HashSet;

use crate::amqp::client::{Client, id, quorum, shared_url};
use crate::amqp::node::Node;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::payload::{message, prefix, sample};
use crate::process::{Process, await_some};

fn yaml(url: &str, prefix: &str, amqp: &str, rest: &str) -> String {
    format!(
        "sources:\n  minchat:\n    prefix: {prefix}\n    auth: {{none: true}}\n\
         amqp:\n  uri: {url}\n{amqp}\nspool: {{max_size: 0}}\n{rest}"
    )
}

#[test]
fn each_kind_is_read_from_a_queue_that_is_bound_to_its_exchange() {
    let (broker, prefix) = (Client::new(&shared_url()), prefix());
    let bridge = Process::start(&yaml(&shared_url(), &prefix, "", ""));
    bridge.await_ready();
    for (name, kind) in [
        ("message-sent.current", "message.sent"),
        ("conversation-created.current", "conversation.created"),
        ("ai-agent-action.current", "ai-agent.action"),
        ("user-daily-active.current", "user.daily-active"),
    ] {
        let exchange = format!("{prefix}{kind}.v1");
        broker.declare_queue(&exchange, &quorum());
        broker.bind(&exchange, &exchange, kind, &[]);
        let posted = bridge.post(sample(name));
        assert_eq!(
            (posted.status, posted.json["receipt"].as_str()),
            (202, Some("published"))
        );
        let message = broker
            .get(&exchange)
            .expect("it was confirmed before the answer");
        assert_eq!(posted.json["id"], id(&message));
        let envelope: serde_json::Value =
            serde_json::from_slice(&message.delivery.data).expect("it is JSON");
        assert_eq!(envelope["type"], format!("io.minchat.{kind}.v1"));
    }
    bridge.assert_the_books_balance();
}

#[test]
fn what_no_queue_is_bound_for_is_kept_in_the_unrouted_queue() {
    let (broker, prefix) = (Client::new(&shared_url()), prefix());
    let bridge = Process::start(&yaml(&shared_url(), &prefix, "", ""));
    bridge.await_ready();
    let posted = bridge.post(&message("c1", "nobody listens"));
    assert_eq!(posted.status, 202);
    bridge.await_metric(&["amqp_unrouted_messages"], 1.0);
    assert_eq!(
        broker.drain_ids(&format!("{prefix}unrouted.v1")),
        [posted.json["id"].as_str().unwrap_or_default()]
    );
}

#[test]
fn what_no_queue_took_is_never_acknowledged() {
    let (broker, prefix) = (Client::new(&shared_url()), prefix());
    let exchange = format!("{prefix}message.sent.v1");
    for kind in [
        "message.sent",
        "conversation.created",
        "ai-agent.action",
        "user.daily-active",
        "unrecognized",
        "dead-letter",
    ] {
        broker.declare_exchange(&format!("{prefix}{kind}.v1"), lapin::ExchangeKind::Topic);
    }
    let bridge = Process::start(&yaml(
        &shared_url(),
        &prefix,
        "  declare: false",
        "publish: {deadline: 1s}\n",
    ));
    bridge.await_ready();
    let posted = bridge.post(&message("c1", "nobody listens"));
    assert_eq!(posted.status, 503, "{:?}", posted.json);
    bridge.await_log(&["ERROR", &exchange, "returned"]);
    broker.declare_queue(&exchange, &quorum());
    broker.bind(&exchange, &exchange, "message.sent", &[]);
    let accepted = await_some("a 202", || {
        let posted = bridge.post(&message("c1", "now"));
        (posted.status == 202).then_some(posted)
    });
    let ids = broker.drain_ids(&exchange);
    assert!(
        ids.iter().any(|id| accepted.json["id"] == id.as_str()),
        "{ids:?}"
    );
    bridge.assert_the_books_balance();
}

#[test]
fn what_is_not_json_is_in_the_queue_of_the_dead_letters() {
    let (broker, prefix) = (Client::new(&shared_url()), prefix());
    let bridge = Process::start(&yaml(&shared_url(), &prefix, "", ""));
    bridge.await_ready();
    let posted = bridge.post("nope");
    assert_eq!(posted.status, 400);
    let ids = broker.drain_ids(&format!("{prefix}dead-letter.v1"));
    assert_eq!(
        ids,
        [posted.json["dead_letter_id"]
            .as_str()
            .expect("it says which")]
    );
    assert_eq!(
        bridge.metric(&["dead_letters_total", "malformed_json"]),
        1.0
    );
}

#[test]
fn a_rabbitmq_that_is_killed_under_load_leaves_no_202_without_its_event() {
    let node = Node::start();
    let bridge = Process::start(&yaml(
        &node.url,
        "minchat.",
        "",
        "publish: {deadline: 2s}\n",
    ));
    bridge.await_ready();
    let exchange = "minchat.message.sent.v1";
    let broker = Client::new(&node.url);
    broker.declare_queue(exchange, &quorum());
    broker.bind(exchange, exchange, "#", &[]);
    let load = Load::start(&bridge, 8);
    await_some("events before", || (load.accepted() > 200).then_some(()));
    node.sync();
    node.kill();
    await_some("refusals", || (load.refused() > 50).then_some(()));
    node.start_again();
    let at_return = load.accepted();
    await_some("events after", || {
        (load.accepted() > at_return + 200).then_some(())
    });
    let (accepted, refused) = load.end();
    assert!(refused.iter().all(|status| *status == 503), "{refused:?}");
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let there: HashSet<String> = Client::new(&node.url)
        .drain_ids(exchange)
        .into_iter()
        .collect();
    let lost = accepted.iter().filter(|id| !there.contains(*id)).count();
    assert_eq!(lost, 0, "of {}", accepted.len());
    bridge.assert_the_books_balance();
}

#[test]
fn an_event_goes_to_kafka_and_to_rabbitmq_at_once() {
    let (broker, cluster, prefix) = (Client::new(&shared_url()), Cluster::shared(), prefix());
    let kafka = format!(
        "kafka: {{bootstrap_servers: \"{}\", create_topics: true}}\n",
        cluster.servers
    );
    let bridge = Process::start(&yaml(&shared_url(), &prefix, "", &kafka));
    bridge.await_ready();
    let posted = bridge.post(&message("c1", "both"));
    assert_eq!(posted.json["receipt"], "published");
    assert_eq!(
        cluster.read(&format!("{prefix}message.sent.v1"))[0].value["id"],
        posted.json["id"]
    );
    assert_eq!(
        broker.drain_ids(&format!("{prefix}unrouted.v1")),
        [posted.json["id"].as_str().unwrap_or_default()]
    );
    bridge.assert_the_books_balance();
}
