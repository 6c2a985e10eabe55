//! Faults of some of three Kafka nodes that are one cluster.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::checker::{KAFKA_REPEATS, check};
use super::scenes::{assert_all_is_well, await_draining_to, consumed};
use super::senders::{Ledger, Senders};
use super::thorough;
use crate::client::{Connection, Request};
use crate::cluster::{Cluster, Record};
use crate::node::Node;
use crate::payload::{destinations, message, prefix, sample};
use crate::process::{Process, await_some};

/// As an operator has it who wants to lose nothing.
const IN_SYNC: [(&str, &str); 1] = [("min.insync.replicas", "2")];
const ALL: [i32; 3] = [1, 2, 3];

/// The nodes, with ids from 1 on: for one row at a time.
struct Three {
    nodes: Vec<Node>,
    turn: Mutex<()>,
}

impl Three {
    /// One for all rows, for as long as one of them is played or waits for its turn.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Three>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let three = shared.upgrade().unwrap_or_else(|| {
            Arc::new(Three {
                nodes: Node::kafka_cluster(ALL.len()),
                turn: Mutex::default(),
            })
        });
        *shared = Arc::downgrade(&three);
        three
    }

    fn node(&self, id: i32) -> &Node {
        let place = usize::try_from(id).expect("ids are positive") - 1;
        &self.nodes[place]
    }
}

