//! Wires all rooms together, starts and stops them in order. The only file that knows them all.

mod probe;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use probe::{Probed, probe};

use crate::config::Config;
use crate::delivery::{Delivery, KeptDeadLetters, Parts};
use crate::envelope::{EventType, Sealer};
use crate::http::{self, Behind, Bound, Slug, Stopper};
use crate::metrics::{Labels, Metrics};
#[cfg(feature = "amqp")]
use crate::publish::amqp;
use crate::publish::file;
#[cfg(feature = "kafka")]
use crate::publish::kafka;
use crate::publish::{Publisher, Reporter};
use crate::route::{Address, Broker, Destination, Table};

/// How long the brokers are waited for at the end, once nothing is in flight at the edge.
const FLUSH: Duration = Duration::from_secs(2);

/// Why the bridge did not start, or ended otherwise than it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The configuration names something that can't work.
    #[error("{0}")]
    Configuration(String),
    /// A directory, a socket or a thread can't be had.
    #[error("{what}")]
    Io {
        /// What was wanted.
        what: String,
        /// Why it can't be had.
        source: io::Error,
    },
    /// The metrics contradict each other.
    #[error("the metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
}

/// The bridge, bound and not serving yet.
pub struct Application {
    runtime: Runtime,
    bound: Bound,
    delivery: Delivery,
    shutdown_timeout: Duration,
}

impl Application {
    /// Binds the listeners and starts the lanes. Brokers that are down are no error.
    ///
    /// # Errors
    /// When the configuration can't work on this machine.
    pub fn build(config: &Config) -> Result<Self, Failed> {
        check(config)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|source| failed("no runtime can be started", source))?;
        let table = table(config);
        let metrics = Arc::new(metrics(config, &table)?);
        let sources = config
            .sources
            .iter()
            .map(|s| (s.name.as_str(), s.uri.as_str()));
        let sealer = Arc::new(Sealer::new(&config.envelope, sources));
        let delivery = delivery(config, &runtime, table, Arc::clone(&sealer), &metrics)?;
        let behind = Behind {
            sealer,
            delivery: delivery.clone(),
            metrics,
        };
        let guard = runtime.enter();
        let bound = http::bind(&config.http, &config.admin, &config.sources, behind);
        drop(guard);
        let bound = bound.map_err(|source| {
            failed(
                format!(
                    "can't listen on {} and {}",
                    config.http.listen, config.admin.listen
                ),
                source,
            )
        })?;
        tell_what_to_do(config, bound.addresses().webhooks, bound.addresses().admin);
        Ok(Application {
            runtime,
            bound,
            delivery,
            shutdown_timeout: config.http.shutdown_timeout,
        })
    }

    /// Serves until a signal asks for the end; then finishes what is in flight, and ends.
    ///
    /// # Errors
    /// When a listener ended by itself.
    pub fn run_until_stopped(self) -> Result<(), Failed> {
        let Application {
            runtime,
            bound,
            delivery,
            shutdown_timeout,
        } = self;
        let served = runtime.block_on(async {
            let signals = Signals::listen(bound.stopper(), delivery.clone());
            let signals = signals.map_err(|source| failed("signals can't be received", source))?;
            let watching = tokio::spawn(signals.obey());
            tokio::spawn(tell_when_ready(delivery.clone()));
            let served = bound
                .run()
                .await
                .map_err(|source| failed("the listener ended by itself", source));
            watching.abort();
            served
        });
        let left = delivery.stop(FLUSH.min(shutdown_timeout));
        match left {
            0 => tracing::info!("stopped; every accepted event is published"),
            left => tracing::warn!(
                left,
                "stopped; events were left that no sender was promised"
            ),
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }
}

/// Says once that every destination takes events, for whoever watches the start.
async fn tell_when_ready(delivery: Delivery) {
    while !delivery
        .readiness()
        .iter()
        .all(|destination| destination.ready)
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tracing::info!("ready: every destination takes events");
}

/// What the process is told by signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    stopper: Stopper,
    delivery: Delivery,
}

