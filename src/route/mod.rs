//! From what an event is to where it goes: a table that is complete for its configuration.
//!
//! Guarantees: every type of every source has a route; destinations that several types share are one.
//! Leaves to others: talking to a broker (`publish`), and order (`delivery`).

mod broker;
mod destination;
pub mod settings;

use std::collections::BTreeSet;

use smallvec::SmallVec;

pub use broker::Broker;
pub use destination::{Address, Destination, shown};
use settings::Settings;

use crate::envelope::EventType;

/// Where the events of one type and source go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Places in [`Table::destinations`]; empty when the events are discarded on purpose.
    pub lanes: SmallVec<[usize; 2]>,
}

/// Every source's and type's route.
#[derive(Clone, Debug, Default)]
pub struct Table {
    brokers: Vec<Broker>,
    settings: Settings,
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
            brokers: brokers.to_vec(),
            settings: routes.clone(),
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
                table.route(&destination::of(prefix, event_type, brokers, chosen))
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
        self.preferring(broker, self.of(source, EventType::DeadLetter))
    }

    /// The same for a source that is not configured any more, of whose prefix only the destination that refused the
    /// event tells. None if the table has no destination for the source's dead letters. Those of another source are
    /// never given.
    pub fn dead_letters_of_removed(
        &self,
        event_type: EventType,
        refused_by: &Destination,
    ) -> Option<Route> {
        let chosen = |event_type: EventType| self.settings.get(event_type.name());
        let prefix = refused_by.prefix(event_type, chosen(event_type));
        let chosen = chosen(EventType::DeadLetter);
        let wanted = match (prefix, chosen) {
            (Some(prefix), _) => {
                destination::of(prefix, EventType::DeadLetter, &self.brokers, chosen)
            }
            (None, Some(chosen)) => {
                let named = chosen.named_alone();
                destination::of("", EventType::DeadLetter, &self.brokers, Some(&named))
            }
            (None, None) => Vec::new(),
        };
        let lanes = wanted.iter().filter_map(|wanted| {
            let mut known = self.destinations.iter();
            known.position(|known| known == wanted)
        });
        let route = Route {
            lanes: lanes.collect(),
        };
        (!route.lanes.is_empty()).then(|| self.preferring(refused_by.broker, &route))
    }

    /// The part of a route that is at this broker; all of it if there is none.
    fn preferring(&self, broker: Broker, route: &Route) -> Route {
        let lanes = route.lanes.iter().copied();
        let same: SmallVec<[usize; 2]> = lanes
            .filter(|lane| self.destinations[*lane].broker == broker)
            .collect();
        match same.is_empty() {
            true => route.clone(),
            false => Route { lanes: same },
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

#[cfg(test)]
mod tests {
    use super::settings::{AmqpRoute, KafkaRoute, RouteSettings};
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
    fn the_dead_letters_of_a_removed_source_go_beside_what_refused_the_event_and_never_to_another_source()
     {
        let none = Settings::default();
        let given = |table: &Table, topic: &str, event_type| {
            let refused_by = Destination {
                broker: Broker::Kafka,
                address: Address::Topic(topic.to_owned()),
            };
            let route = table.dead_letters_of_removed(event_type, &refused_by);
            route.map(|route| names(table, &route))
        };
        let brokers = [Broker::Kafka, Broker::Amqp];
        let table = Table::new(["a."], &brokers, &none);
        // The removed source had the prefix of one that is still there.
        let same = given(&table, "a.message.sent.v1", message());
        assert_eq!(same, Some(vec!["kafka:a.dead-letter.v1".to_owned()]));
        // It had one of its own, and no lane leads to its dead letters.
        assert_eq!(given(&table, "b.message.sent.v1", message()), None);
        assert_eq!(given(&table, "chat", message()), None);
        let unrecognized = EventType::Kind(Kind::Unrecognized);
        assert_eq!(given(&table, "a.message.sent.v1", unrecognized), None);
        // The spool still has dead letters of it, so that they have a lane.
        let left = Destination {
            broker: Broker::Kafka,
            address: Address::Topic("b.dead-letter.v1".to_owned()),
        };
        let table = table.with_unrouted([left]);
        let own = given(&table, "b.message.sent.v1", message());
        assert_eq!(own, Some(vec!["kafka:b.dead-letter.v1".to_owned()]));

        // A topic that a route names says nothing of a prefix; dead letters that a route names are everybody's.
        let topic = |topic: Option<&str>| RouteSettings {
            kafka: Some(KafkaRoute {
                topic: topic.map(str::to_owned),
            }),
            ..RouteSettings::default()
        };
        for (dead_letters, expected) in [
            (Some("dead"), Some(vec!["kafka:dead".to_owned()])),
            (None, None),
        ] {
            let routes = Settings::from([
                ("message.sent".to_owned(), topic(Some("a.message.sent.v1"))),
                ("dead-letter".to_owned(), topic(dead_letters)),
            ]);
            let table = Table::new(["a."], &brokers, &routes);
            assert_eq!(given(&table, "a.message.sent.v1", message()), expected);
        }
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
