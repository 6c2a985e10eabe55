//! What a RabbitMQ that is up does not take.

use std::time::{Duration, Instant};

use super::checker::note;
use super::proxy::Proxy;
use super::scenes::{MESSAGES, Rabbit};
use super::senders::Senders;
use super::thorough;
use crate::amqp::client::{Client, text};
use crate::amqp::node::{Node, Tenant};
use crate::payload::{message, prefix, sample};
use crate::process::{Process, await_some, await_within};

/// What is promised of the rests between two attempts.
const LONGEST_REST: Duration = Duration::from_secs(120);
const DEAD_LETTERS: &str = "minchat.dead-letter.v1";

/// One queue of an exchange is full, the other takes everything, and so takes each attempt.
#[test]
fn row_57_what_a_full_queue_refuses_is_repeated_to_the_others_ever_more_rarely() {
    let scene = Rabbit::new();
    let bridge = scene.bridge("");
    let client = scene.client();
    let full = [
        ("x-max-length", lapin::types::AMQPValue::LongInt(1)),
        ("x-overflow", text("reject-publish")),
    ];
    client.declare_queue("full", &full);
    client.bind("full", MESSAGES, "message.sent", &[]);
    let nacks = || bridge.metric(&["publish_failures_total", MESSAGES, "\"nack\""]);
    let senders = Senders::start(bridge.webhooks(), 4);
    await_some("a nack", || (nacks() > 0.0).then_some(()));
    senders.await_spooled(20);
    let ledger = senders.end();
    bridge.await_log(&["a queue is full", "the attempts slow down", MESSAGES]);
    // The first batch had several events. From then on one is tried at a time.
    let rest_before_the_next = || {
        let (began, before) = (Instant::now(), nacks());
        await_within(LONGEST_REST, "one more attempt", || {
            (nacks() > before).then_some(())
        });
        began.elapsed()
    };
    // Rests begin at 50 ms and double. If they ended at 2 s, as those between connections do, none would be so long.
    let long = thorough(Duration::from_secs(40), Duration::from_secs(8));
    let longest = (0..thorough(14, 10))
        .map(|_| rest_before_the_next())
        .find(|rest| *rest > long);
    assert!(longest.is_some(), "attempts don't slow down");
    let attempts = nacks() as usize;
    await_some("room for everything", || {
        client.purge("full");
        (bridge.metric(&["lane_pending_events"]) == 0.0).then_some(())
    });
    // Room for the fresh event of the check.
    client.purge("full");
    let later = nacks() as usize;
    note(&format!(
        "{attempts} refused attempts while it was full, {later} at the end"
    ));
    assert_eq!(ledger.refused, [0; 0]);
    scene.assert_all_was_published(&bridge, &ledger, later);
}

/// However many destinations there are.
#[test]
fn a_broker_that_refuses_the_login_is_asked_every_ten_seconds_at_most() {
    const OBSERVED: Duration = Duration::from_secs(20);
    let proxy = Proxy::new();
    let tenant = Tenant::new();
    proxy.lead_to(tenant.address());
    let (there, here) = (tenant.address().to_string(), proxy.address.to_string());
    let right = tenant.url.replace(&there, &here);
    let password = format!(":{}@", tenant.name);
    let wrong = right.replace(&password, ":wr0ng@");
    let sources: Vec<_> = (0..20)
        .map(|n| format!("s{n}: {{prefix: s{n}., auth: {{none: true}}}}"))
        .collect();
    let yaml = |url: &str| {
        format!(
            "sources: {{{}}}\namqp: {{uri: \"{url}\"}}\n",
            sources.join(", ")
        )
    };
    let bridge = Process::start(&yaml(&wrong));
    bridge.await_log(&["ERROR", "until somebody mends this", "authentication"]);
    let (began, before) = (Instant::now(), proxy.connections());
    await_some("the end of the observation", || {
        (began.elapsed() >= OBSERVED).then_some(())
    });
    let attempts = proxy.connections() - before;
    note(&format!(
        "{attempts} refused logins in {OBSERVED:?} with 120 destinations"
    ));
    // Rests of at least three quarters of 1, 2, 4, 8 and 10 s.
    assert!((1..=5).contains(&attempts), "{attempts}");
    // New settings are tried at once, and no attempt is made for each destination.
    std::fs::write(bridge.path().join("config.yaml"), yaml(&right)).expect("it can be written");
    bridge.signal("HUP");
    bridge.await_metric(&["broker_up"], 1.0);
    let post = || bridge.post_to("/webhooks/s7", &message("c1", "hi"));
    await_some("an event that is published", || {
        (post().json["receipt"] == "published").then_some(())
    });
    assert!(proxy.connections() <= before + attempts + 2);
}