impl Signals {
    fn listen(stopper: Stopper, delivery: Delivery) -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            stopper,
            delivery,
        })
    }

    async fn obey(mut self) {
        let mut asked: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hang_up.recv() => {
                    tracing::info!("SIGHUP: opening the event files anew");
                    self.delivery.reopen();
                    continue;
                }
            }
            match asked.replace(Instant::now()) {
                None => {
                    tracing::info!(
                        "stopping: finishing what is in flight; a second signal ends it at once"
                    );
                    self.stopper.stop();
                }
                Some(_) => {
                    tracing::warn!("stopping at once");
                    self.stopper.stop_at_once();
                }
            }
        }
    }
}

/// Where the events of this configuration go.
pub fn table(config: &Config) -> Table {
    let on = [
        (Broker::Kafka, config.kafka.is_some()),
        (Broker::Amqp, config.amqp.is_some()),
        (Broker::File, config.file.is_some()),
    ];
    let brokers: Vec<Broker> = on
        .into_iter()
        .filter_map(|(broker, is_on)| is_on.then_some(broker))
        .collect();
    Table::new(
        config.sources.iter().map(|source| source.prefix.as_str()),
        &brokers,
        &config.routes,
    )
}

/// What only this machine and the libraries on it can tell of a configuration.
///
/// # Errors
/// What can't work.
pub fn check(config: &Config) -> Result<(), Failed> {
    #[cfg(feature = "kafka")]
    if let Some(kafka) = &config.kafka {
        kafka::check(kafka).map_err(|why| Failed::Configuration(format!("kafka: {why}")))?;
    }
    if let Some(file) = &config.file {
        file::check(file).map_err(|source| {
            failed(
                format!("file.dir: events can't be kept in {}", file.dir.display()),
                source,
            )
        })?;
    }
    Ok(())
}

fn metrics(config: &Config, table: &Table) -> Result<Metrics, prometheus::Error> {
    let destinations = table.destinations().iter().map(|d| (d.broker, d.name()));
    Metrics::new(&Labels {
        sources: config
            .sources
            .iter()
            .map(|source| source.name.clone())
            .collect(),
        destinations: destinations.collect(),
        problems: Slug::ALL
            .iter()
            .map(|slug| (slug.name(), slug.status()))
            .collect(),
        success_status: config.http.success_status,
    })
}

fn delivery(
    config: &Config,
    runtime: &Runtime,
    table: Table,
    sealer: Arc<Sealer>,
    metrics: &Arc<Metrics>,
) -> Result<Delivery, Failed> {
    let publishers = Publishers::start(config, runtime, metrics)
        .map_err(|source| failed("no thread for a broker's client", source))?;
    let kept = (config.spool.max_size > 0).then(|| {
        KeptDeadLetters::new(config.spool.dir.join("dead-letters"), config.spool.max_size)
    });
    let parts = Parts {
        settings: config.publish.clone(),
        table,
        sealer,
        metrics: Arc::clone(metrics),
        kept,
    };
    Delivery::start(parts, &|destination| publishers.maker(destination))
        .map_err(|source| failed("no thread for a lane", source))
}

/// The brokers that are on.
#[derive(Clone)]
struct Publishers {
    #[cfg(feature = "kafka")]
    kafka: Option<Arc<kafka::Kafka>>,
    #[cfg(feature = "amqp")]
    amqp: Option<amqp::Amqp>,
    #[cfg(feature = "amqp")]
    unrouted: String,
    file: Option<file::settings::Settings>,
}

/// Makes a publisher that reports to its lane.
type Maker = Box<dyn FnOnce(Reporter) -> Box<dyn Publisher> + Send>;

