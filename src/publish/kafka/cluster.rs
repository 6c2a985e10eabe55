//! A Kafka cluster, as the rest of the bridge knows it.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::asking::Asking;
use super::client;
use super::keeper::Keeper;
use super::publisher::{TopicLine, TopicPublisher};
use super::settings::Settings;
use super::topics::Topics;
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
    let asking = Asking::new(settings)?;
    let like = settings.create_topics.clone().unwrap_or_default();
    let found = topics.iter().map(|topic| {
        let found = topics_of.find_or_create(asking.client(), topic, create.then_some(&like));
        let partitions = found.map_err(|failure| asking.explain(failure))?;
        let takes = topics_of
            .max_message(topic)
            .map_or("an unknown size".to_owned(), |max| format!("{max} bytes"));
        Ok(format!(
            "{partitions} partitions, takes messages of up to {takes}"
        ))
    });
    Ok(found.collect())
}
