//! What the bridge counts: one struct, registered once, with a verb for each thing that happens.
//!
//! Guarantees: every series that can occur is there before it is counted, at 0; labels come from
//! closed sets; counting on the way of an event takes no lock and looks up no string, since whoever
//! counts holds its series. What a source or a destination that is gone has counted stays.
//! Leaves to others: when something is counted. [`table`] says what each metric means.

mod broker;
mod destination;
mod edge;
mod families;
mod http;
mod labels;
pub mod table;
mod webhooks;

#[cfg(test)]
mod tests;

use std::time::Duration;

use prometheus::{Encoder, Histogram, IntCounter, IntGauge, Registry, Result, TextEncoder};

pub use broker::BrokerMetrics;
pub use destination::{DestinationMetrics, QueueMetrics};
pub use http::{Endpoint, Rejections};
pub use labels::Labels;
pub use webhooks::SourceMetrics;

use crate::minchat::{DriftSet, Kind};
use crate::route::Broker;
use families::Families;

/// The content type of what [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All metrics.
pub struct Metrics {
    registry: Registry,
    http: http::HttpMetrics,
    webhooks: webhooks::WebhookMetrics,
    brokers: broker::Brokers,
    destinations: destination::Destinations,
    spool_max_bytes: IntGauge,
    spool_corrupt: IntCounter,
    spool_sync_duration: Histogram,
    kafka_queue_events: IntGauge,
    amqp_connection_blocked: IntGauge,
    amqp_unrouted_messages: IntGauge,
    edge: edge::EdgeMetrics,
    log_lines_dropped: IntCounter,
}

