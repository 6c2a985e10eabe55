//! Wires all rooms together, starts and stops them in order. The only file that knows them all.

// Built without any broker by what needs none, as fuzzing: what only theirs is stays unused there.
#![cfg_attr(not(any(feature = "kafka", feature = "amqp")), allow(unused_variables))]

mod brokers;
mod dead_letters;
mod drain;
mod generation;
mod places;
mod probe;
mod rejections;
mod reload;
mod signals;
mod storage;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use brokers::Publishers;
pub use dead_letters::{Replayed, Unread, dead_letters, replay};
pub use drain::{Drained, drain};
pub use generation::{sealer, table};
pub use places::Place;
pub use probe::{Probed, probe};
use reload::Reload;
use signals::{Caught, Signals};

use crate::certificates;
use crate::config::{Config, Inputs, Loaded, Narrowing};
use crate::delivery::{Delivery, KeptDeadLetters, Parts};
use crate::http::{self, Behind, Bound, Slug};
use crate::metrics::{Labels, Metrics};
use crate::publish::file;
#[cfg(feature = "kafka")]
use crate::publish::kafka;
use crate::route::Broker;
use crate::spool::{Opened, Spool};

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
    /// The spool can't be had.
    #[error("spool.dir")]
    Spool(#[source] crate::spool::OpenError),
    /// The metrics contradict each other.
    #[error("the metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
}

/// The bridge, bound and not serving yet.
pub struct Application {
    runtime: Runtime,
    signals: Caught,
    bound: Bound,
    delivery: Delivery,
    reload: Reload,
    shutdown_timeout: Duration,
}

impl Application {
    /// Binds the listeners and starts the lanes. Brokers that are down are no error. `inputs` are
    /// read again to reload.
    ///
    /// # Errors
    /// When the configuration can't work on this machine.
    pub fn build(loaded: Loaded, inputs: Inputs) -> Result<Self, Failed> {
        let config = &loaded.config;
        check(config)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|source| failed("no runtime can be started", source))?;
        let Lanes { behind, publishers } = lanes(config, &runtime, storage::open(config)?)?;
        let (delivery, metrics) = (behind.delivery.clone(), Arc::clone(&behind.metrics));
        show_certificates(config, &metrics);
        let guard = runtime.enter();
        // Before the bridge can be reached, so that nobody who sees it can end it otherwise than in order.
        let signals =
            Caught::new().map_err(|source| failed("signals can't be received", source))?;
        let bound = http::bind(&config.http, &config.admin, &config.sources, behind);
        drop(guard);
        let bound = bound.map_err(|error| failed(error.what, error.source))?;
        tell_what_to_do(config, bound.addresses().webhooks, bound.addresses().admin);
        let shutdown_timeout = config.http.shutdown_timeout;
        let mut narrowing = Narrowing::default();
        narrowing.add(&loaded);
        let reload = Reload {
            inputs,
            narrowing,
            edge: bound.edge(),
            delivery: delivery.clone(),
            publishers,
            metrics,
            started: loaded.clone(),
            holds: loaded,
        };
        Ok(Application {
            runtime,
            signals,
            bound,
            delivery,
            reload,
            shutdown_timeout,
        })
    }

    /// Serves until a signal asks for the end; then finishes what is in flight, and ends.
    ///
    /// # Errors
    /// When a listener ended by itself.
    pub fn run_until_stopped(self) -> Result<(), Failed> {
        let Application {
            runtime,
            signals,
            bound,
            delivery,
            reload,
            shutdown_timeout,
        } = self;
        let metrics = Arc::clone(&reload.metrics);
        let reload = reload
            .start()
            .map_err(|source| failed("no thread to reload", source))?;
        let served = runtime.block_on(async {
            let signals = Signals::new(signals, bound.stopper(), reload);
            let watching = tokio::spawn(signals.obey());
            tokio::spawn(tell_when_ready(delivery.clone()));
            tokio::spawn(rejections::log_rejections(metrics));
            let served = bound
                .run()
                .await
                .map_err(|source| failed("the listener ended by itself", source));
            watching.abort();
            served
        });
        let left = delivery.stop(FLUSH.min(shutdown_timeout));
        match (left, delivery.spooled()) {
            (0, spooled @ 1..) => tracing::info!(
                spooled,
                "stopped; events wait in the spool, and are published after the next start"
            ),
            (0, 0) => tracing::info!("stopped; every accepted event is published"),
            (left, _) => tracing::warn!(
                left,
                "stopped; events were left that no sender was promised"
            ),
        }
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }
}