#[test]
fn a_broker_that_allows_few_channels_gets_as_many_connections_as_that_takes() {
    const KINDS: [&str; 4] = [
        "message-sent.current",
        "user-daily-active.current",
        "conversation-created.current",
        "ai-agent-action.current",
    ];
    let node = Node::start();
    for (channel_max, connections) in [(1, 6), (3, 3), (7, 1)] {
        let set = format!("application:set_env(rabbit, channel_max, {channel_max}).");
        node.ctl(&["eval", &set]);
        let prefix = prefix();
        let yaml = format!(
            "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\namqp: {{uri: \"{}\"}}\n",
            node.url
        );
        // The first has to create everything. What is missing costs channels too.
        let mut first = Process::start(&yaml);
        first.await_ready();
        first.await_metric(&["broker_up"], 1.0);
        for payload in KINDS.map(sample).iter().chain(&["{}"]) {
            await_some("an event that is published", || {
                let posted = first.post(payload);
                assert_eq!(posted.status, 202, "{payload}");
                (posted.json["receipt"] == "published").then_some(())
            });
        }
        assert_eq!(first.post("no JSON").status, 400);
        first.await_metric(&["lane_pending_events"], 0.0);
        first.stop();

        let second = Process::start(&yaml);
        second.await_ready();
        second.await_metric(&["broker_up"], 1.0);
        let what = format!("{connections} connections of {channel_max} channels");
        await_some(&what, || {
            let listed = node.ctl(&["-q", "list_connections", "user"]);
            let ours = listed.lines().filter(|user| *user == "guest").count();
            (ours == connections).then_some(())
        });
    }
}

/// The broker closes a channel for each event that is too large. lapin never uses the number of such a channel again on
/// the same connection.
#[test]
fn a_lane_outlives_more_channels_than_a_connection_may_have() {
    const CHANNELS: usize = 8;
    let node = Node::with(&[
        "max_message_size = 65536",
        &format!("channel_max = {CHANNELS}"),
    ]);
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\namqp: {{uri: \"{}\"}}\n",
        node.url
    ));
    bridge.await_ready();
    bridge.await_metric(&["broker_up"], 1.0);
    let large = message("c1", &"x".repeat(65536));
    for n in 1..=2 * CHANNELS {
        assert_eq!(bridge.post(&large).status, 202);
        bridge.await_metric(&["dead_letters_total", MESSAGES], n as f64);
    }
    for payload in [message("c1", "hi").as_str(), "no JSON"] {
        assert!([202, 400].contains(&bridge.post(payload).status));
    }
    bridge.await_metric(&["lane_pending_events"], 0.0);
    assert_eq!(bridge.metric(&["published_total{", MESSAGES]), 1.0);
    assert_eq!(bridge.metric(&["published_total{", DEAD_LETTERS]), 1.0);
}

/// Neither their exchange nor the disk takes the first of them.
#[test]
fn a_backlog_is_published_though_the_events_before_it_wait_for_the_dead_letters() {
    const LARGE: usize = 4;
    const SMALL: usize = 20;
    let tenant = Tenant::new();
    let proxy = Proxy::new();
    let (there, here) = (tenant.address(), proxy.address.to_string());
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\namqp: {{uri: \"{}\"}}\n",
        tenant.url.replace(&there.to_string(), &here)
    ));
    bridge.await_ready();
    // More than is read back from the spool at once, and each too large for the broker.
    let large = format!("no JSON {}", "x".repeat(400 << 10));
    for _ in 0..LARGE {
        assert_eq!(bridge.post(&large).status, 400);
    }
    for _ in 0..SMALL {
        assert_eq!(bridge.post("no JSON").status, 400);
    }
    let in_the_way = bridge.path().join("data/spool/dead-letters");
    std::fs::write(&in_the_way, "no directory").expect("it can be written");
    proxy.lead_to(there);
    bridge.await_log(&["a dead letter can't be kept as a file", "trying again"]);
    let of_dead_letters = |metric: &str| bridge.metric(&[metric, DEAD_LETTERS]);
    await_some("the backlog published", || {
        (of_dead_letters("published_total{") == SMALL as f64).then_some(())
    });
    // New ones go on too.
    assert_eq!(bridge.post("no JSON").status, 400);
    await_some("a new one published", || {
        (of_dead_letters("published_total{") > SMALL as f64).then_some(())
    });
    assert_eq!(of_dead_letters("lane_pending_events"), LARGE as f64);
    std::fs::remove_file(&in_the_way).expect("it is there");
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let kept = std::fs::read_dir(&in_the_way).expect("it is a directory now");
    assert_eq!(kept.count(), LARGE);
    let there = Client::new(&tenant.owner_url()).drain_ids(DEAD_LETTERS);
    assert_eq!(there.len(), SMALL + 1);
    bridge.assert_the_books_balance();
}
