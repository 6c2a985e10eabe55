//! A bridge that a test starts and stops.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use minchat_bridge::delivery::{self, Delivery, Parts};
use minchat_bridge::envelope::{self, Sealer};
use minchat_bridge::http::settings::{
    AdminSettings, AuthSettings, RateLimit, Settings, SourceSettings,
};
use minchat_bridge::http::{self, Addresses, Behind, Slug, Stopper};
use minchat_bridge::metrics::{Labels, Metrics};
use minchat_bridge::route::{Broker, Table};
use minchat_bridge::secret::Secret;
use minchat_bridge::spool::Spool;

use crate::client::{Connection, get};
use crate::scripted::{Script, Scripted};

/// The token that the source `minchat` takes; the source `open` takes everybody, `rated` two at once.
pub const TOKEN: &str = "s3cret-t0ken";

/// A bridge in this process, with a thread of its own.
pub struct Bridge {
    addresses: Addresses,
    stopper: Stopper,
    delivery: Delivery,
    broker: Scripted,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Bridge {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// A bridge with other settings than the tests' usual ones.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let admin = AdminSettings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let sources = sources();
        let broker = Scripted::default();
        let behind = behind(&settings, &sources, &broker);
        let delivery = behind.delivery.clone();
        let bound = http::bind(&settings, &admin, &sources, behind).expect("port 0 is always free");
        let (addresses, stopper) = (bound.addresses(), bound.stopper());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(bound.run())
        });
        let bridge = Bridge {
            addresses,
            stopper,
            delivery,
            broker,
            thread: Some(thread),
        };
        bridge.await_readiness(200, "ok");
        bridge
    }

    pub fn webhooks(&self) -> SocketAddr {
        self.addresses.webhooks
    }

    pub fn admin(&self) -> SocketAddr {
        self.addresses.admin
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.webhooks())
    }

    pub fn script(&self, script: Script) {
        self.broker.script(script);
    }

    /// The `data` of each event that the broker was handed, as it stands in its envelope.
    pub fn published(&self) -> Vec<String> {
        let envelopes = self.broker.published().into_iter();
        let data = envelopes.filter_map(|envelope| {
            Some(
                envelope
                    .split_once(",\"data\":")?
                    .1
                    .strip_suffix('}')?
                    .to_owned(),
            )
        });
        data.collect()
    }

    /// Waits until the readiness probe has this status, and says this.
    pub fn await_readiness(&self, status: u16, says: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let ready = get(self.admin(), "/readyz");
            if ready.status == status && ready.text().contains(says) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} {}",
                ready.status,
                ready.text()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the sum of the series whose lines begin so to be that.
    pub fn await_metric(&self, begins: &str, value: f64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let now = self.metric(begins);
            if now == value {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{begins} is {now}, and should be {value}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn metric(&self, begins: &str) -> f64 {
        let text = get(self.admin(), "/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with(begins));
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Begins to stop.
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Waits for the end, and says how long that took.
    pub fn ended(mut self) -> Duration {
        let began = Instant::now();
        let thread = self.thread.take().expect("only this and drop take it");
        thread
            .join()
            .expect("the bridge does not panic")
            .expect("the bridge ends well");
        began.elapsed()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.stopper.stop_at_once();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.delivery.stop(Duration::ZERO);
    }
}

/// The tests' usual ones.
pub fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        workers: 1,
        max_connections: 1000,
        max_in_flight: 100,
        max_in_flight_bytes: 10 << 20,
        max_body: 64 << 10,
        head_size: 64 << 10,
        header_timeout: Duration::from_secs(5),
        body_timeout: Duration::from_secs(5),
        body_min_rate: 1 << 10,
        keep_alive: Duration::from_secs(75),
        stop_delay: Duration::ZERO,
        shutdown_timeout: Duration::from_secs(12),
        success_status: 202,
        tls: None,
    }
}

/// A source that takes these tokens, or everybody.
pub fn source(name: &str, tokens: &[&str], rate_limit: Option<RateLimit>) -> SourceSettings {
    SourceSettings {
        name: name.to_owned(),
        uri: format!("/webhooks/{name}"),
        prefix: format!("{name}."),
        rate_limit,
        auth: AuthSettings {
            tokens: tokens.iter().map(|token| Secret::new(*token)).collect(),
            none: tokens.is_empty(),
            ..AuthSettings::default()
        },
        allow_from: Vec::new(),
        trusted_proxies: Vec::new(),
    }
}

fn sources() -> Vec<SourceSettings> {
    let rated = RateLimit {
        per_second: 1,
        burst: 2,
    };
    vec![
        source("minchat", &["another", TOKEN], None),
        source("open", &[], None),
        source("rated", &[], Some(rated)),
    ]
}

fn behind(settings: &Settings, sources: &[SourceSettings], broker: &Scripted) -> Behind {
    let parts = parts(settings, sources, Broker::Kafka, None);
    let metrics = parts.metrics.clone();
    let delivery = Delivery::start(parts, &|_| {
        let broker = broker.clone();
        Box::new(move |reporter| broker.publisher(reporter))
    });
    Behind {
        delivery: delivery.expect("threads can be started"),
        metrics,
    }
}

/// What delivery works with, where all events go to one broker.
pub fn parts(
    settings: &Settings,
    sources: &[SourceSettings],
    broker: Broker,
    spool: Option<Spool>,
) -> Parts {
    let prefixes = sources.iter().map(|s| s.prefix.as_str());
    let table = Table::new(prefixes, &[broker], &Default::default());
    let envelope = envelope::Settings {
        schema_base: "tag:minchat.io,2026:bridge:schema:".to_owned(),
    };
    let names = sources.iter().map(|s| (s.name.as_str(), s.uri.as_str()));
    Parts {
        settings: delivery::settings::Settings {
            spool_after: Duration::from_millis(250),
            deadline: Duration::from_secs(60),
            window: 32 << 20,
        },
        sealer: Sealer::new(&envelope, names),
        metrics: Arc::new(metrics(settings, broker)),
        kept: None,
        spool,
        table,
    }
}

fn metrics(settings: &Settings, broker: Broker) -> Metrics {
    let labels = Labels {
        brokers: vec![broker],
        problems: Slug::ALL
            .iter()
            .filter(|slug| slug.is_of_webhooks())
            .map(|slug| (slug.name(), slug.status()))
            .collect(),
        success_status: settings.success_status,
    };
    Metrics::new(&labels).expect("the metrics don't contradict each other")
}
