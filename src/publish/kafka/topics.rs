//! What a topic is like, as its broker says: whether it is there, and what it takes.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::runtime::Handle;

use super::client;
use super::context::AskingContext;
use super::errors;
use super::settings::{CreateTopics, Settings};
use crate::publish::Failure;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a cluster about its topics, and creates what is missing.
pub(super) struct Topics {
    client: AdminClient<AskingContext>,
    runtime: Handle,
}

/// A topic that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) partitions: usize,
    /// Its `max.message.bytes`, if it could be read: that takes the right `DescribeConfigs`.
    pub(super) max_message: Option<usize>,
}

impl Topics {
    pub(super) fn new(settings: &Settings, runtime: Handle) -> Result<Self, Failure> {
        let config = client::common(settings);
        let client = AdminClient::from_config_and_context(&config, AskingContext::default());
        Ok(Topics {
            client: client.map_err(|error| errors::of_event(&error))?,
            runtime,
        })
    }

    /// How many partitions the topic has.
    pub(super) fn find(&self, topic: &str) -> Result<usize, Failure> {
        let metadata = self.client.inner().fetch_metadata(Some(topic), PATIENCE);
        let metadata = metadata.map_err(|error| self.unreachable(&error))?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let Some(found) = found else {
            return Err(missing(topic));
        };
        match found.error().map(Code::from) {
            None => Ok(found.partitions().len()),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Err(missing(topic)),
            Some(code) => Err(errors::failure(
                Some(code),
                format!("topic {topic}: {code}"),
            )),
        }
    }

    /// The topic, created if it is missing and that is wanted.
    pub(super) fn ready(
        &self,
        topic: &str,
        create: Option<&CreateTopics>,
    ) -> Result<Topic, Failure> {
        let partitions = match (self.find(topic), create) {
            (Err(failure), Some(create))
                if failure.reason == crate::publish::Reason::UnknownDestination =>
            {
                self.create(topic, create)?;
                self.find(topic)?
            }
            (found, _) => found?,
        };
        Ok(Topic {
            partitions,
            max_message: self.max_message(topic),
        })
    }

    /// Creates a topic.
    pub(super) fn create(&self, topic: &str, like: &CreateTopics) -> Result<(), Failure> {
        let replication = TopicReplication::Fixed(like.replication_factor.unwrap_or(-1));
        let mut wanted = NewTopic::new(topic, like.partitions.unwrap_or(-1), replication);
        for (name, value) in &like.config {
            wanted = wanted.set(name, value);
        }
        let options = AdminOptions::new()
            .operation_timeout(Some(PATIENCE))
            .request_timeout(Some(PATIENCE));
        let created = self
            .runtime
            .block_on(self.client.create_topics([&wanted], &options));
        let created = created.map_err(|error| self.unreachable(&error))?;
        match created.into_iter().next() {
            Some(Err((_, Code::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(errors::failure(
                Some(code),
                format!("topic {topic} can't be created: {code}"),
            )),
            Some(Ok(_)) | None => {
                tracing::info!(topic, "created the topic");
                Ok(())
            }
        }
    }

    /// The topic's `max.message.bytes`.
    pub(super) fn max_message(&self, topic: &str) -> Option<usize> {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let wanted = ResourceSpecifier::Topic(topic);
        let asked = self.client.describe_configs([&wanted], &options);
        let described = self
            .runtime
            .block_on(asked)
            .ok()?
            .into_iter()
            .next()?
            .ok()?;
        described
            .get("max.message.bytes")?
            .value
            .as_ref()?
            .parse()
            .ok()
    }

    /// A failed question, with what the connection's trouble was.
    fn unreachable(&self, error: &KafkaError) -> Failure {
        match self.client.inner().context().last_error.get() {
            Some((code, reason)) => errors::failure(code, reason),
            None => errors::of_event(error),
        }
    }
}

fn missing(topic: &str) -> Failure {
    errors::failure(
        Some(Code::UnknownTopic),
        format!("topic {topic} does not exist"),
    )
}
