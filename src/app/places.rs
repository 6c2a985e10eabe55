//! The places that dead letters lie in.

use std::fmt;
use std::path::PathBuf;

use super::table;
use crate::config::Config;
use crate::envelope::EventType;
use crate::publish::{Class, Failure, Reason, Then, file};
use crate::route::{Address, Broker};
use crate::spool::DEAD_LETTERS;

/// Where dead letters lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A Kafka topic.
    Topic(String),
    /// An AMQP queue.
    Queue(String),
    /// A file of one envelope a line.
    File(PathBuf),
    /// The directory of those that no destination takes, a file each.
    Kept(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Topic(topic) => write!(f, "kafka:{topic}"),
            Place::Queue(queue) => write!(f, "amqp:{queue}"),
            Place::File(path) => write!(f, "file:{}", path.display()),
            Place::Kept(dir) => write!(f, "kept:{}", dir.display()),
        }
    }
}

impl Place {
    /// Every place that the configuration's dead letters may lie in. The queue of an exchange is
    /// that of its name, which the bridge makes with it.
    pub fn all(config: &Config) -> Vec<Place> {
        let table = table(config);
        let mut places = Vec::new();
        for source in 0..config.sources.len() {
            for lane in &table.of(source, EventType::DeadLetter).lanes {
                let place = match &table.destinations()[*lane].address {
                    Address::Topic(topic) => Place::Topic(topic.clone()),
                    Address::Exchange { exchange, .. } => Place::Queue(exchange.clone()),
                    Address::File(name) => Place::file(config, name),
                };
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places.push(Place::Kept(config.spool.dir.join(DEAD_LETTERS)));
        places
    }

    /// The place that a text names: `kafka:TOPIC`, `amqp:QUEUE`, `file:NAME` or a path, `kept`, or a
    /// place as it is shown.
    ///
    /// # Errors
    /// Why it names none.
    pub fn of(config: &Config, text: &str) -> Result<Place, String> {
        let on = config.brokers();
        let at = |broker: Broker| match on.contains(&broker) {
            true => Ok(()),
            false => Err(format!("{text}: {} is not configured", broker.name())),
        };
        match text.split_once(':') {
            Some(("kafka", topic)) => at(Broker::Kafka).map(|()| Place::Topic(topic.to_owned())),
            Some(("amqp", queue)) => at(Broker::Amqp).map(|()| Place::Queue(queue.to_owned())),
            Some(("file", path)) if path.contains('/') => Ok(Place::File(path.into())),
            Some(("file", name)) => at(Broker::File).map(|()| Place::file(config, name)),
            Some(("kept", dir)) => Ok(Place::Kept(dir.into())),
            None if text == "kept" => Ok(Place::Kept(config.spool.dir.join(DEAD_LETTERS))),
            _ => Err(format!(
                "{text}: not kafka:TOPIC, amqp:QUEUE, file:NAME, file:PATH (with a slash in it) or kept"
            )),
        }
    }

    fn file(config: &Config, name: &str) -> Place {
        let path = config.file.as_ref().map(|file| file::path(file, name));
        Place::File(path.unwrap_or_else(|| name.into()))
    }

    /// Gives what lies there to `take`, one after the other.
    pub(super) async fn read(
        &self,
        config: &Config,
        take: &mut impl AsyncFnMut(&[u8]) -> Then,
    ) -> Result<(), Failure> {
        match self {
            // Where the configuration's dead letters would lie there may be none yet.
            Place::File(path) | Place::Kept(path)
                if matches!(path.try_exists(), Ok(false)) && !Self::all(config).contains(self) =>
            {
                Err(Failure {
                    class: Class::Operator,
                    reason: Reason::Io,
                    detail: "there is no such file or directory".to_owned(),
                })
            }
            #[cfg(feature = "kafka")]
            Place::Topic(topic) => {
                let settings = config.kafka.as_ref().expect(ON);
                crate::publish::kafka::read_dead_letters(settings, topic, take).await
            }
            #[cfg(feature = "amqp")]
            Place::Queue(queue) => {
                let settings = config.amqp.as_ref().expect(ON);
                crate::publish::amqp::read_dead_letters(settings, queue, take).await
            }
            Place::File(path) => file::read_dead_letters(path, take).await,
            Place::Kept(dir) => file::read_kept_dead_letters(dir, take).await,
            #[cfg(not(all(feature = "kafka", feature = "amqp")))]
            _ => unreachable!("a broker that is not compiled in is refused with the configuration"),
        }
    }
}

#[cfg(any(feature = "kafka", feature = "amqp"))]
const ON: &str = "a place is at a broker that is on";
