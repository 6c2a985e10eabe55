//! What a RabbitMQ that is up does not take.

use super::proxy::Proxy;
use crate::amqp::client::Client;
use crate::amqp::node::Tenant;
use crate::process::{Process, await_some};

const DEAD_LETTERS: &str = "minchat.dead-letter.v1";

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
