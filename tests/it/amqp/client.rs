//! A consumer and operator of the tests: what they see of the broker, and do to it.

use std::sync::OnceLock;

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::runtime::Runtime;

/// The runtime of all clients and publishers of the tests.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("threads can be had"))
}

/// The broker of the run.
pub fn shared_url() -> String {
    std::env::var("AMQP_URL").expect("AMQP_URL names the RabbitMQ of the run; `make test` sets it")
}

pub struct Client {
    _connection: Connection,
    channel: Channel,
}

impl Client {
    pub fn new(url: &str) -> Self {
        runtime().block_on(async {
            let connection = Connection::connect(url, ConnectionProperties::default()).await;
            let connection = connection.expect("the broker takes the tests' client");
            let channel = connection
                .create_channel()
                .await
                .expect("a channel can be had");
            Client {
                _connection: connection,
                channel,
            }
        })
    }

    pub fn declare_exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let declared =
            self.channel
                .exchange_declare(name.into(), kind, options, FieldTable::default());
        runtime().block_on(declared).expect("the exchange is made");
    }

    pub fn delete_exchange(&self, name: &str) {
        let deleted = self
            .channel
            .exchange_delete(name.into(), ExchangeDeleteOptions::default());
        runtime()
            .block_on(deleted)
            .expect("the exchange is deleted");
    }

    /// A durable queue with these arguments.
    pub fn declare_queue(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let options = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let declared = self
            .channel
            .queue_declare(name.into(), options, table(arguments));
        runtime().block_on(declared).expect("the queue is made");
    }

    pub fn bind(&self, queue: &str, exchange: &str, key: &str, arguments: &[(&str, AMQPValue)]) {
        let options = QueueBindOptions::default();
        let bound = self.channel.queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            options,
            table(arguments),
        );
        runtime().block_on(bound).expect("the queue is bound");
    }

    pub fn purge(&self, queue: &str) {
        let purged = self
            .channel
            .queue_purge(queue.into(), QueuePurgeOptions::default());
        runtime().block_on(purged).expect("the queue is purged");
    }

    /// The queue's next message, acknowledged.
    pub fn get(&self, queue: &str) -> Option<BasicGetMessage> {
        let got = self
            .channel
            .basic_get(queue.into(), BasicGetOptions { no_ack: true });
        runtime().block_on(got).expect("the queue is there")
    }

    /// The ids of all messages in a queue, in their order; it is empty afterwards.
    pub fn drain_ids(&self, queue: &str) -> Vec<String> {
        self.drain(queue).iter().map(id).collect()
    }

    /// The bodies of all messages in a queue, in their order; it is empty afterwards.
    pub fn drain_bodies(&self, queue: &str) -> Vec<String> {
        let bodies = self
            .drain(queue)
            .into_iter()
            .map(|message| message.delivery.data);
        bodies
            .map(|body| String::from_utf8(body).expect("it is UTF-8"))
            .collect()
    }

    fn drain(&self, queue: &str) -> Vec<BasicGetMessage> {
        let mut all = Vec::new();
        loop {
            // Many at once, because each is a way to the broker and back.
            let options = BasicGetOptions { no_ack: true };
            let gets = (0..100).map(|_| self.channel.basic_get(queue.into(), options));
            let got = runtime().block_on(futures_util::future::join_all(gets));
            let messages = got
                .into_iter()
                .map(|message| message.expect("the queue is there"));
            let there: Vec<_> = messages.flatten().collect();
            if there.is_empty() {
                return all;
            }
            all.extend(there);
        }
    }
}

pub fn id(message: &BasicGetMessage) -> String {
    let id = message.delivery.properties.message_id().as_ref();
    id.expect("every message has an id").to_string()
}

pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub fn quorum() -> [(&'static str, AMQPValue); 1] {
    [("x-queue-type", text("quorum"))]
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}
