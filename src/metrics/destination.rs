use std::sync::Arc;

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result};

use super::broker::BrokerMetrics;
use super::families::Families;
use super::table;
use crate::envelope::{DeadLetterReason, Stage};
use crate::publish::Reason;
use crate::route::Broker;

/// The `destination` of what no one destination is the cause of.
const NO_DESTINATION: &str = "none";

/// What is counted of one destination and its lane. Cloning is cheap, and all clones count
/// together.
#[derive(Clone)]
pub struct DestinationMetrics(Arc<DestinationSeries>);

struct DestinationSeries {
    broker: BrokerMetrics,
    lane_events: IntCounter,
    lane_pending: IntGauge,
    published: IntCounter,
    published_bytes: IntCounter,
    failures: [IntCounter; Reason::ALL.len()],
    dead_letters: [IntCounter; DeadLetterReason::ALL.len()],
    spool: QueueMetrics,
}

/// What is shown of a queue of the spool, whether or not its destination has a lane.
#[derive(Clone)]
pub struct QueueMetrics {
    events: IntGauge,
    bytes: IntGauge,
    oldest: Gauge,
    appended: IntCounter,
    drained: IntCounter,
}

impl QueueMetrics {
    /// It holds so many events, and takes up so many bytes.
    pub fn holds(&self, events: u64, bytes: u64) {
        self.events.set(i64::try_from(events).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Its oldest event was received at this time, in microseconds since 1970.
    pub fn oldest(&self, received: Option<u64>) {
        self.oldest.set(received.unwrap_or(0) as f64 / 1e6);
    }
}

impl DestinationMetrics {
    /// What is counted of the broker that this destination is on.
    #[must_use]
    pub fn broker(&self) -> &BrokerMetrics {
        &self.0.broker
    }

    /// The lane was given an event.
    pub fn lane_event(&self) {
        self.0.lane_events.inc();
    }

    /// So many events were found in the spool at the start.
    pub fn found_in_spool(&self, events: u64) {
        self.0.lane_events.inc_by(events);
    }

    /// So many events were appended to the spool.
    pub fn spool_appended(&self, events: u64) {
        self.0.spool.appended.inc_by(events);
    }

    /// So many events left the spool.
    pub fn spool_drained(&self, events: u64) {
        self.0.spool.drained.inc_by(events);
    }

    /// What is shown of its queue.
    #[must_use]
    pub fn spool(&self) -> &QueueMetrics {
        &self.0.spool
    }

    /// So many events of the lane are neither confirmed nor dead-lettered.
    pub fn pending(&self, events: usize) {
        self.0
            .lane_pending
            .set(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// An event of this size was confirmed for the first time.
    pub fn published(&self, bytes: usize) {
        self.0.published.inc();
        self.0.published_bytes.inc_by(bytes as u64);
    }

    /// A publish failed.
    pub fn publish_failed(&self, reason: Reason) {
        self.0.failures[reason.index()].inc();
    }

    /// An event for this destination became a dead letter. What was refused at parse never had a
    /// destination: it is counted for the broker alone, on whichever destination it is called.
    pub fn dead_lettered(&self, reason: DeadLetterReason) {
        self.0.dead_letters[reason.index()].inc();
    }
}

/// How a broker's publishes can fail.
struct Failures {
    /// By what is wrong with one destination.
    of_a_destination: &'static [Reason],
    /// By what is wrong with the broker, whatever the destination: one series for all of them,
    /// since a series for each destination would say nothing more.
    of_the_broker: &'static [Reason],
}

impl Failures {
    const fn of(broker: Broker) -> Self {
        use Reason::{
            Authentication, Blocked, Disconnected, DiskFull, Fatal, Io, Nack, NotLeader, Other,
            QueueFull, Rejected, Returned, Timeout, TooLarge, Unauthorized, UnknownDestination,
        };
        match broker {
            Broker::Kafka => Self {
                of_a_destination: &[UnknownDestination, Unauthorized, TooLarge, Rejected],
                of_the_broker: &[
                    Timeout,
                    Disconnected,
                    NotLeader,
                    Authentication,
                    QueueFull,
                    Fatal,
                    Other,
                ],
            },
            Broker::Amqp => Self {
                of_a_destination: &[UnknownDestination, Unauthorized, TooLarge, Nack, Returned],
                of_the_broker: &[
                    Timeout,
                    Disconnected,
                    Authentication,
                    Blocked,
                    Rejected,
                    Other,
                ],
            },
            Broker::File => Self {
                of_a_destination: &[],
                of_the_broker: &[Io, DiskFull, Unauthorized, Other],
            },
        }
    }

    /// The labels that a failure is counted under. What a broker's lists don't name is its
    /// `other`.
    fn labels<'a>(&self, destination: &'a str, reason: Reason) -> [&'a str; 2] {
        if self.of_a_destination.contains(&reason) {
            [destination, reason.name()]
        } else if self.of_the_broker.contains(&reason) {
            [NO_DESTINATION, reason.name()]
        } else {
            [NO_DESTINATION, Reason::Other.name()]
        }
    }
}

/// The families of the spool's queues.
pub(super) struct Queues {
    events: IntGaugeVec,
    bytes: IntGaugeVec,
    oldest: GaugeVec,
    appended: IntCounterVec,
    drained: IntCounterVec,
}

impl Queues {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        Ok(Queues {
            events: families.gauges(&table::SPOOL_EVENTS)?,
            bytes: families.gauges(&table::SPOOL_BYTES)?,
            oldest: families.float_gauges(&table::SPOOL_OLDEST_EVENT)?,
            appended: families.counters(&table::SPOOL_APPENDED)?,
            drained: families.counters(&table::SPOOL_DRAINED)?,
        })
    }

    pub(super) fn series(&self, broker: Broker, destination: &str) -> QueueMetrics {
        let label = [broker.name(), destination];
        QueueMetrics {
            events: self.events.with_label_values(&label),
            bytes: self.bytes.with_label_values(&label),
            oldest: self.oldest.with_label_values(&label),
            appended: self.appended.with_label_values(&label),
            drained: self.drained.with_label_values(&label),
        }
    }
}

/// The families of the destinations.
pub(super) struct Destinations {
    lane_events: IntCounterVec,
    lane_pending: IntGaugeVec,
    published: IntCounterVec,
    published_bytes: IntCounterVec,
    failures: IntCounterVec,
    dead_letters: IntCounterVec,
    pub(super) queues: Queues,
}

impl Destinations {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        Ok(Destinations {
            lane_events: families.counters(&table::LANE_EVENTS)?,
            lane_pending: families.gauges(&table::LANE_PENDING_EVENTS)?,
            published: families.counters(&table::PUBLISHED)?,
            published_bytes: families.counters(&table::PUBLISHED_BYTES)?,
            failures: families.counters(&table::PUBLISH_FAILURES)?,
            dead_letters: families.counters(&table::DEAD_LETTERS)?,
            queues: Queues::new(families)?,
        })
    }

    pub(super) fn series(&self, broker: BrokerMetrics, destination: &str) -> DestinationMetrics {
        let on = broker.broker();
        let label = [on.name(), destination];
        DestinationMetrics(Arc::new(DestinationSeries {
            broker,
            lane_events: self.lane_events.with_label_values(&label),
            lane_pending: self.lane_pending.with_label_values(&label),
            published: self.published.with_label_values(&label),
            published_bytes: self.published_bytes.with_label_values(&label),
            failures: failure_series(&self.failures, on, destination),
            dead_letters: dead_letter_series(&self.dead_letters, on, destination),
            spool: self.queues.series(on, destination),
        }))
    }
}

fn failure_series(
    family: &IntCounterVec,
    broker: Broker,
    destination: &str,
) -> [IntCounter; Reason::ALL.len()] {
    let failures = Failures::of(broker);
    Reason::ALL.map(|reason| {
        let [destination, reason] = failures.labels(destination, reason);
        family.with_label_values(&[broker.name(), destination, reason])
    })
}

fn dead_letter_series(
    family: &IntCounterVec,
    broker: Broker,
    destination: &str,
) -> [IntCounter; DeadLetterReason::ALL.len()] {
    DeadLetterReason::ALL.map(|reason| {
        let destination = match reason.stage() {
            Stage::Parse => NO_DESTINATION,
            Stage::Publish => destination,
        };
        let stage = reason.stage().name();
        family.with_label_values(&[broker.name(), destination, stage, reason.name()])
    })
}
