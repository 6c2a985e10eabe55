//! A Kafka cluster, as the rest of the bridge knows it.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::client::{self, Mode};
use super::publisher::{Limits, TopicPublisher, takes_all};
use super::settings::{ContentMode, Settings};
use super::supervisor::Supervisor;
use super::topics::Topics;
use crate::publish::{Failure, Publisher, Wakeup};

/// A Kafka cluster that events are published to.
pub struct Kafka {
    supervisor: Supervisor,
    content_mode: ContentMode,
    limits: Limits,
}

/// How many events the cluster's clients hold together, for a gauge.
type OnQueue = Arc<dyn Fn(u64) + Send + Sync>;

impl Kafka {
    /// Starts what the publishers of this cluster share. `max_body` is what the listener lets in, in bytes: topics
    /// that take less are told of. `on_queue` is told every second how many events librdkafka holds.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        settings: Settings,
        runtime: Handle,
        max_body: usize,
        on_queue: OnQueue,
    ) -> std::io::Result<Self> {
        client::keep_heaps();
        Ok(Kafka {
            content_mode: settings.content_mode,
            limits: Limits {
                configured: settings.max_message(),
                max_body,
            },
            supervisor: Supervisor::start(settings, runtime, on_queue)?,
        })
    }

    /// Takes the login and the certificates of other settings, for clients that can't reach the
    /// cluster with theirs, now or later.
    pub fn reload(&self, settings: Settings) {
        self.supervisor.reload(settings);
    }

    /// A publisher for one topic.
    pub fn publisher(&self, topic: &str, wakeup: Wakeup) -> Box<dyn Publisher> {
        let supervisor = self.supervisor.clone();
        Box::new(TopicPublisher::new(
            topic,
            self.content_mode,
            self.limits,
            supervisor,
            wakeup,
        ))
    }
}

/// Whether librdkafka takes these settings: it knows every property, and every value is one.
///
/// # Errors
/// Its own words, with the property's name.
pub fn check(settings: &Settings) -> Result<(), String> {
    let native = client::producer(settings, None, Mode::Ordered).create_native_config();
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
    max_body: usize,
    create: bool,
) -> Result<Vec<Found>, Failure> {
    let like = settings.create_topics.clone().unwrap_or_default();
    let settings = Settings {
        create_topics: create.then(|| like.clone()),
        ..settings.clone()
    };
    let mut topics_of = Topics::new(settings, runtime.clone());
    topics_of.asking()?;
    let found = topics.iter().map(|topic| {
        let partitions = topics_of.find_or_create(topic)?;
        Ok(described(
            partitions,
            like.partitions,
            topics_of.max_message(topic),
            max_body,
        ))
    });
    Ok(found.collect())
}

/// What a topic is like, and where that is not what the configuration says.
fn described(
    partitions: usize,
    wanted: Option<i32>,
    max_message: Option<usize>,
    max_body: usize,
) -> String {
    let mut text = match partitions {
        1 => "1 partition".to_owned(),
        _ => format!("{partitions} partitions"),
    };
    if let Some(wanted) = wanted.filter(|wanted| usize::try_from(*wanted) != Ok(partitions)) {
        text += &format!(" (kafka.create_topics says {wanted})");
    }
    match max_message {
        None => text += ", takes messages of an unknown size",
        Some(max) if takes_all(max, max_body) => {
            text += &format!(", takes messages of up to {max} bytes");
        }
        Some(max) => {
            text += &format!(
                ", takes messages of up to {max} bytes: what http.max_body ({max_body} bytes) lets in \
                 beyond that goes to the dead letters"
            );
        }
    }
    text
}
