//! The settings of the routes.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The section `routes`: by the name of a kind, or `dead-letter`. A kind that is not there goes to
/// every broker that is on.
pub type Settings = BTreeMap<String, RouteSettings>;

/// All destinations of one kind. Either there is one, or `discard` is true.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RouteSettings {
    /// To Kafka.
    pub kafka: Option<KafkaRoute>,
    /// To RabbitMQ.
    pub amqp: Option<AmqpRoute>,
    /// To a file.
    pub file: Option<FileRoute>,
    /// To nowhere: nobody wants this kind. It is counted.
    #[serde(default)]
    pub discard: bool,
}

impl RouteSettings {
    /// The part of the route that names its destinations itself, and so leads every source's events there.
    pub(super) fn named_alone(&self) -> RouteSettings {
        RouteSettings {
            kafka: self.kafka.clone().filter(|route| route.topic.is_some()),
            amqp: self.amqp.clone().filter(|route| route.exchange.is_some()),
            file: self.file.clone().filter(|route| route.name.is_some()),
            discard: self.discard,
        }
    }
}

/// A destination on Kafka.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct KafkaRoute {
    /// None: `<prefix><kind>.v1`.
    pub topic: Option<String>,
}

/// A destination on RabbitMQ.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct AmqpRoute {
    /// None: `<prefix><kind>.v1`.
    pub exchange: Option<String>,
    /// None: the kind.
    pub routing_key: Option<String>,
}

/// A destination in a file.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct FileRoute {
    /// Without `.ndjson`. None: `<prefix><kind>.v1`.
    pub name: Option<String>,
}
