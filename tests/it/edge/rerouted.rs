//! Other sources and routes while the bridge serves.

use std::fs;

use serde_json::Value;

use super::PAYLOAD;
#[cfg(feature = "amqp")]
use crate::amqp::client::{Client, id, quorum, shared_url};
use crate::client::{Connection, Request};
#[cfg(feature = "kafka")]
use crate::cluster::{Cluster, Record};
#[cfg(feature = "kafka")]
use crate::command::run;
#[cfg(feature = "kafka")]
use crate::load::{Load, assert_none_is_lost};
#[cfg(feature = "kafka")]
use crate::node::Node;
#[cfg(feature = "kafka")]
use crate::payload::message;
#[cfg(any(feature = "amqp", feature = "kafka"))]
use crate::payload::prefix;
use crate::process::{Process, await_some, with_sources};
#[cfg(feature = "kafka")]
use crate::spool_commands::{MESSAGES, spooled};

const RELOADED: &str = "reloaded the configuration";

#[cfg(feature = "kafka")]
const TOPIC: &str = "minchat.message.sent.v1";

fn write(bridge: &Process, yaml: &str) {
    fs::write(bridge.path().join("config.yaml"), with_sources(yaml)).expect("it can be written");
}

/// Another configuration, taken by SIGHUP.
fn reload(bridge: &Process, yaml: &str) {
    let reloaded = || bridge.log().matches(RELOADED).count();
    let before = reloaded();
    write(bridge, yaml);
    bridge.signal("HUP");
    await_some(RELOADED, || (reloaded() > before).then_some(()));
}

