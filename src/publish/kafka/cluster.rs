//! A Kafka cluster, as the rest of the bridge knows it.

use std::sync::Arc;

use rdkafka::producer::{Producer, ThreadedProducer};
use tokio::runtime::Handle;

use super::context::AskingContext;
use super::keeper::Keeper;
use super::publisher::{TopicLine, TopicPublisher};
use super::settings::Settings;
use super::topics::Topics;
use super::{client, errors};

use crate::publish::{Failure, Publisher, Reporter};

/// A Kafka cluster that events are published to.
pub struct Kafka {
    keeper: Keeper,
}

/// How many events the cluster's clients hold together, for a gauge.
type OnQueue = Arc<dyn Fn(u64) + Send + Sync>;

impl Kafka {
    /// Starts to keep clients for this cluster. `on_queue` is told every second how many events
    /// librdkafka holds for one topic.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(settings: Settings, runtime: Handle, on_queue: OnQueue) -> std::io::Result<Self> {
        Ok(Kafka {
            keeper: Keeper::start(settings, runtime, on_queue)?,
        })
    }

    /// Takes the login and the certificates of other settings, for clients that can't reach the
    /// cluster with theirs, now or later.
    pub fn reload(&self, settings: Settings) {
        self.keeper.reload(settings);
    }

    /// A publisher for one topic.
    pub fn publisher(&self, topic: &str, reporter: Reporter) -> Box<dyn Publisher> {
        let line = Arc::new(TopicLine::new(topic, reporter));
        self.keeper.add(Arc::clone(&line));
        Box::new(TopicPublisher {
            line,
            keeper: self.keeper.clone(),
        })
    }
}

/// Whether librdkafka takes these settings: it knows every property, and every value is one.
///
/// # Errors
/// Its own words, with the property's name.
pub fn check(settings: &Settings) -> Result<(), String> {
    let native = client::producer(settings, None).create_native_config();
    native.map(drop).map_err(|error| error.to_string())
}

/// What was found out about a topic: a line for people, or why not.
pub type Found = Result<String, Failure>;

/// Reaches each topic, for people who check; creates what is missing if that is asked for.
///
/// # Errors
/// When no client can be made at all.
pub fn probe(
    settings: &Settings,
    runtime: &Handle,
    topics: &[&str],
    create: bool,
) -> Result<Vec<Found>, Failure> {
    let topics_of = Topics::new(settings, runtime.clone())?;
    let asking = client::common(settings).create_with_context(AskingContext::default());
    let asking: ThreadedProducer<AskingContext> =
        asking.map_err(|error| errors::of_event(&error))?;
    let like = settings.create_topics.clone().unwrap_or_default();
    let found = topics.iter().map(|topic| {
        let found = topics_of.find_or_create(asking.client(), topic, create.then_some(&like));
        let partitions = found.map_err(|failure| match asking.context().last_error() {
            Some(known) if failure.reason.is_of_the_whole_broker() => known,
            _ => failure,
        })?;
        let takes = topics_of
            .max_message(topic)
            .map_or("an unknown size".to_owned(), |max| format!("{max} bytes"));
        Ok(format!(
            "{partitions} partitions, takes messages of up to {takes}"
        ))
    });
    Ok(found.collect())
}
