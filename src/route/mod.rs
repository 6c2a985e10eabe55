//! From what an event is to where it goes: a table that is complete for its configuration.
//!
//! Guarantees: every type of every source has a route; destinations that several types share are one.
//! Leaves to others: talking to a broker (`publish`), and order (`delivery`).

mod broker;
pub mod settings;

use std::collections::BTreeSet;

use smallvec::SmallVec;

pub use broker::Broker;
use settings::{RouteSettings, Settings};

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
}

impl Destination {
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

/// Where the events of one type and source go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Places in [`Table::destinations`]; empty when the events are discarded on purpose.
    pub lanes: SmallVec<[usize; 2]>,
}

/// Every source's and type's route.
#[derive(Clone, Debug, Default)]
pub struct Table {
    destinations: Vec<Destination>,
    /// By source, then by [`EventType::index`].
    routes: Vec<Vec<Route>>,
    /// The places of the destinations that a route leads to.
    routed: BTreeSet<usize>,
}

impl Table {
    /// The table of these sources, each given by its `prefix`, and of the brokers that are on.
    pub fn new<'a>(
        prefixes: impl IntoIterator<Item = &'a str>,
        brokers: &[Broker],
        routes: &Settings,
    ) -> Table {
        Table::default().following(prefixes.into_iter().map(Some), brokers, routes)
    }

    /// The table of another configuration: whatever has a place here keeps it. Of a source that is
    /// gone no `prefix` is given; its events that are under way go where they would have gone.
    #[must_use]
    pub fn following<'a>(
        &self,
        prefixes: impl IntoIterator<Item = Option<&'a str>>,
        brokers: &[Broker],
        routes: &Settings,
    ) -> Table {
        let mut table = Table {
            destinations: self.destinations.clone(),
            ..Table::default()
        };
        for (place, prefix) in prefixes.into_iter().enumerate() {
            let Some(prefix) = prefix else {
                table.routes.push(self.routes[place].clone());
                continue;
            };
            let of_source = EventType::ALL.map(|event_type| {
                let chosen = routes.get(event_type.name());
                table.route(&addresses(prefix, event_type, brokers, chosen))
            });
            let lanes = of_source.iter().flat_map(|route| &route.lanes);
            table.routed.extend(lanes.copied());
            table.routes.push(of_source.into());
        }
        table
    }

    /// The table with these destinations besides, to which nothing leads any more: each has a lane,
    /// so that what was left for it is still published.
    #[must_use]
    pub fn with_unrouted(mut self, destinations: impl IntoIterator<Item = Destination>) -> Table {
        for destination in destinations {
            if !self.destinations.contains(&destination) {
                self.destinations.push(destination);
            }
        }
        self
    }

    /// Every destination, each once.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// Whether a route leads to the destination at this place.
    pub fn is_routed(&self, place: usize) -> bool {
        self.routed.contains(&place)
    }

    /// Where an event goes.
    pub fn of(&self, source: usize, event_type: EventType) -> &Route {
        &self.routes[source][event_type.index()]
    }

    /// Where the dead letter of an event goes that this broker refused: to the same broker's dead
    /// letters; if these are routed away from it, to wherever that is.
    pub fn dead_letters_of(&self, source: usize, broker: Broker) -> Route {
        let all = self.of(source, EventType::DeadLetter);
        let same = all
            .lanes
            .iter()
            .copied()
            .filter(|lane| self.destinations[*lane].broker == broker);
        let same = Route {
            lanes: same.collect(),
        };
        if same.lanes.is_empty() {
            all.clone()
        } else {
            same
        }
    }

    fn route(&mut self, wanted: &[Destination]) -> Route {
        let lanes = wanted.iter().map(|destination| {
            let known = self.destinations.iter().position(|d| d == destination);
            known.unwrap_or_else(|| {
                self.destinations.push(destination.clone());
                self.destinations.len() - 1
            })
        });
        let mut route = Route {
            lanes: lanes.collect(),
        };
        route.lanes.sort_unstable();
        route.lanes.dedup();
        route
    }
}

