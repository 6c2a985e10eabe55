//! What events are published to, how operators see it, and how it is named across restarts.

use super::broker::Broker;
use super::settings::RouteSettings;
use crate::envelope::EventType;

/// One place that events are published to. What leads to the same one shares its lane and its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The broker that it is at.
    pub broker: Broker,
    /// Its address there.
    pub address: Address,
}

/// Where at a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Kafka topic.
    Topic(String),
    /// An AMQP exchange, and what is published to it with which routing key.
    Exchange {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The name of a file without its `.ndjson`.
    File(String),
}

impl Destination {
    /// The name under which operators see it: the topic, the exchange (with the routing key, where
    /// that is not the exchange's own), the file.
    pub fn name(&self) -> String {
        match &self.address {
            Address::Topic(name) | Address::File(name) => name.clone(),
            Address::Exchange {
                exchange,
                routing_key,
            } => match exchange.ends_with(&format!("{routing_key}.v1")) {
                true => exchange.clone(),
                false => format!("{exchange}/{routing_key}"),
            },
        }
    }

    /// What stands before the default name of this type's events. None if `chosen`, the route of the type, names the
    /// destination, or if the name is not the default one.
    pub(super) fn prefix(
        &self,
        event_type: EventType,
        chosen: Option<&RouteSettings>,
    ) -> Option<&str> {
        let named = chosen.map(RouteSettings::named_alone).is_some_and(|named| {
            of("", event_type, &[], Some(&named))
                .iter()
                .any(|destination| destination.broker == self.broker)
        });
        let name = match &self.address {
            Address::Topic(name) | Address::File(name) => name,
            Address::Exchange { exchange, .. } => exchange,
        };
        let default = format!("{}.v1", event_type.name());
        name.strip_suffix(default.as_str()).filter(|_| !named)
    }

    /// A text that names it across restarts, whatever the configuration's order: the broker and the
    /// parts of the address, each behind a NUL but the first.
    pub fn to_stored(&self) -> String {
        let broker = self.broker.name();
        match &self.address {
            Address::Topic(name) | Address::File(name) => format!("{broker}\0{name}"),
            Address::Exchange {
                exchange,
                routing_key,
            } => format!("{broker}\0{exchange}\0{routing_key}"),
        }
    }

    /// What [`Self::to_stored`] gave; none if no release wrote that.
    pub fn from_stored(stored: &str) -> Option<Destination> {
        let (broker, rest) = stored.split_once('\0')?;
        let broker = *Broker::ALL.iter().find(|known| known.name() == broker)?;
        let address = match broker {
            Broker::Kafka => Address::Topic(rest.to_owned()),
            Broker::File => Address::File(rest.to_owned()),
            Broker::Amqp => {
                let (exchange, routing_key) = rest.split_once('\0')?;
                Address::Exchange {
                    exchange: exchange.to_owned(),
                    routing_key: routing_key.to_owned(),
                }
            }
        };
        Some(Destination { broker, address })
    }
}

/// A name that [`Destination::to_stored`] gave, or that another release did, as operators see it.
pub fn shown(stored: &str) -> String {
    Destination::from_stored(stored).map_or_else(
        || stored.replace('\0', ":"),
        |destination| destination.to_string(),
    )
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.broker.name(), self.name())
    }
}

/// The destinations of one type: those that its route lists, else every broker that is on, under the default name.
pub(super) fn of(
    prefix: &str,
    event_type: EventType,
    brokers: &[Broker],
    chosen: Option<&RouteSettings>,
) -> Vec<Destination> {
    let name = format!("{prefix}{}.v1", event_type.name());
    let default = |broker: Broker| Destination {
        broker,
        address: match broker {
            Broker::Kafka => Address::Topic(name.clone()),
            Broker::Amqp => exchange(name.clone(), event_type.name()),
            Broker::File => Address::File(name.clone()),
        },
    };
    let Some(chosen) = chosen else {
        return brokers.iter().map(|broker| default(*broker)).collect();
    };
    let kafka = chosen.kafka.as_ref().map(|route| Destination {
        broker: Broker::Kafka,
        address: Address::Topic(route.topic.clone().unwrap_or_else(|| name.clone())),
    });
    let amqp = chosen.amqp.as_ref().map(|route| Destination {
        broker: Broker::Amqp,
        address: exchange(
            route.exchange.clone().unwrap_or_else(|| name.clone()),
            route.routing_key.as_deref().unwrap_or(event_type.name()),
        ),
    });
    let file = chosen.file.as_ref().map(|route| Destination {
        broker: Broker::File,
        address: Address::File(route.name.clone().unwrap_or_else(|| name.clone())),
    });
    [kafka, amqp, file].into_iter().flatten().collect()
}

fn exchange(exchange: String, routing_key: &str) -> Address {
    Address::Exchange {
        exchange,
        routing_key: routing_key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::super::settings::Settings;
    use super::*;

    #[test]
    fn a_destination_is_found_again_by_its_stored_name() {
        let table = Table::new(["minchat."], &Broker::ALL, &Settings::default());
        for destination in table.destinations() {
            let again = Destination::from_stored(&destination.to_stored());
            assert_eq!(again.as_ref(), Some(destination));
        }
        for unknown in ["", "kafka", "pulsar\0topic", "amqp\0exchange"] {
            assert_eq!(Destination::from_stored(unknown), None, "{unknown:?}");
        }
    }
}
