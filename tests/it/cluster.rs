//! A consumer and an operator of Kafka: what they see of a cluster, and do to it.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::process::PATIENCE;

/// A cluster by its address.
pub struct Cluster {
    pub servers: String,
    admin: AdminClient<DefaultClientContext>,
}

/// One record, as a consumer has it.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: Option<String>,
    pub headers: Vec<(String, String)>,
    pub value: Value,
    /// The value as it came.
    pub raw: String,
    pub partition: i32,
}

impl Record {
    pub fn id(&self) -> &str {
        self.value["id"].as_str().expect("every envelope has an id")
    }
}

impl Cluster {
    /// The cluster of the run.
    pub fn shared() -> Self {
        Self::at(
            &std::env::var("KAFKA_BOOTSTRAP_SERVERS")
                .expect("`make test` starts a Kafka and says where it is"),
        )
    }

    pub fn at(servers: &str) -> Self {
        let admin = config(servers)
            .create()
            .expect("the client's settings are good");
        Cluster {
            servers: servers.to_owned(),
            admin,
        }
    }

    pub fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.make(topic, partitions, TopicReplication::Fixed(1), settings);
    }

    /// A topic whose partitions are on these brokers, all of them on each.
    pub fn create_on(
        &self,
        brokers: &[i32],
        topic: &str,
        partitions: usize,
        settings: &[(&str, &str)],
    ) {
        let where_to = vec![brokers; partitions];
        let count = partitions.try_into().expect("they are few");
        self.make(
            topic,
            count,
            TopicReplication::Variable(&where_to),
            settings,
        );
    }

    fn make(
        &self,
        topic: &str,
        partitions: i32,
        replication: TopicReplication<'_>,
        settings: &[(&str, &str)],
    ) {
        let mut wanted = NewTopic::new(topic, partitions, replication);
        for (name, value) in settings {
            wanted = wanted.set(name, value);
        }
        let made = wait(self.admin.create_topics([&wanted], &AdminOptions::new()))
            .expect("the cluster answers");
        made[0].as_ref().expect("the topic is created");
    }

    /// Sets what a topic takes, in bytes.
    pub fn takes(&self, topic: &str, bytes: &str) {
        let topic =
            AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", bytes);
        let altered = wait(self.admin.alter_configs([&topic], &AdminOptions::new()))
            .expect("the cluster answers");
        altered[0].as_ref().expect("the topic is altered");
    }

    pub fn delete(&self, topic: &str) {
        let gone = wait(self.admin.delete_topics(&[topic], &AdminOptions::new()))
            .expect("the cluster answers");
        gone[0].as_ref().expect("the topic is deleted");
    }

    /// The leader of each partition, none where there is none, and its replicas that are in sync.
    pub fn leaders(&self, topic: &str) -> Vec<(Option<i32>, Vec<i32>)> {
        let metadata = self.admin.inner().fetch_metadata(Some(topic), PATIENCE);
        let metadata = metadata.expect("the cluster answers");
        let partitions = metadata.topics()[0].partitions().iter();
        let leader = |id: i32| (id >= 0).then_some(id);
        partitions
            .map(|partition| (leader(partition.leader()), partition.isr().to_vec()))
            .collect()
    }

    /// Everything that is in a topic now.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        let mut records = Vec::new();
        self.read_each(topic, i64::MAX, PATIENCE, |message| {
            records.push(record(message))
        });
        records
    }

    /// Gives what is in a topic now to `take`, within this time: of each partition the last, so many at most.
    pub fn read_each(
        &self,
        topic: &str,
        last: i64,
        within: Duration,
        mut take: impl FnMut(&BorrowedMessage),
    ) {
        let consumer: BaseConsumer = config(&self.servers)
            .set("group.id", "tests")
            .create()
            .expect("as above");
        let metadata = consumer
            .fetch_metadata(Some(topic), PATIENCE)
            .expect("the cluster answers");
        let mut from = TopicPartitionList::new();
        let mut missing = 0;
        for partition in metadata.topics()[0].partitions() {
            let (low, high) = await_watermarks(&consumer, topic, partition.id());
            let low = low.max(high.saturating_sub(last));
            from.add_partition_offset(topic, partition.id(), Offset::Offset(low))
                .expect("an offset is given");
            missing += high - low;
        }
        consumer.assign(&from).expect("partitions can be assigned");
        let deadline = Instant::now() + within;
        while missing > 0 {
            assert!(
                Instant::now() < deadline,
                "{missing} records of {topic} did not come"
            );
            let Some(message) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            take(&message.expect("a record can be read"));
            missing -= 1;
        }
    }

    /// Waits until a topic has so many records.
    pub fn await_records(&self, topic: &str, count: usize) -> Vec<Record> {
        crate::process::await_some(&format!("{count} records in {topic}"), || {
            let records = self.read(topic);
            (records.len() >= count).then_some(records)
        })
    }
}

/// The first and the next offset of a partition. Metadata tells of one that was just created before its leader knows
/// that it leads it.
fn await_watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let what = format!("a leader of partition {partition} of {topic}");
    crate::process::await_some(&what, || {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition)) => None,
            watermarks => Some(watermarks.expect("the leader answers")),
        }
    })
}

fn record(message: &impl Message) -> Record {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is UTF-8");
    let headers = message.headers().map(|headers| {
        let pairs = headers.iter().map(|header| {
            (
                header.key.to_owned(),
                text(header.value.unwrap_or_default()),
            )
        });
        pairs.collect()
    });
    let payload = message.payload().expect("no value is null");
    Record {
        key: message.key().map(text),
        headers: headers.unwrap_or_default(),
        value: serde_json::from_slice(payload).expect("a value is JSON"),
        raw: text(payload),
        partition: message.partition(),
    }
}

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("reconnect.backoff.max.ms", "1000");
    config
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(future)
}