impl Metrics {
    /// Registers every metric with every series that these labels can lead to. Those of sources and
    /// destinations are there once they are asked for.
    ///
    /// # Errors
    /// When the metrics contradict each other, which the tests rule out.
    pub fn new(labels: &Labels) -> Result<Self> {
        let registry = Registry::new();
        let families = Families(&registry);
        let is_on = |broker| labels.brokers.contains(&broker);
        let (kafka, amqp) = (is_on(Broker::Kafka), is_on(Broker::Amqp));
        build(&families)?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            http: http::HttpMetrics::new(&families, labels)?,
            webhooks: webhooks::WebhookMetrics::new(&families, labels)?,
            kafka_queue_events: families.gauge_if(kafka, &table::KAFKA_QUEUE_EVENTS)?,
            amqp_connection_blocked: families.gauge_if(amqp, &table::AMQP_CONNECTION_BLOCKED)?,
            amqp_unrouted_messages: families.gauge_if(amqp, &table::AMQP_UNROUTED_MESSAGES)?,
            spool_max_bytes: families.gauge(&table::SPOOL_MAX_BYTES)?,
            spool_corrupt: families.counter(&table::SPOOL_CORRUPT)?,
            spool_sync_duration: families.histogram(&table::SPOOL_SYNC_DURATION)?,
            edge: edge::EdgeMetrics::new(&families)?,
            log_lines_dropped: families.counter(&table::LOG_LINES_DROPPED)?,
            brokers: broker::Brokers::new(&families)?,
            destinations: destination::Destinations::new(&families)?,
            registry,
        })
    }

    /// All series in Prometheus' text format, whose type is [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// When the registry cannot be written out, which is a bug.
    pub fn render(&self) -> Result<Vec<u8>> {
        let mut text = Vec::with_capacity(32 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// What is counted of a source.
    #[must_use]
    pub fn source(&self, name: &str) -> SourceMetrics {
        self.webhooks.source(name)
    }

    /// What is counted of a destination.
    #[must_use]
    pub fn destination(&self, broker: Broker, name: &str) -> DestinationMetrics {
        self.destinations.series(self.broker(broker), name)
    }

    /// What is counted of a broker.
    #[must_use]
    pub fn broker(&self, broker: Broker) -> BrokerMetrics {
        self.brokers.series(broker)
    }

    /// What is shown of a queue whose destination has no lane, since its broker is not configured.
    #[must_use]
    pub fn queue_without_lane(&self, broker: Broker, destination: &str) -> QueueMetrics {
        self.destinations.queues.series(broker, destination)
    }

    /// What the spool may take up, in bytes; 0 while it is off.
    pub fn spool_max_bytes(&self, bytes: u64) {
        self.spool_max_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So many places of the spool were found corrupt.
    pub fn spool_corrupt(&self, places: u64) {
        self.spool_corrupt.inc_by(places);
    }

    /// The spool was written to and synced, within this time.
    pub fn spool_synced(&self, took: Duration) {
        self.spool_sync_duration.observe(took.as_secs_f64());
    }

    /// A request was answered, this long after its head had come.
    pub fn request_finished(&self, endpoint: Endpoint, status: u16, took: Duration) {
        self.http.request_finished(endpoint, status, took);
    }

    /// A webhook counts as in flight from now on.
    pub fn in_flight_began(&self) {
        self.http.in_flight.inc();
    }

    /// A webhook is no longer in flight.
    pub fn in_flight_ended(&self) {
        self.http.in_flight.dec();
    }

    /// This many bytes of a body are held from now on.
    pub fn in_flight_bytes_added(&self, bytes: usize) {
        self.http.in_flight_bytes.add(signed(bytes));
    }

    /// This many bytes of a body are let go.
    pub fn in_flight_bytes_removed(&self, bytes: usize) {
        self.http.in_flight_bytes.sub(signed(bytes));
    }

    /// A connection was opened.
    pub fn connection_opened(&self) {
        self.http.connections.inc();
    }

    /// A connection was closed.
    pub fn connection_closed(&self) {
        self.http.connections.dec();
    }

    /// The most connections that may be open.
    pub fn max_connections(&self, limit: usize) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.http.max_connections.set(limit);
    }

    /// A connection was closed since as many as allowed are open: one that was open, or the new one.
    pub fn connection_evicted(&self) {
        self.http.connections_evicted.inc();
    }

    /// A TLS handshake with the webhook listener failed.
    pub fn tls_handshake_failed(&self) {
        self.http.tls_handshakes_failed.inc();
    }

    /// What the listeners have rejected since the start.
    #[must_use]
    pub fn rejections(&self) -> Rejections {
        self.http.rejections()
    }

    /// So many lines of the log were dropped.
    pub fn log_lines_dropped(&self, lines: u64) {
        self.log_lines_dropped.inc_by(lines);
    }

    /// A webhook whose URL names no source that is known was answered with the problem of this slug.
    pub fn webhook_without_source(&self, slug: &'static str) {
        self.webhooks.without_source(slug);
    }

    /// A payload departs from today's shape in these ways.
    pub fn drift(&self, kind: Kind, drifts: DriftSet) {
        self.webhooks.drifted(kind, drifts);
    }

    /// So many events are in the queues of the Kafka client.
    pub fn kafka_queue_events(&self, events: u64) {
        self.kafka_queue_events
            .set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// The AMQP broker blocked the connection, or unblocked it.
    pub fn amqp_connection_blocked(&self, blocked: bool) {
        self.amqp_connection_blocked.set(blocked.into());
    }

    /// So many messages are in the queue of the unrouted.
    pub fn amqp_unrouted_messages(&self, messages: u64) {
        self.amqp_unrouted_messages
            .set(i64::try_from(messages).unwrap_or(i64::MAX));
    }

    /// The certificate of the webhook listener expires then, in seconds since 1970. Shown from the
    /// first call on.
    pub fn certificate_expires(&self, not_after: i64) {
        self.edge.certificate_expires(not_after);
    }

    /// The bridge's own certificate at a broker expires then, in seconds since 1970. `None`: it shows none.
    pub fn broker_certificate_expires(&self, broker: Broker, not_after: Option<i64>) {
        self.edge.broker_certificate_expires(broker, not_after);
    }

    /// A configuration was taken into use now: the first, or another.
    pub fn config_loaded(&self) {
        self.edge.config_loaded();
    }

    /// A configuration was not taken into use, as it does not hold.
    pub fn config_refused(&self) {
        self.edge.config_refused();
    }
}

fn build(families: &Families<'_>) -> Result<()> {
    let revision = option_env!("MINCHAT_BRIDGE_REVISION").unwrap_or("unknown");
    families
        .gauges(&table::BUILD)?
        .with_label_values(&[env!("CARGO_PKG_VERSION"), revision])
        .set(1);
    Ok(())
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
