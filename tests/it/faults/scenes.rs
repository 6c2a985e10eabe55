//! What the rows are played on: a broker that may be broken, a bridge before it, a consumer behind it.

use super::checker::{
    Consumed, KAFKA_REPEATS, assert_a_fresh_event_arrives, assert_at_rest, check,
};
use super::proxy::Proxy;
use super::senders::{Ledger, Senders};
use crate::amqp::client::{Client, quorum};
use crate::amqp::node::Node as RabbitNode;
use crate::cluster::Cluster;
use crate::node::Node;
use crate::process::{Process, await_some};

/// The topic, or exchange, of messages.
pub const MESSAGES: &str = "minchat.message.sent.v1";
/// The queue that is bound to it.
pub const QUEUE: &str = "consumer";
pub const CREATE: &str = "  create_topics: {partitions: 3, replication_factor: 1}";

/// Kafka.
pub struct Kafka {
    pub node: Node,
    pub servers: String,
}

impl Kafka {
    pub fn new() -> Self {
        let node = Node::kafka(&[]);
        let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
        Kafka { node, servers }
    }

    /// A Kafka that is reached by the proxy alone.
    pub fn behind(proxy: &Proxy) -> Self {
        let advertised = format!("advertised.listeners=PLAINTEXT://{}", proxy.address);
        let node = Node::kafka(&["--set", &advertised]);
        let listens = node.env("KAFKA_BOOTSTRAP_SERVERS");
        proxy.lead_to(listens.parse().expect("it is an address"));
        Kafka {
            node,
            servers: proxy.address.to_string(),
        }
    }

    pub fn yaml(&self, kafka: &str, rest: &str) -> String {
        format!(
            "sources: {{minchat: {{auth: {{none: true}}}}}}\nkafka:\n  bootstrap_servers: {}\n{kafka}\n{rest}",
            self.servers
        )
    }

    pub fn bridge(&self) -> Process {
        let bridge = Process::start(&self.yaml(CREATE, ""));
        bridge.await_ready();
        bridge
    }

    /// Waits until the topics are there and publishing has begun.
    pub fn await_published(&self, bridge: &Process) {
        await_some("a published event", || {
            (bridge.metric(&["published_total{", MESSAGES]) > 0.0).then_some(())
        });
    }

    pub fn cluster(&self) -> Cluster {
        Cluster::at(&self.servers)
    }

    /// All that senders sent, in the order of a consumer.
    pub fn consumed(&self) -> Vec<Consumed> {
        consumed(&self.cluster(), MESSAGES)
    }

    /// Ends the senders, none of whom was refused, and checks all that holds after one fault.
    pub fn end(&self, bridge: &Process, senders: Senders) -> Ledger {
        self.end_with(bridge, senders, KAFKA_REPEATS)
    }

    /// The same where so many events may come twice.
    pub fn end_with(&self, bridge: &Process, senders: Senders, most_duplicates: usize) -> Ledger {
        let ledger = senders.end();
        assert_eq!(ledger.refused, [0; 0]);
        self.assert_all_is_well(bridge);
        check(&ledger, &self.consumed(), most_duplicates);
        ledger
    }

    /// After the fault: F, G, I.
    pub fn assert_all_is_well(&self, bridge: &Process) {
        assert_all_is_well(bridge, &self.cluster(), MESSAGES);
    }
}

/// Waits until events of the spool get through. On a small or busy machine their senders may be faster than the
/// broker: that the spool ends empty is seen once they are done.
pub fn await_draining(bridge: &Process) {
    await_draining_to(bridge, MESSAGES);
}

/// The same for one topic, or exchange.
pub fn await_draining_to(bridge: &Process, topic: &str) {
    let drained = || bridge.metric(&["spool_drained_total", topic]);
    let before = drained();
    await_some("events of the spool to get through", || {
        (drained() > before || bridge.metric(&["spool_events", topic]) == 0.0).then_some(())
    });
}

/// All that senders sent, in the order of a consumer of this topic.
pub fn consumed(cluster: &Cluster, topic: &str) -> Vec<Consumed> {
    let records = cluster.read(topic).into_iter();
    let all = records.filter(|record| record.value["data"]["chat_id"] != "fresh");
    all.map(|record| Consumed(record.raw)).collect()
}

/// After the fault: F, G, I, where messages go to this topic.
pub fn assert_all_is_well(bridge: &Process, cluster: &Cluster, topic: &str) {
    assert_a_fresh_event_arrives(bridge, |id| {
        cluster.read(topic).iter().any(|record| record.id() == id)
    });
    assert_at_rest(bridge);
}

/// RabbitMQ.
pub struct Rabbit {
    pub node: RabbitNode,
    pub url: String,
}

impl Rabbit {
    pub fn new() -> Self {
        let node = RabbitNode::start();
        let url = node.url.clone();
        Rabbit { node, url }
    }

    /// A RabbitMQ that the bridge reaches by the proxy, and its consumers as ever.
    pub fn behind(proxy: &Proxy) -> Self {
        let node = RabbitNode::start();
        proxy.lead_to(node.address());
        let listens = node.address().to_string();
        let url = node.url.replace(&listens, &proxy.address.to_string());
        Rabbit { node, url }
    }

    pub fn yaml(&self, amqp: &str) -> String {
        format!(
            "sources: {{minchat: {{auth: {{none: true}}}}}}\namqp:\n  uri: {}\n{amqp}\n",
            self.url
        )
    }

    /// A bridge, and a queue for its messages.
    pub fn bridge(&self, amqp: &str) -> Process {
        let bridge = self.bridge_alone(amqp);
        self.bind();
        bridge
    }

    pub fn bridge_alone(&self, amqp: &str) -> Process {
        let bridge = Process::start(&self.yaml(amqp));
        bridge.await_ready();
        bridge.await_metric(&["broker_up"], 1.0);
        bridge
    }

    pub fn client(&self) -> Client {
        Client::new(&self.node.url)
    }

    pub fn bind(&self) {
        let client = self.client();
        client.declare_queue(QUEUE, &quorum());
        client.bind(QUEUE, MESSAGES, "message.sent", &[]);
        self.node.sync();
    }

    /// Ends the senders, and holds what is in the queue against what they were told.
    pub fn assert_all_is_well(
        &self,
        bridge: &Process,
        senders: Senders,
        most_duplicates: usize,
    ) -> Ledger {
        let ledger = senders.end();
        self.assert_all_was_published(bridge, &ledger, most_duplicates);
        ledger
    }

    /// Holds what is in the queue against what senders were told.
    pub fn assert_all_was_published(
        &self,
        bridge: &Process,
        ledger: &Ledger,
        most_duplicates: usize,
    ) {
        bridge.await_metric(&["spool_events"], 0.0);
        bridge.await_metric(&["lane_pending_events"], 0.0);
        let client = self.client();
        let bodies = client.drain_bodies(QUEUE).into_iter();
        let consumed: Vec<_> = bodies.map(Consumed).collect();
        check(ledger, &consumed, most_duplicates);
        assert_a_fresh_event_arrives(bridge, |id| {
            client.drain_ids(QUEUE).iter().any(|one| one == id)
        });
        assert_at_rest(bridge);
    }
}
