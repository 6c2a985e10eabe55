//! What a topic is like, as its broker says: whether it is there, and what it takes.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer;
use tokio::runtime::Handle;

use super::client::{self, Mode};
use super::errors;
use super::owned_client::OwnedClient;
use super::settings::{CreateTopics, Settings};
use crate::publish::{Failure, Reason, nobody};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How old clients are at least that a question failed with, until the next question has others: all the brokers that
/// they know may have been replaced.
const FORGET: Duration = Duration::from_secs(30);

/// How long until a topic that was just created is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Asks a cluster about the limits of its topics, and creates what is missing.
pub(super) struct Topics {
    settings: Settings,
    runtime: Handle,
    /// Asks about topics. A producer, since others are not told the words of an error. Made when it is needed, as
    /// the other one is.
    asking: Option<OwnedClient>,
    admin: Option<AdminClient<DefaultClientContext>>,
}

/// How many partitions the topic has, as this client sees it.
pub(super) fn find(asking: &OwnedClient, topic: &str) -> Result<usize, Failure> {
    let metadata = asking
        .client()
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
fn await_created(asking: &OwnedClient, topic: &str) -> Result<usize, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match find(asking, topic) {
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
            asking: None,
            admin: None,
        }
    }

    /// Notes what the clients are told while nobody asks, so that it does not pile up.
    pub(super) fn note_events(&mut self) {
        if let Some(asking) = &mut self.asking {
            asking.note_events();
        }
    }

    /// Lets go of clients that a question failed with.
    fn forget(&mut self) {
        let asking = self.asking.as_ref();
        if asking.is_none_or(|asking| asking.is_lost || asking.made_at.elapsed() >= FORGET) {
            self.asking = None;
            client::retire(self.admin.take());
        }
    }

    /// The client that asks.
    pub(super) fn asking(&mut self) -> Result<&mut OwnedClient, Failure> {
        let asking = match self.asking.take() {
            Some(asking) => asking,
            None => OwnedClient::new(&self.settings, 0, None, Mode::Tolerant, nobody())?,
        };
        Ok(self.asking.insert(asking))
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

    /// How many partitions the topic has; it is created if it is missing and the settings say so.
    pub(super) fn find_or_create(&mut self, topic: &str) -> Result<usize, Failure> {
        let create = self.settings.create_topics.clone();
        let found = match (find(self.asking()?, topic), &create) {
            (Err(failure), Some(like)) if failure.reason == Reason::UnknownDestination => self
                .create(topic, like)
                .and_then(|()| await_created(self.asking()?, topic)),
            (found, _) => found,
        };
        let settings = self.settings.clone();
        let failure = match found {
            Ok(partitions) => return Ok(partitions),
            Err(failure) => self.asking()?.explain(&settings, failure),
        };
        if failure.reason.is_of_the_whole_broker() {
            self.forget();
        }
        Err(failure)
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
                if other.is_err() {
                    self.forget();
                }
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
