use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result,
};

use super::families::Families;
use super::table;
use crate::route::Broker;

/// What is counted of one broker. Cloning is cheap, and all clones count together.
#[derive(Clone)]
pub struct BrokerMetrics(Arc<BrokerSeries>);

struct BrokerSeries {
    broker: Broker,
    repeated: IntCounter,
    publish_duration: Histogram,
    delivery_latency: Histogram,
    up: IntGauge,
    reconnects: IntCounter,
}

impl BrokerMetrics {
    /// Which broker this is.
    #[must_use]
    pub fn broker(&self) -> Broker {
        self.0.broker
    }

    /// So many events were handed over again.
    pub fn repeated(&self, events: u64) {
        self.0.repeated.inc_by(events);
    }

    /// A confirm came, this long after the event was handed over.
    pub fn publish_duration(&self, took: Duration) {
        self.0.publish_duration.observe(took.as_secs_f64());
    }

    /// A confirm came, this long after the webhook.
    pub fn delivery_latency(&self, took: Duration) {
        self.0.delivery_latency.observe(took.as_secs_f64());
    }

    /// The broker takes events, or it does not.
    pub fn up(&self, up: bool) {
        self.0.up.set(up.into());
    }

    /// A connection was made again after one was lost.
    pub fn reconnected(&self) {
        self.0.reconnects.inc();
    }
}

/// The families of the brokers.
pub(super) struct Brokers {
    repeated: IntCounterVec,
    publish_duration: HistogramVec,
    delivery_latency: HistogramVec,
    up: IntGaugeVec,
    reconnects: IntCounterVec,
}

impl Brokers {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        Ok(Brokers {
            repeated: families.counters(&table::PUBLISH_REPEATED)?,
            publish_duration: families.histograms(&table::PUBLISH_DURATION)?,
            delivery_latency: families.histograms(&table::DELIVERY_LATENCY)?,
            up: families.gauges(&table::BROKER_UP)?,
            reconnects: families.counters(&table::BROKER_RECONNECTS)?,
        })
    }

    pub(super) fn series(&self, broker: Broker) -> BrokerMetrics {
        let label = [broker.name()];
        BrokerMetrics(Arc::new(BrokerSeries {
            broker,
            repeated: self.repeated.with_label_values(&label),
            publish_duration: self.publish_duration.with_label_values(&label),
            delivery_latency: self.delivery_latency.with_label_values(&label),
            up: self.up.with_label_values(&label),
            reconnects: self.reconnects.with_label_values(&label),
        }))
    }
}
