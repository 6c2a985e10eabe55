//! Faults of RabbitMQ.

use std::time::Duration;

use super::checker::{Consumed, assert_a_fresh_event_arrives, assert_at_rest, check};
use super::senders::{Ledger, Senders};
use crate::amqp::client::{Client, quorum};
use crate::amqp::node::Node;
use crate::process::{Process, await_some};

const EXCHANGE: &str = "minchat.message.sent.v1";
const QUEUE: &str = "consumer";
/// The hedge of 250 ms and a sync of 50 ms, with three times the room.
const HEDGE: Duration = Duration::from_millis(900);
/// Everything that was in a batch when it failed may come twice.
const OF_A_FAILURE: usize = 20_000;

struct Scene {
    node: Node,
}

impl Scene {
    fn new() -> Self {
        Scene {
            node: Node::start(),
        }
    }

    fn yaml(&self, amqp: &str) -> String {
        format!(
            "sources: {{minchat: {{auth: {{none: true}}}}}}\namqp:\n  uri: {}\n{amqp}\n",
            self.node.url
        )
    }

    /// A bridge, and a queue for its messages.
    fn bridge(&self, amqp: &str) -> Process {
        let bridge = Process::start(&self.yaml(amqp));
        bridge.await_ready();
        await_some("the exchange", || {
            (bridge.metric(&["broker_up"]) == 1.0).then_some(())
        });
        self.bind();
        bridge
    }

    fn bind(&self) {
        let client = Client::new(&self.node.url);
        client.declare_queue(QUEUE, &quorum());
        client.bind(QUEUE, EXCHANGE, "message.sent", &[]);
        self.node.sync();
    }

    /// Ends the senders, and holds what is in the queue against what they were told.
    fn assert_all_is_well(
        &self,
        bridge: &Process,
        senders: Senders,
        most_duplicates: usize,
    ) -> Ledger {
        let ledger = senders.end();
        bridge.await_metric(&["spool_events"], 0.0);
        bridge.await_metric(&["lane_pending_events"], 0.0);
        let client = Client::new(&self.node.url);
        let consumed: Vec<_> = client
            .drain_bodies(QUEUE)
            .into_iter()
            .map(Consumed)
            .collect();
        check(&ledger, &consumed, most_duplicates);
        assert_a_fresh_event_arrives(bridge, |id| {
            client.drain_ids(QUEUE).iter().any(|one| one == id)
        });
        assert_at_rest(bridge);
        ledger
    }
}

#[test]
fn row_3_a_broker_that_is_killed_under_load_costs_no_sender_anything() {
    let scene = Scene::new();
    let bridge = scene.bridge("");
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(1000);
    scene.node.kill();
    senders.await_spooled(1000);
    assert_eq!(bridge.ask("/readyz").0, 200);
    scene.node.start_again();
    senders.await_accepted(500);
    let ledger = scene.assert_all_is_well(&bridge, senders, OF_A_FAILURE);
    assert_eq!(ledger.refused, [0; 0]);
    assert!(
        ledger.percentile(99) < HEDGE,
        "p99 of {:?}",
        ledger.percentile(99)
    );
    bridge.await_log(&["the broker is back", "spooled"]);
}

#[test]
fn row_18_an_alarm_sends_events_to_the_spool_until_it_ends() {
    let scene = Scene::new();
    let bridge = scene.bridge("");
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    scene.node.set_memory_limit("0");
    bridge.await_metric(&["amqp_connection_blocked"], 1.0);
    senders.await_spooled(500);
    scene.node.set_memory_limit("0.6");
    await_some("the backlog's end", || {
        (bridge.metric(&["spool_events", EXCHANGE]) == 0.0).then_some(())
    });
    senders.await_accepted(300);
    let ledger = scene.assert_all_is_well(&bridge, senders, OF_A_FAILURE);
    assert_eq!(ledger.refused, [0; 0]);
    assert!(
        ledger.percentile(99) < HEDGE,
        "p99 of {:?}",
        ledger.percentile(99)
    );
}

#[test]
fn row_19_an_exchange_that_is_deleted_and_made_again_gets_everything() {
    let scene = Scene::new();
    let bridge = scene.bridge("  declare: true");
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    let client = Client::new(&scene.node.url);
    client.delete_exchange(EXCHANGE);
    // The bridge makes the exchange anew; until a queue is bound again, the unrouted queue takes them.
    senders.await_accepted(300);
    let ledger = senders.end();
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let bodies = client
        .drain_bodies(QUEUE)
        .into_iter()
        .chain(client.drain_bodies("minchat.unrouted.v1"));
    let consumed: Vec<_> = bodies.map(Consumed).collect();
    check(&ledger, &consumed, OF_A_FAILURE);
    assert_eq!(ledger.refused, [0; 0]);
    assert_at_rest(&bridge);
}

#[test]
fn row_19_what_no_queue_takes_waits_for_one() {
    let scene = Scene::new();
    let client = Client::new(&scene.node.url);
    for name in crate::payload::destinations("minchat.") {
        client.declare_exchange(&name, lapin::ExchangeKind::Topic);
    }
    let bridge = Process::start(&scene.yaml("  declare: false"));
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    bridge.await_log(&["ERROR", EXCHANGE, "returned"]);
    senders.await_spooled(300);
    assert_eq!(
        bridge.metric(&["published_total{", EXCHANGE]),
        0.0,
        "never a false confirm"
    );
    scene.bind();
    await_some("the backlog's end", || {
        (bridge.metric(&["spool_events", EXCHANGE]) == 0.0).then_some(())
    });
    senders.await_accepted(200);
    let ledger = scene.assert_all_is_well(&bridge, senders, OF_A_FAILURE);
    assert_eq!(ledger.refused, [0; 0]);
}
