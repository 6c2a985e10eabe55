//! A consumer and an operator of Kafka: what they see of a cluster, and do to it.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::metadata::Metadata;
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

    /// A topic with one partition on each of these brokers, in their order.
    pub fn create_one_each(&self, brokers: &[i32], topic: &str) {
        let where_to: Vec<&[i32]> = brokers.chunks(1).collect();
        let count = brokers.len().try_into().expect("they are few");
        self.make(topic, count, TopicReplication::Variable(&where_to), &[]);
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
        let mut asked_before = false;
        asked(&format!("{topic} to be created"), || {
            let made = wait(self.admin.create_topics([&wanted], &AdminOptions::new()))?;
            let again = std::mem::replace(&mut asked_before, true);
            match &made[0] {
                // The attempt before got through, and its answer did not.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) if again => Ok(()),
                outcome => done(outcome),
            }
        });
    }

    /// Sets what a topic takes, in bytes.
    pub fn takes(&self, topic: &str, bytes: &str) {
        let altered =
            AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", bytes);
        asked(&format!("{topic} to be altered"), || {
            let outcome = wait(self.admin.alter_configs([&altered], &AdminOptions::new()))?;
            done(&outcome[0])
        });
    }

    pub fn delete(&self, topic: &str) {
        let mut asked_before = false;
        asked(&format!("{topic} to be deleted"), || {
            let gone = wait(self.admin.delete_topics(&[topic], &AdminOptions::new()))?;
            let again = std::mem::replace(&mut asked_before, true);
            match &gone[0] {
                // As above.
                Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) if again => Ok(()),
                outcome => done(outcome),
            }
        });
    }

    /// The names of all topics, but for Kafka's own.
    pub fn topics(&self) -> Vec<String> {
        let metadata = asked("the topics", || {
            self.admin.inner().fetch_metadata(None, ANSWER)
        });
        let names = metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned());
        names.filter(|name| !name.starts_with("__")).collect()
    }

    /// The number of partitions of a topic.
    pub fn partitions(&self, topic: &str) -> usize {
        described(self.admin.inner(), topic).topics()[0]
            .partitions()
            .len()
    }

    /// A topic's setting.
    pub fn setting(&self, topic: &str, name: &str) -> Option<String> {
        asked(&format!("the settings of {topic}"), || {
            let wanted = ResourceSpecifier::Topic(topic);
            let options = AdminOptions::new().request_timeout(Some(ANSWER));
            let described = wait(self.admin.describe_configs([&wanted], &options))?;
            let described = described.into_iter().next().expect("one was asked about");
            let described = described.map_err(KafkaError::AdminOp)?;
            Ok(described.get(name).and_then(|entry| entry.value.clone()))
        })
    }

    /// The leader of each partition, none where there is none, and its replicas that are in sync.
    pub fn leaders(&self, topic: &str) -> Vec<(Option<i32>, Vec<i32>)> {
        let metadata = described(self.admin.inner(), topic);
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
        let metadata = described(consumer.client(), topic);
        let mut from = TopicPartitionList::new();
        let mut missing = 0;
        for partition in metadata.topics()[0].partitions() {
            let what = format!("a leader of partition {} of {topic}", partition.id());
            let (low, high) = asked(&what, || {
                consumer.fetch_watermarks(topic, partition.id(), ANSWER)
            });
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
            match message {
                Ok(record) => take(&record),
                Err(error) if is_transient(&error) => continue,
                Err(error) => panic!("a record of {topic} can't be read: {error}"),
            }
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

/// How long one question to the cluster may take. It is asked again until [`PATIENCE`] is over.
const ANSWER: Duration = Duration::from_secs(10);

/// Asks the cluster until it has an answer.
fn asked<T>(what: &str, mut ask: impl FnMut() -> KafkaResult<T>) -> T {
    crate::process::await_some(what, || match ask() {
        Ok(answer) => Some(answer),
        Err(error) if is_transient(&error) => None,
        Err(error) => panic!("{what}: {error}"),
    })
}

/// Whether the same question may have an answer in a moment: a topic that was just created is known to one node or
/// client before another, its leader is named before it knows that it leads, and a node that was stopped or frozen takes
/// a while to be reached again.
fn is_transient(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::UnknownPartition
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::ReplicaNotAvailable
                | Code::BrokerNotAvailable
                | Code::NotController
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::NetworkException
                | Code::RequestTimedOut
                | Code::OperationTimedOut
                | Code::MessageTimedOut
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
        )
    )
}

/// How an operation on one topic ended.
fn done<T, S>(outcome: &Result<T, (S, RDKafkaErrorCode)>) -> KafkaResult<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err((_, code)) => Err(KafkaError::AdminOp(*code)),
    }
}

/// What the cluster knows of a topic, once it knows it.
fn described<C: ClientContext>(client: &Client<C>, topic: &str) -> Metadata {
    asked(&format!("the partitions of {topic}"), || {
        let metadata = client.fetch_metadata(Some(topic), ANSWER)?;
        match metadata.topics()[0].error() {
            Some(error) => Err(KafkaError::MetadataFetch(error.into())),
            None => Ok(metadata),
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
        // Who looks for a topic does not create it, whatever the broker would do.
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.max.ms", "1000");
    config
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime can be had");
    runtime.block_on(future)
}