/// The events in a file, in order.
fn events(bridge: &Process, name: &str) -> Vec<Value> {
    let file = bridge.path().join(format!("data/events/{name}.ndjson"));
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[test]
fn an_event_goes_where_its_route_leads_when_it_comes() {
    const BEFORE: &str = "minchat.message.sent.v1";
    let bridge = Process::start("{}\n");
    let first = bridge.post(PAYLOAD);
    let other = "envelope: {schema_base: 'urn:other:'}\nroutes: {message.sent: {file: {name: elsewhere}}}\n";
    reload(&bridge, other);
    let second = bridge.post(PAYLOAD);
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(events(&bridge, BEFORE).len(), 1);
    let elsewhere = events(&bridge, "elsewhere");
    assert_eq!(elsewhere[0]["id"], second.json["id"]);
    assert_eq!(elsewhere[0]["dataschema"], "urn:other:message.sent:1.0");
    let dry = bridge.post_to("/webhooks/minchat?dry_run=true", PAYLOAD);
    assert_eq!(dry.json["destinations"][0], "file:elsewhere");
    let (_, ready) = bridge.ask("/readyz?verbose");
    assert!(ready.contains("file:elsewhere ok"), "{ready}");
    assert!(!ready.contains(BEFORE), "{ready}");

    let schemas = "envelope: {schema_base: 'tag:minchat.io,2026:bridge:schema:'}";
    reload(
        &bridge,
        &format!("{schemas}\nroutes: {{message.sent: {{discard: true}}}}\n"),
    );
    assert_eq!(bridge.post(PAYLOAD).json["receipt"], "discarded");
    reload(&bridge, "routes: {message.sent: {file: {}}}\n");
    reload(&bridge, "{}\n");
    assert_eq!(bridge.post(PAYLOAD).json["receipt"], "published");
    assert_eq!(events(&bridge, BEFORE).len(), 2);
    let published = bridge.metric(&["published_total", BEFORE]);
    assert_eq!(published, 2.0, "one series, whatever came between");
    bridge.assert_the_books_balance();
}

#[test]
fn sources_come_and_go_and_are_called_otherwise() {
    let bridge = Process::start("{}\n");
    let status = |path: &str| bridge.post_to(path, PAYLOAD).status;
    assert_eq!(status("/webhooks/another"), 404);
    let open = "auth: {none: true}";
    let both = format!("sources: {{another: {{{open}}}, minchat: {{{open}}}}}\n");
    reload(&bridge, &both);
    assert_eq!(status("/webhooks/another"), 202);
    assert_eq!(status("/webhooks/minchat"), 202);
    let of_another = events(&bridge, "another.message.sent.v1");
    assert_eq!(of_another[0]["source"], "/webhooks/another");
    let of_minchat = events(&bridge, "minchat.message.sent.v1");
    assert_eq!(of_minchat[0]["source"], "/webhooks/minchat");
    let accepted = |source: &str| {
        let source = format!("source=\"{source}\"");
        bridge.metric(&["webhooks_accepted_total{", &source])
    };
    assert_eq!((accepted("another"), accepted("minchat")), (1.0, 1.0));

    let renamed = format!("sources: {{another: {{prefix: renamed., uri: /app, {open}}}}}\n");
    reload(&bridge, &renamed);
    assert_eq!(status("/webhooks/minchat"), 404);
    assert_eq!(status("/webhooks/another"), 202);
    let of_renamed = events(&bridge, "renamed.message.sent.v1");
    assert_eq!(of_renamed[0]["source"], "/app");
    assert_eq!(events(&bridge, "another.message.sent.v1").len(), 1);
    assert_eq!((accepted("another"), accepted("minchat")), (2.0, 1.0));
    let refused = bridge.post_to("/webhooks/another", "no JSON");
    let letters = events(&bridge, "renamed.dead-letter.v1");
    assert_eq!(letters[0]["id"], refused.json["dead_letter_id"]);
    assert_eq!(letters[0]["data"]["request"]["source"], "another");
    bridge.assert_the_books_balance();
}

#[test]
fn a_webhook_that_is_under_way_stays_with_the_configuration_that_let_it_in() {
    let request = Request::post("/webhooks/minchat", PAYLOAD).bytes();
    let (head, rest) = request.split_at(request.len() - 10);
    for (sources, status, receipt) in [
        ("another: {auth: {none: true}}", 404, Value::Null),
        (
            "minchat: {prefix: p., uri: /u, auth: {none: true}}",
            202,
            "discarded".into(),
        ),
    ] {
        let bridge = Process::start("{}\n");
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(head);
        bridge.await_metric(&["http_requests_in_flight"], 1.0);
        let route = "routes: {message.sent: {discard: true}}";
        reload(&bridge, &format!("sources: {{{sources}}}\n{route}\n"));
        let now = bridge.post(PAYLOAD);
        assert_eq!((now.status, &now.json["receipt"]), (status, &receipt));
        connection.send(rest);
        let answer = connection.answer().expect("it is answered");
        assert_eq!(answer.json()["receipt"], "published");
        let there = events(&bridge, "minchat.message.sent.v1");
        assert_eq!(there[0]["id"], answer.json()["id"]);
        assert_eq!(there[0]["source"], "/webhooks/minchat");
    }
}

#[test]
fn a_file_that_is_cut_at_a_lines_end_moves_no_event_and_lifts_no_limit() {
    const WHOLE: &str = "\
sources:
  minchat:
    auth: {none: true}
    uri: /app
    prefix: tenant.
    rate_limit: {per_second: 1, burst: 3}
envelope: {schema_base: 'urn:other:'}
routes:
  conversation.created:
    discard: true
  message.sent:
    file: {name: moved}
";
    let bridge = Process::start(WHOLE);
    let reloads = |text: &str| bridge.log().matches(text).count();
    for (cut, told) in [
        ("  message.sent:", "routes.message.sent was given"),
        ("routes:", "routes.conversation.created was given"),
        ("envelope:", "envelope.schema_base was given"),
        ("    rate_limit:", "write rate_limit: false"),
        ("    prefix:", "sources.minchat.prefix was given"),
        ("    uri:", "sources.minchat.uri was given"),
    ] {
        let before = reloads("the old one stays");
        let (beginning, _) = WHOLE.split_once(cut).expect("it has that");
        fs::write(bridge.path().join("config.yaml"), beginning).expect("it can be written");
        bridge.signal("HUP");
        bridge.await_log(&["ERROR", "the old one stays", told]);
        await_some("that it was refused", || {
            (reloads("the old one stays") > before).then_some(())
        });
    }
    let statuses = [1, 2, 3, 4].map(|_| bridge.post(PAYLOAD).status);
    assert_eq!(statuses, [202, 202, 202, 429]);
    let moved = events(&bridge, "moved");
    assert_eq!(moved.len(), 3);
    assert_eq!(moved[0]["source"], "/app");
    assert_eq!(moved[0]["dataschema"], "urn:other:message.sent:1.0");

    let on_purpose = "\
sources: {minchat: {auth: {none: true}, uri: /webhooks/minchat, prefix: minchat., rate_limit: false}}
envelope: {schema_base: 'tag:minchat.io,2026:bridge:schema:'}
routes: {conversation.created: {file: {}}, message.sent: {file: {}}}
";
    reload(&bridge, on_purpose);
    reload(&bridge, "{}\n");
    let statuses = [1, 2, 3, 4, 5].map(|_| bridge.post(PAYLOAD).status);
    assert_eq!(statuses, [202; 5]);
    assert_eq!(events(&bridge, "minchat.message.sent.v1").len(), 5);
}

#[cfg(feature = "kafka")]
fn kafka(servers: &str, prefix: &str, routes: &str) -> String {
    format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
         kafka: {{bootstrap_servers: \"{servers}\", create_topics: true}}\n\
         publish: {{spool_after: 20ms}}\nroutes: {{{routes}}}\n"
    )
}

#[cfg(feature = "kafka")]
#[test]
fn every_event_under_load_is_on_one_side_of_a_change_of_its_route() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&kafka(&cluster.servers, &prefix, ""));
    bridge.await_ready();
    let load = Load::start(&bridge, 8);
    await_some("events before", || (load.accepted() > 300).then_some(()));
    let moved = format!("{prefix}moved");
    let route = format!("message.sent: {{kafka: {{topic: {moved}}}}}");
    write(&bridge, &kafka(&cluster.servers, &prefix, &route));
    bridge.await_log(&[RELOADED, "a file changed"]);
    let before = load.accepted();
    await_some("events after", || {
        (load.accepted() > before + 300).then_some(())
    });
    let (accepted, refused) = load.end();
    assert_eq!(refused, [0; 0]);
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let fresh = bridge.post(&message("fresh", "0"));
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let old = cluster.read(&format!("{prefix}message.sent.v1"));
    let new = cluster.read(&moved);
    assert!(new.iter().any(|record| fresh.json["id"] == record.id()));
    let ids = old.iter().chain(&new).map(|record| record.id().to_owned());
    assert_none_is_lost(&accepted, ids);
    for chat in (0..8).map(|chat| format!("chat{chat}")) {
        let numbers = |records: &[Record]| -> Vec<u64> {
            let mine = records.iter().filter(|one| one.key.as_ref() == Some(&chat));
            let texts = mine.map(|one| one.value["data"]["text"].as_str().unwrap_or_default());
            texts.map(|text| text.parse().expect("a number")).collect()
        };
        let (old, new) = (numbers(&old), numbers(&new));
        assert!(
            old.iter().max() < new.iter().min(),
            "{chat}: {old:?} {new:?}"
        );
    }
    bridge.assert_the_books_balance();
}