/// The destinations of one type: those that its route lists, else every broker that is on, under the default name.
fn addresses(
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
    use super::settings::{AmqpRoute, KafkaRoute};
    use super::*;
    use crate::minchat::Kind;

    fn names(table: &Table, route: &Route) -> Vec<String> {
        route
            .lanes
            .iter()
            .map(|lane| table.destinations()[*lane].to_string())
            .collect()
    }

    fn message() -> EventType {
        EventType::Kind(Kind::MessageSent)
    }

    #[test]
    fn without_routes_every_type_goes_to_every_broker_that_is_on_under_its_own_name() {
        let table = Table::new(
            ["minchat.", "other."],
            &[Broker::Kafka, Broker::Amqp],
            &Settings::default(),
        );
        assert_eq!(table.destinations().len(), 2 * 2 * 6);
        assert_eq!(
            names(&table, table.of(0, message())),
            [
                "kafka:minchat.message.sent.v1",
                "amqp:minchat.message.sent.v1"
            ]
        );
        assert_eq!(
            names(&table, table.of(1, EventType::DeadLetter)),
            ["kafka:other.dead-letter.v1", "amqp:other.dead-letter.v1"]
        );
    }

    #[test]
    fn what_has_a_place_keeps_it_in_the_table_that_follows() {
        let none = Settings::default();
        let before = Table::new(["a.", "b."], &[Broker::Kafka], &none);
        let prefixes = [None, Some("new."), Some("c.")];
        let after = before.following(prefixes, &[Broker::Kafka], &none);
        assert_eq!(before.destinations(), &after.destinations()[..12]);
        assert_eq!(after.destinations().len(), 24);
        let lead = |source| names(&after, after.of(source, message()));
        assert_eq!(lead(0), ["kafka:a.message.sent.v1"], "it is under way");
        assert_eq!(lead(1), ["kafka:new.message.sent.v1"]);
        assert_eq!(lead(2), ["kafka:c.message.sent.v1"]);
        let routed: Vec<usize> = (0..24).filter(|place| after.is_routed(*place)).collect();
        assert_eq!(routed, (12..24).collect::<Vec<_>>());

        let again = after.following([Some("a."), None, None], &[Broker::Kafka], &none);
        assert_eq!(again.of(0, message()), before.of(0, message()));
        assert_eq!(again.destinations(), after.destinations());
    }

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

    #[test]
    fn a_route_lists_all_destinations_of_its_type() {
        let routes = Settings::from([
            (
                "message.sent".to_owned(),
                RouteSettings {
                    amqp: Some(AmqpRoute {
                        exchange: Some("chat".into()),
                        routing_key: Some("sent".into()),
                    }),
                    ..RouteSettings::default()
                },
            ),
            (
                "unrecognized".to_owned(),
                RouteSettings {
                    discard: true,
                    ..RouteSettings::default()
                },
            ),
        ]);
        let table = Table::new(["minchat."], &[Broker::Kafka, Broker::Amqp], &routes);
        assert_eq!(names(&table, table.of(0, message())), ["amqp:chat/sent"]);
        assert!(
            table
                .of(0, EventType::Kind(Kind::Unrecognized))
                .lanes
                .is_empty()
        );
    }

    #[test]
    fn types_that_go_to_one_destination_share_it() {
        let to_chat = RouteSettings {
            kafka: Some(KafkaRoute {
                topic: Some("chat".into()),
            }),
            ..RouteSettings::default()
        };
        let routes = Settings::from([
            ("message.sent".to_owned(), to_chat.clone()),
            ("conversation.created".to_owned(), to_chat),
        ]);
        let table = Table::new(["minchat."], &[Broker::Kafka], &routes);
        let conversation = EventType::Kind(Kind::ConversationCreated);
        assert_eq!(table.of(0, message()), table.of(0, conversation));
        assert_eq!(table.destinations().len(), 5);
    }

    #[test]
    fn what_a_broker_refused_goes_to_the_dead_letters_of_that_broker() {
        let brokers = [Broker::Kafka, Broker::Amqp];
        let table = Table::new(["minchat."], &brokers, &Settings::default());
        assert_eq!(
            names(&table, &table.dead_letters_of(0, Broker::Amqp)),
            ["amqp:minchat.dead-letter.v1"]
        );

        let only_kafka = RouteSettings {
            kafka: Some(KafkaRoute::default()),
            ..RouteSettings::default()
        };
        let routes = Settings::from([("dead-letter".to_owned(), only_kafka)]);
        let table = Table::new(["minchat."], &brokers, &routes);
        assert_eq!(
            names(&table, &table.dead_letters_of(0, Broker::Amqp)),
            ["kafka:minchat.dead-letter.v1"]
        );
    }
}
