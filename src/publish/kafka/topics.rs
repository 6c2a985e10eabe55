//! What a topic is like, as its broker says: whether it is there, and what it takes.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::runtime::Handle;

use super::client;
use super::errors;
use super::settings::{CreateTopics, Settings};
use crate::publish::{Failure, Reason};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long until a topic that was just created is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Asks a cluster about the limits of its topics, and creates what is missing.
pub(super) struct Topics {
    settings: Settings,
    runtime: Handle,
    /// Made when it is needed.
    admin: Option<AdminClient<DefaultClientContext>>,
}

/// How many partitions the topic has, as this client sees it.
pub(super) fn find<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<usize, Failure> {
    let metadata = client
        .fetch_metadata(Some(topic), PATIENCE)
        .map_err(|error| match error.rdkafka_error_code() {
            // Nothing is known of the topic: the brokers are silent.
            Some(Code::OperationTimedOut) => {
                let detail = format!("no answer within {PATIENCE:?}");
                errors::failure(Some(Code::BrokerTransportFailure), detail)
            }
            _ => errors::of_error(&error),
        })?;
    // As a broker answers that is about to join its cluster again.
    if metadata.brokers().is_empty() {
        let detail = "the cluster says that it has no broker";
        return Err(errors::failure(Some(Code::AllBrokersDown), detail));
    }
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

/// A topic that was created is known to every broker a moment later.
fn await_created<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<usize, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match find(client, topic) {
            Err(failure)
                if failure.reason == Reason::UnknownDestination && Instant::now() < until =>
            {
                std::thread::sleep(LOOK_AGAIN);
            }
            found => return found,
        }
    }
}

impl Topics {
    pub(super) fn new(settings: Settings, runtime: Handle) -> Self {
        Topics {
            settings,
            runtime,
            admin: None,
        }
    }

    /// Lets go of the connection: the next question has another.
    pub(super) fn forget(&mut self) {
        if let Some(admin) = self.admin.take() {
            client::retire(admin);
        }
    }

    fn admin(&mut self) -> Result<&AdminClient<DefaultClientContext>, Failure> {
        let admin = match self.admin.take() {
            Some(admin) => admin,
            None => client::common(&self.settings)
                .create()
                .map_err(|error| errors::of_error(&error))?,
        };
        Ok(self.admin.insert(admin))
    }

    /// How many partitions the topic has; it is created if it is missing and that is wanted.
    pub(super) fn find_or_create<C: ClientContext>(
        &mut self,
        client: &Client<C>,
        topic: &str,
        create: Option<&CreateTopics>,
    ) -> Result<usize, Failure> {
        match (find(client, topic), create) {
            (Err(failure), Some(like)) if failure.reason == Reason::UnknownDestination => {
                self.create(topic, like)?;
                await_created(client, topic)
            }
            (found, _) => found,
        }
    }

    /// Creates a topic.
    fn create(&mut self, topic: &str, like: &CreateTopics) -> Result<(), Failure> {
        let replication = TopicReplication::Fixed(like.replication_factor.unwrap_or(-1));
        let mut wanted = NewTopic::new(topic, like.partitions.unwrap_or(-1), replication);
        for (name, value) in &like.config {
            wanted = wanted.set(name, value);
        }
        let options = AdminOptions::new()
            .operation_timeout(Some(PATIENCE))
            .request_timeout(Some(PATIENCE));
        let runtime = self.runtime.clone();
        let created = runtime.block_on(self.admin()?.create_topics([&wanted], &options));
        let created = created.map_err(|error| errors::of_error(&error))?;
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

    /// The topic's `max.message.bytes`, if it can be read: that takes the right `DescribeConfigs`.
    pub(super) fn max_message(&mut self, topic: &str) -> Option<usize> {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let wanted = ResourceSpecifier::Topic(topic);
        let runtime = self.runtime.clone();
        let asked = self.admin().ok()?.describe_configs([&wanted], &options);
        let described = runtime.block_on(asked);
        let described = described.map(|all| all.into_iter().next());
        let described = match described {
            Ok(Some(Ok(described))) => described,
            other => {
                tracing::debug!(topic, ?other, "the topic's limit can't be read");
                return None;
            }
        };
        let limit = described.get("max.message.bytes")?;
        limit.value.as_ref()?.parse().ok()
    }
}

fn missing(topic: &str) -> Failure {
    errors::failure(
        Some(Code::UnknownTopic),
        format!("topic {topic} does not exist"),
    )
}