#[cfg(feature = "kafka")]
#[test]
fn what_a_removed_route_left_is_shown_and_published_once_its_broker_is_back() {
    let node = Node::kafka(&[]);
    let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
    let bridge = Process::start(&kafka(&servers, "minchat.", ""));
    await_some("an event that is published at once", || {
        (bridge.post(&message("c1", "first")).json["receipt"] == "published").then_some(())
    });
    // What came before the topic was there waited in the spool.
    let list = ["spool", "list"];
    await_some("an empty spool", || {
        let listed = run(bridge.path(), &list).with(0).stdout;
        listed.contains("no events wait").then_some(())
    });
    let before = bridge.metric(&["published_total", TOPIC]);
    node.kill();
    let posted = spooled(&bridge, 3);

    let unrouted = kafka(&servers, "minchat.", "message.sent: {discard: true}");
    reload(&bridge, &unrouted);
    let destination = MESSAGES;
    bridge.await_log(&["WARN", "no route leads to this destination", destination]);
    assert_eq!(bridge.post(PAYLOAD).json["receipt"], "discarded");
    let listed = run(bridge.path(), &["spool", "list", "--json"]).with(0);
    let listed = listed.json();
    assert_eq!(listed[0]["destination"], destination);
    assert_eq!(listed[0]["leads_there"], "no-route");
    assert_eq!(listed[0]["events"], 3);

    node.start();
    bridge.await_metric(&["spool_events"], 0.0);
    let records = Cluster::at(&servers).read(TOPIC);
    let ids: Vec<&str> = records.iter().map(Record::id).collect();
    assert!(ids.ends_with(&posted.iter().map(String::as_str).collect::<Vec<_>>()));
    reload(
        &bridge,
        &kafka(&servers, "minchat.", "message.sent: {kafka: {}}"),
    );
    // On a busy machine its confirm may take longer than `publish.spool_after`.
    assert_eq!(bridge.post(PAYLOAD).status, 202);
    bridge.await_metric(&["published_total", TOPIC], before + 4.0);
    bridge.assert_the_books_balance();
}

#[cfg(feature = "amqp")]
#[test]
fn the_exchanges_of_a_new_source_are_declared_and_ready() {
    let (broker, old, new) = (Client::new(&shared_url()), prefix(), prefix());
    let source =
        |name: &str, prefix: &str| format!("{name}: {{prefix: {prefix}, auth: {{none: true}}}}");
    let yaml = |sources: &str| {
        format!(
            "sources: {{{sources}}}\namqp: {{uri: \"{}\"}}\nspool: {{max_size: 0}}\n",
            shared_url()
        )
    };
    let minchat = source("minchat", &old);
    let bridge = Process::start(&yaml(&minchat));
    bridge.await_ready();
    reload(
        &bridge,
        &yaml(&format!("{}, {minchat}", source("another", &new))),
    );
    let exchange = format!("{new}message.sent.v1");
    let (_, ready) = bridge.ask("/readyz?verbose");
    assert!(ready.contains(&format!("amqp:{exchange}")), "{ready}");
    bridge.await_ready();
    broker.declare_queue(&exchange, &quorum());
    broker.bind(&exchange, &exchange, "message.sent", &[]);
    let posted = bridge.post_to("/webhooks/another", PAYLOAD);
    assert_eq!(posted.json["receipt"], "published");
    let message = broker
        .get(&exchange)
        .expect("it was confirmed before the answer");
    assert_eq!(posted.json["id"], id(&message));
    bridge.assert_the_books_balance();
}
