//! The whole way to RabbitMQ: the binary, and RabbitMQ.

use lapin::message::BasicGetMessage;
use lapin::types::AMQPValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::amqp::client::{Client, id, quorum, shared_url};
use crate::amqp::node::Node;
use crate::cluster::Cluster;
use crate::load::{assert_none_is_lost, through_an_outage};
use crate::payload::{destinations, message, prefix, sample};
use crate::process::{Process, await_some, program};

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
        assert_message(&message, &envelope, kind);
    }
    bridge.assert_the_books_balance();
}

/// What the contract says of a message besides its body.
fn assert_message(message: &BasicGetMessage, envelope: &serde_json::Value, kind: &str) {
    let text = |text: &Option<lapin::types::ShortString>| {
        text.as_ref().map(|text| text.as_str().to_owned())
    };
    let told = &message.delivery.properties;
    for (property, expected) in [
        (
            text(told.content_type()),
            "application/cloudevents+json; charset=UTF-8",
        ),
        (
            text(told.kind()),
            envelope["type"].as_str().expect("a type"),
        ),
        (text(told.app_id()), "minchat-bridge"),
        (Some(message.delivery.routing_key.to_string()), kind),
    ] {
        assert_eq!(property.as_deref(), Some(expected));
    }
    assert_eq!(*told.delivery_mode(), Some(2), "it survives a restart");
    let received = envelope["time"].as_str().expect("a time");
    let received = OffsetDateTime::parse(received, &Rfc3339).expect("it is one");
    let stamp = u64::try_from(received.unix_timestamp()).expect("after 1970");
    assert_eq!(*told.timestamp(), Some(stamp));
    let headers = told.headers().as_ref().expect("there are headers").inner();
    let key = headers
        .get("partitionkey")
        .and_then(AMQPValue::as_long_string);
    assert_eq!(
        key.map(|key| key.to_string()).as_deref(),
        envelope["partitionkey"].as_str()
    );
}

#[test]
fn in_binary_mode_the_body_is_data_and_the_attributes_are_in_headers() {
    let (broker, prefix) = (Client::new(&shared_url()), prefix());
    let settings = yaml(&shared_url(), &prefix, "  content_mode: binary", "");
    let bridge = Process::start(&settings);
    bridge.await_ready();
    let body = message("c1", "hi");
    let posted = bridge.post(&body);
    assert_eq!(posted.json["receipt"], "published");
    let message = broker
        .get(&format!("{prefix}unrouted.v1"))
        .expect("it was confirmed before the answer");
    assert_eq!(message.delivery.data, body.as_bytes());
    let told = &message.delivery.properties;
    let content_type = told.content_type().as_ref().map(|text| text.as_str());
    assert_eq!(content_type, Some("application/json"));
    let headers = told.headers().as_ref().expect("there are headers").inner();
    let header = |name: &str| Some(headers.get(name)?.as_long_string()?.to_string());
    let time = header("cloudEvents_time").expect("there is always a time");
    assert!(OffsetDateTime::parse(&time, &Rfc3339).is_ok(), "{time}");
    let id = posted.json["id"].as_str().expect("a 202 has an id");
    let schema = "tag:minchat.io,2026:bridge:schema:message.sent:1.0";
    for (name, value) in [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", id),
        ("cloudEvents_source", "/webhooks/minchat"),
        ("cloudEvents_type", "io.minchat.message.sent.v1"),
        ("cloudEvents_subject", "chats/c1"),
        ("cloudEvents_dataschema", schema),
        ("cloudEvents_partitionkey", "c1"),
        ("partitionkey", "c1"),
    ] {
        assert_eq!(header(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(header("cloudEvents_datacontenttype"), None);
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
    for name in destinations(&prefix) {
        broker.declare_exchange(&name, lapin::ExchangeKind::Topic);
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
    assert!(bridge.metric(&["publish_failures_total", &exchange, "returned"]) > 0.0);
    assert!(bridge.metric(&["publish_repeated_total", "amqp"]) > 0.0);
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
    let kill = || {
        node.sync();
        node.kill();
    };
    let accepted = through_an_outage(&bridge, kill, || node.start_again());
    await_some("the count of the return", || {
        (bridge.metric(&["broker_reconnects_total", "amqp"]) > 0.0).then_some(())
    });
    // What came while the binding was not back yet is where everything unrouted is.
    let broker = Client::new(&node.url);
    let there = [exchange, "minchat.unrouted.v1"].map(|queue| broker.drain_ids(queue));
    assert_none_is_lost(&accepted, there.into_iter().flatten());
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

#[test]
fn a_memory_alarm_is_seen_and_its_end_too() {
    let node = Node::start();
    let bridge = Process::start(&yaml(
        &node.url,
        "minchat.",
        "",
        "publish: {deadline: 1s}\n",
    ));
    bridge.await_ready();
    node.set_memory_limit("0");
    // RabbitMQ blocks a connection when something is published on it.
    await_some("a 503", || {
        (bridge.post(&message("c1", "blocked")).status == 503).then_some(())
    });
    bridge.await_metric(&["amqp_connection_blocked"], 1.0);
    bridge.await_metric(&["broker_up", "amqp"], 0.0);
    assert!(bridge.metric(&["publish_failures_total", "blocked"]) > 0.0);
    node.set_memory_limit("0.6");
    await_some("a 202", || {
        (bridge.post(&message("c1", "free")).status == 202).then_some(())
    });
    bridge.await_metric(&["amqp_connection_blocked"], 0.0);
    bridge.await_metric(&["broker_up", "amqp"], 1.0);
    bridge.assert_the_books_balance();
}

#[test]
fn an_operator_creates_what_is_missing_and_sees_that_it_is_there() {
    let prefix = prefix();
    let dir = tempfile::tempdir().expect("a directory can be made");
    let config = dir.path().join("config.yaml");
    std::fs::write(&config, yaml(&shared_url(), &prefix, "", "")).expect("it can be written");
    let run = |words: &[&str]| program(words, &["--config", config.to_str().expect("it is UTF-8")]);
    let (code, text) = run(&["topics", "check"]);
    assert_eq!(code, 69);
    assert!(
        text.contains(&format!("[-] amqp:{prefix}message.sent.v1")),
        "{text}"
    );
    assert_eq!(run(&["topics", "create"]).0, 0);
    assert_eq!(run(&["check", "--connect"]).0, 0);
}