/// A row's turn: topics of its own on the three nodes, a bridge before them, senders whose first events are through.
struct Scene<'a> {
    three: &'a Three,
    cluster: Cluster,
    topic: String,
    bridge: Process,
    senders: Senders,
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Scene<'a> {
    /// The topic of messages is on these brokers, the others are on all.
    fn new(three: &'a Three, brokers: &[i32], settings: &[(&str, &str)]) -> Self {
        let turn = three.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // A row that failed may have left some that are down.
        let down = three.nodes.iter().filter(|node| !node.is_running());
        down.for_each(Node::start);
        let servers: Vec<_> = three
            .nodes
            .iter()
            .map(|node| node.env("KAFKA_BOOTSTRAP_SERVERS"))
            .collect();
        let cluster = Cluster::at(&servers.join(","));
        let prefix = prefix();
        let topic = format!("{prefix}message.sent.v1");
        cluster.create_on(brokers, &topic, 3, settings);
        for other in destinations(&prefix).filter(|name| *name != topic) {
            cluster.create_on(&ALL, &other, 1, &IN_SYNC);
        }
        let bridge = Process::start(&format!(
            "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
             kafka: {{bootstrap_servers: \"{}\"}}\n",
            cluster.servers
        ));
        bridge.await_ready();
        let senders = Senders::start(bridge.webhooks(), 8);
        await_some("a published event", || {
            (bridge.metric(&["published_total{", &topic]) > 0.0).then_some(())
        });
        senders.await_accepted(300);
        Scene {
            three,
            cluster,
            topic,
            bridge,
            senders,
            _turn: turn,
        }
    }

    /// Waits until each of the topic's partitions has so many replicas that are in sync.
    fn await_in_sync(&self, replicas: usize) {
        await_some("replicas in sync", || {
            let leaders = self.cluster.leaders(&self.topic);
            let mut all = leaders.iter();
            all.all(|(leader, in_sync)| leader.is_some() && in_sync.len() == replicas)
                .then_some(())
        });
    }

    fn await_draining(&self) {
        await_draining_to(&self.bridge, &self.topic);
    }

    /// Ends the senders, and holds what is in the topic against what they were told.
    fn end(self) -> Ledger {
        self.senders.await_accepted(100);
        let ledger = self.senders.end();
        assert_eq!(ledger.refused, [0; 0]);
        assert_all_is_well(&self.bridge, &self.cluster, &self.topic);
        check(
            &ledger,
            &consumed(&self.cluster, &self.topic),
            KAFKA_REPEATS,
        );
        ledger
    }
}

#[test]
fn row_9_a_leader_that_dies_in_a_batch_costs_no_event_and_no_order() {
    let three = Three::shared();
    let scene = Scene::new(&three, &ALL, &IN_SYNC);
    for _ in 0..thorough(6, 1) {
        scene.await_in_sync(ALL.len());
        let (leader, _) = scene.cluster.leaders(&scene.topic)[0].clone();
        let leader = leader.expect("it has one");
        scene.three.node(leader).kill();
        await_some("another leader", || {
            let leaders = scene.cluster.leaders(&scene.topic);
            let mut all = leaders.iter();
            all.all(|(now, _)| now.is_some_and(|now| now != leader))
                .then_some(())
        });
        scene.await_draining();
        scene.senders.await_accepted(200);
        scene.three.node(leader).start();
    }
    scene.end();
}

#[test]
fn row_10_a_partition_without_a_leader_sends_only_its_destination_to_the_spool() {
    const ONLY: i32 = 3;
    let three = Three::shared();
    let scene = Scene::new(&three, &[ONLY], &[]);
    let bridge = &scene.bridge;
    scene.three.node(ONLY).stop();
    scene.senders.await_spooled(500);
    let leaders = scene.cluster.leaders(&scene.topic);
    assert!(
        leaders.iter().all(|(leader, _)| leader.is_none()),
        "{leaders:?}"
    );
    let others = "user.daily-active.v1";
    for _ in 0..20 {
        await_some("an event of another destination that is published", || {
            let posted = bridge.post(sample("user-daily-active.current"));
            assert_eq!(posted.status, 202, "{:?}", posted.json);
            (posted.json["receipt"] == "published").then_some(())
        });
    }
    bridge.await_metric(&["lane_pending_events", others], 0.0);
    assert!(bridge.metric(&["spool_events", &scene.topic]) >= 500.0);
    assert_eq!(bridge.ask("/readyz").0, 200);
    scene.three.node(ONLY).start();
    scene.await_draining();
    scene.end();
}

#[test]
fn row_11_too_few_replicas_in_sync_are_no_error_to_a_sender() {
    let three = Three::shared();
    let scene = Scene::new(&three, &[1, 2], &IN_SYNC);
    scene.await_in_sync(2);
    scene.three.node(2).stop();
    scene.await_in_sync(1);
    let published = || scene.bridge.metric(&["published_total{", &scene.topic]);
    scene.senders.await_spooled(200);
    let before = published();
    scene.senders.await_spooled(500);
    assert_eq!(published(), before, "nothing is confirmed meanwhile");
    scene.three.node(2).start();
    scene.await_in_sync(2);
    scene.await_draining();
    scene.end();
}

#[test]
fn a_partition_that_does_not_answer_holds_no_other_partition_back() {
    const FROZEN: i32 = 3;
    const EVENTS: usize = 40;
    let three = Three::shared();
    let turn = three.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let down = three.nodes.iter().filter(|node| !node.is_running());
    down.for_each(Node::start);
    let servers: Vec<_> = three
        .nodes
        .iter()
        .map(|node| node.env("KAFKA_BOOTSTRAP_SERVERS"))
        .collect();
    let cluster = Cluster::at(&servers.join(","));
    let prefix = prefix();
    let topic = format!("{prefix}message.sent.v1");
    // One partition on each node, by their order.
    cluster.create_one_each(&ALL, &topic);
    for other in destinations(&prefix).filter(|name| *name != topic) {
        cluster.create_on(&[1], &other, 1, &[]);
    }
    // Without a spool nothing but the confirm answers.
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
         kafka: {{bootstrap_servers: \"{}\"}}\nspool: {{max_size: 0}}\n\
         publish: {{deadline: 8s}}\nhttp: {{shutdown_timeout: 40s}}\n",
        cluster.servers
    ));
    bridge.await_ready();
    let chats: Vec<String> = (0..30).map(|chat| format!("c{chat}")).collect();
    for chat in &chats {
        assert_eq!(bridge.post(&message(chat, "before")).status, 202);
    }
    let of_the_frozen = |record: &Record| record.partition == FROZEN - 1;
    let records = cluster.read(&topic);
    let chat = |record: &Record| record.key.clone().expect("a message has a key");
    let (frozen, free): (Vec<_>, Vec<_>) = records.iter().partition(|r| of_the_frozen(r));
    assert!(
        frozen.len() >= 6 && !free.is_empty(),
        "{} of 30",
        frozen.len()
    );
    three.node(FROZEN).pause();
    let mut stuck: Vec<_> = frozen
        .iter()
        .map(|record| {
            let mut connection = Connection::open(bridge.webhooks());
            let posted = Request::post("/webhooks/minchat", message(&chat(record), "stuck"));
            connection.send(posted.bytes());
            connection
        })
        .collect();
    let began = Instant::now();
    for number in 0..EVENTS {
        let posted = bridge.post(&message(&chat(free[number % free.len()]), "goes on"));
        assert_eq!(
            (posted.status, &posted.json["receipt"]),
            (202, &"published".into())
        );
    }
    let took = began.elapsed();
    three.node(FROZEN).resume();
    for connection in &mut stuck {
        assert!(connection.answer().is_some(), "each is answered");
    }
    assert!(
        took < Duration::from_secs(8),
        "{took:?} for {EVENTS} events"
    );
    drop(turn);
}