/// Says, for whoever watches the start, when every destination takes events: by its broker, or until that is reached for
/// the first time by the spool.
async fn tell_when_ready(delivery: Delivery) {
    let mut is_told_of_the_spool = false;
    loop {
        let readiness = delivery.readiness();
        let waiting = readiness.iter().filter(|one| !one.detail.is_empty());
        let waiting: BTreeSet<&str> = waiting
            .filter_map(|one| one.destination.split(':').next())
            .collect();
        if waiting.is_empty() {
            break;
        }
        if !is_told_of_the_spool && readiness.iter().all(|one| one.ready) {
            is_told_of_the_spool = true;
            let brokers = waiting.into_iter().collect::<Vec<_>>().join(", ");
            tracing::info!(
                brokers,
                "serving: events wait in the spool until these brokers take them"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tracing::info!("ready: every destination takes events");
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

/// Shows when the certificates expire that the bridge logs in to the brokers with.
fn show_certificates(config: &Config, metrics: &Metrics) {
    let kafka = config.kafka.as_ref().and_then(|kafka| kafka.tls.as_ref());
    let kafka = kafka.and_then(|tls| tls.cert_file.as_deref());
    let amqp = config.amqp.as_ref().and_then(|amqp| amqp.tls.as_ref());
    let amqp = amqp.and_then(|tls| tls.cert_file.as_deref());
    for (broker, file) in [(Broker::Kafka, kafka), (Broker::Amqp, amqp)] {
        let validity = file.and_then(certificates::validity);
        metrics.broker_certificate_expires(broker, validity.map(|validity| validity.not_after));
    }
}

/// All that stands behind the listeners.
struct Lanes {
    behind: Behind,
    publishers: Publishers,
}

/// Starts the spool's writer, and a lane for each destination.
fn lanes(config: &Config, runtime: &Runtime, opened: Option<Opened>) -> Result<Lanes, Failed> {
    let table = match &opened {
        Some(opened) => storage::with_what_is_left(table(config), config, opened),
        None => table(config),
    };
    let metrics = Arc::new(metrics(config)?);
    let spool = opened.map(|opened| storage::start(opened, config, &table, &metrics));
    let spool = spool.transpose()?;
    let parts = Parts {
        settings: config.publish.clone(),
        table,
        sealer: sealer(config),
        metrics: Arc::clone(&metrics),
        kept: kept(config, spool.as_ref()),
        spool,
    };
    let publishers = Publishers::start(config, runtime, &metrics)
        .map_err(|source| failed("no thread for a broker's client", source))?;
    let delivery = Delivery::start(parts, &|destination| publishers.maker(destination))
        .map_err(|source| failed("no thread for a lane", source))?;
    let behind = Behind { delivery, metrics };
    Ok(Lanes { behind, publishers })
}

fn metrics(config: &Config) -> Result<Metrics, prometheus::Error> {
    Metrics::new(&Labels {
        brokers: config.brokers(),
        problems: Slug::ALL
            .iter()
            .filter(|slug| slug.is_of_webhooks())
            .map(|slug| (slug.name(), slug.status()))
            .collect(),
        success_status: config.http.success_status,
    })
}

/// Where dead letters go that no destination takes; none while the spool is off.
fn kept(config: &Config, spool: Option<&Spool>) -> Option<KeptDeadLetters> {
    let spool = spool.filter(|_| config.spool.max_size > 0);
    spool.cloned().map(KeptDeadLetters::new)
}

/// The first lines that somebody sees: where to post, where events go, and what to try next.
fn tell_what_to_do(config: &Config, webhooks: SocketAddr, admin: SocketAddr) {
    for source in &config.sources {
        let access = if source.auth.none {
            "open to everybody who reaches it"
        } else {
            "with credentials"
        };
        tracing::info!(
            "post webhooks to {}://{webhooks}/webhooks/{} ({access})",
            config.http.scheme(),
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
    if config.spool.max_size > 0 {
        tracing::info!(
            "events that a destination does not take now wait in {}",
            config.spool.dir.display()
        );
    }
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "minchat-bridge".to_owned());
    let first = config.sources.iter().take(1);
    for source in first.filter(|source| source.auth.none || !source.auth.tokens.is_empty()) {
        let token = if source.auth.none {
            ""
        } else {
            " --token TOKEN"
        };
        tracing::info!(
            "try next: {program} emit --url {}://{webhooks}/webhooks/{}{token}",
            config.http.scheme(),
            source.name
        );
    }
}

fn failed(what: impl Into<String>, source: io::Error) -> Failed {
    Failed::Io {
        what: what.into(),
        source,
    }
}