impl Publishers {
    fn start(config: &Config, runtime: &Runtime, metrics: &Arc<Metrics>) -> io::Result<Self> {
        Ok(Publishers {
            #[cfg(feature = "kafka")]
            kafka: match &config.kafka {
                Some(settings) => {
                    let metrics = Arc::clone(metrics);
                    let on_queue = Arc::new(move |events| metrics.kafka_queue_events(events));
                    Some(Arc::new(kafka::Kafka::start(
                        settings.clone(),
                        runtime.handle().clone(),
                        on_queue,
                    )?))
                }
                None => None,
            },
            #[cfg(feature = "amqp")]
            amqp: config
                .amqp
                .as_ref()
                .map(|settings| start_amqp(settings, config, runtime, metrics)),
            #[cfg(feature = "amqp")]
            unrouted: unrouted(config),
            file: config.file.clone(),
        })
    }

    fn maker(&self, destination: &Destination) -> Maker {
        let (publishers, address) = (self.clone(), destination.address.clone());
        Box::new(move |reporter| publishers.publisher(&address, reporter))
    }

    fn publisher(&self, address: &Address, reporter: Reporter) -> Box<dyn Publisher> {
        const ON: &str = "the table has destinations at brokers that are on alone";
        match address {
            #[cfg(feature = "kafka")]
            Address::Topic(topic) => self.kafka.as_ref().expect(ON).publisher(topic, reporter),
            #[cfg(feature = "amqp")]
            Address::Exchange {
                exchange,
                routing_key,
            } => {
                let destination = amqp_destination(&self.unrouted, exchange, routing_key);
                Box::new(
                    self.amqp
                        .as_ref()
                        .expect(ON)
                        .publisher(destination, reporter),
                )
            }
            Address::File(name) => file::publisher(self.file.as_ref().expect(ON), name, reporter),
            #[cfg(not(all(feature = "kafka", feature = "amqp")))]
            _ => unreachable!("a broker that is not compiled in is refused with the configuration"),
        }
    }
}

/// Connects to RabbitMQ, with the gauges that its connection moves.
#[cfg(feature = "amqp")]
fn start_amqp(
    settings: &amqp::settings::Settings,
    config: &Config,
    runtime: &Runtime,
    metrics: &Arc<Metrics>,
) -> amqp::Amqp {
    let blocked = Arc::clone(metrics);
    let amqp = amqp::Amqp::new(settings.clone(), runtime.handle().clone(), move |is| {
        blocked.amqp_connection_blocked(is)
    });
    let unrouted_messages = Arc::clone(metrics);
    amqp.watch_unrouted(vec![unrouted(config)], move |messages| {
        unrouted_messages.amqp_unrouted_messages(messages);
    });
    amqp
}

/// The alternate exchange of all exchanges that are created, and its queue. It stands beside the
/// exchanges of the first source.
#[cfg(feature = "amqp")]
fn unrouted(config: &Config) -> String {
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
fn amqp_destination(unrouted: &str, exchange: &str, routing_key: &str) -> amqp::Destination {
    let is_for_dead_letters = routing_key == EventType::DeadLetter.name();
    amqp::Destination {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        queue: is_for_dead_letters.then(|| exchange.to_owned()),
        unrouted: unrouted.to_owned(),
    }
}

/// The first lines that somebody sees: where to post, where events go, and what to try next.
fn tell_what_to_do(config: &Config, webhooks: SocketAddr, admin: SocketAddr) {
    for source in &config.sources {
        let access = if source.auth.none {
            "open to everybody who reaches it"
        } else {
            "with a token"
        };
        tracing::info!(
            "post webhooks to http://{webhooks}/webhooks/{} ({access})",
            source.name
        );
    }
    if let Some(kafka) = &config.kafka {
        tracing::info!(
            "events go to Kafka at {}",
            kafka.bootstrap_servers.join(",")
        );
    }
    if config.amqp.is_some() {
        tracing::info!("events go to RabbitMQ");
    }
    if let Some(file) = &config.file {
        tracing::info!(
            "events go to {}/*.ndjson, a file for each kind",
            file.dir.display()
        );
    }
    tracing::info!("metrics, health and version at http://{admin}/metrics, /readyz and /version");
    tracing::info!("try next: minchat-bridge emit");
}

fn failed(what: impl Into<String>, source: io::Error) -> Failed {
    Failed::Io {
        what: what.into(),
        source,
    }
}
