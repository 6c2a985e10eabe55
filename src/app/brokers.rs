//! The brokers that are on, and a publisher for each destination at them.

use std::io;
use std::sync::Arc;
#[cfg(feature = "amqp")]
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Runtime;

use crate::config::Config;
#[cfg(feature = "amqp")]
use crate::envelope::EventType;
use crate::metrics::Metrics;
#[cfg(feature = "amqp")]
use crate::publish::amqp;
use crate::publish::file;
#[cfg(feature = "kafka")]
use crate::publish::kafka;
use crate::publish::{Publisher, Wakeup};
use crate::route::{Address, Destination};

/// The brokers that are on.
#[derive(Clone)]
pub(super) struct Publishers {
    #[cfg(feature = "kafka")]
    kafka: Option<Arc<kafka::Kafka>>,
    #[cfg(feature = "amqp")]
    amqp: Option<amqp::Amqp>,
    /// The alternate exchanges, and their queues: that of exchanges that are created now is the last.
    #[cfg(feature = "amqp")]
    unrouted: Arc<Mutex<Vec<String>>>,
    file: Option<file::settings::Settings>,
}

/// Makes a publisher that wakes its lane.
pub(super) type Maker = Box<dyn FnOnce(Wakeup) -> Box<dyn Publisher> + Send>;

impl Publishers {
    pub(super) fn start(
        config: &Config,
        runtime: &Runtime,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Self> {
        #[cfg(feature = "amqp")]
        let unrouted = Arc::new(Mutex::new(vec![unrouted(config)]));
        Ok(Publishers {
            #[cfg(feature = "kafka")]
            kafka: match &config.kafka {
                Some(settings) => {
                    let metrics = Arc::clone(metrics);
                    let on_queue = Arc::new(move |events| metrics.kafka_queue_events(events));
                    Some(Arc::new(kafka::Kafka::start(
                        settings.clone(),
                        runtime.handle().clone(),
                        config.http.max_body,
                        on_queue,
                    )?))
                }
                None => None,
            },
            #[cfg(feature = "amqp")]
            amqp: config
                .amqp
                .as_ref()
                .map(|settings| start_amqp(settings, &unrouted, runtime, metrics)),
            #[cfg(feature = "amqp")]
            unrouted,
            file: config.file.clone(),
        })
    }

    /// What exchanges that are created from now on stand beside.
    pub(super) fn follow(&self, config: &Config) {
        #[cfg(feature = "amqp")]
        {
            let now = unrouted(config);
            let mut unrouted = lock(&self.unrouted);
            unrouted.retain(|known| *known != now);
            unrouted.push(now);
        }
        #[cfg(not(feature = "amqp"))]
        let _ = config;
    }

    /// Takes other logins and certificates: what connects from now on uses them.
    pub(super) fn reload(&self, config: &Config) {
        #[cfg(feature = "kafka")]
        if let (Some(kafka), Some(settings)) = (&self.kafka, &config.kafka) {
            kafka.reload(settings.clone());
        }
        #[cfg(feature = "amqp")]
        if let (Some(amqp), Some(settings)) = (&self.amqp, &config.amqp) {
            amqp.reload(settings.clone());
        }
        #[cfg(not(any(feature = "amqp", feature = "kafka")))]
        let _ = config;
    }

    pub(super) fn maker(&self, destination: &Destination) -> Maker {
        let (publishers, address) = (self.clone(), destination.address.clone());
        Box::new(move |wakeup| publishers.publisher(&address, wakeup))
    }

    fn publisher(&self, address: &Address, wakeup: Wakeup) -> Box<dyn Publisher> {
        const ON: &str = "the table has destinations at brokers that are on alone";
        match address {
            #[cfg(feature = "kafka")]
            Address::Topic(topic) => self.kafka.as_ref().expect(ON).publisher(topic, wakeup),
            #[cfg(feature = "amqp")]
            Address::Exchange {
                exchange,
                routing_key,
            } => {
                let unrouted = lock(&self.unrouted).last().cloned().unwrap_or_default();
                let destination = amqp_destination(&unrouted, exchange, routing_key);
                Box::new(self.amqp.as_ref().expect(ON).publisher(destination, wakeup))
            }
            Address::File(name) => file::publisher(self.file.as_ref().expect(ON), name, wakeup),
            #[cfg(not(all(feature = "kafka", feature = "amqp")))]
            _ => unreachable!("a broker that is not compiled in is refused with the configuration"),
        }
    }
}

/// Connects to RabbitMQ, with the gauges that its connection moves.
#[cfg(feature = "amqp")]
fn start_amqp(
    settings: &amqp::settings::Settings,
    unrouted: &Arc<Mutex<Vec<String>>>,
    runtime: &Runtime,
    metrics: &Arc<Metrics>,
) -> amqp::Amqp {
    let blocked = Arc::clone(metrics);
    let amqp = amqp::Amqp::new(settings.clone(), runtime.handle().clone(), move |is| {
        blocked.amqp_connection_blocked(is)
    });
    let (queues, unrouted_messages) = (Arc::clone(unrouted), Arc::clone(metrics));
    amqp.watch_unrouted(
        move || lock(&queues).clone(),
        move |messages| unrouted_messages.amqp_unrouted_messages(messages),
    );
    amqp
}

#[cfg(feature = "amqp")]
fn lock(unrouted: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    unrouted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The alternate exchange of all exchanges that are created, and its queue. It stands beside the
/// exchanges of the first source.
#[cfg(feature = "amqp")]
pub(super) fn unrouted(config: &Config) -> String {
    format!(
        "{}unrouted.v1",
        config
            .sources
            .first()
            .map_or("minchat.", |source| source.prefix.as_str())
    )
}

/// An exchange as its publisher wants it: that of the dead letters gets a queue of its name with it.
#[cfg(feature = "amqp")]
pub(super) fn amqp_destination(
    unrouted: &str,
    exchange: &str,
    routing_key: &str,
) -> amqp::Destination {
    let is_for_dead_letters = routing_key == EventType::DeadLetter.name();
    amqp::Destination {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        queue: is_for_dead_letters.then(|| exchange.to_owned()),
        unrouted: unrouted.to_owned(),
    }
}
