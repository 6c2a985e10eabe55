//! A broker's trouble as operators want to read it: one line at its start, one at its end, however
//! many lanes it stops.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::BrokerMetrics;
use crate::publish::{Class, Failure};
use crate::route::{Broker, Destination};

/// See the module.
pub(super) struct BrokerHealth {
    broker: Broker,
    metrics: BrokerMetrics,
    trouble: Mutex<Trouble>,
    start: Instant,
    /// When any lane of the broker got a confirm the last time, in microseconds since `start`.
    confirmed_at: AtomicU64,
    /// A lane waits for its confirms in vain, and no lane has got one since.
    is_silent: AtomicBool,
}

#[derive(Default)]
struct Trouble {
    since: Option<Instant>,
    failure: Option<Failure>,
    stopped: BTreeSet<String>,
    /// Events that went to the spool since.
    spooled: u64,
}

impl BrokerHealth {
    pub(super) fn new(broker: Broker, metrics: BrokerMetrics) -> Self {
        BrokerHealth {
            broker,
            metrics,
            trouble: Mutex::default(),
            start: Instant::now(),
            confirmed_at: AtomicU64::new(0),
            is_silent: AtomicBool::new(false),
        }
    }

    /// A destination's lane has reached the broker.
    pub(super) fn reached(&self) {
        self.metrics.up(self.lock().stopped.is_empty());
    }

    /// The broker's trouble stops this destination.
    pub(super) fn began(&self, destination: &Destination, failure: &Failure) {
        let mut trouble = self.lock();
        trouble.stopped.insert(destination.to_string());
        if trouble.since.is_some() {
            return;
        }
        trouble.since = Some(Instant::now());
        trouble.failure = Some(failure.clone());
        trouble.spooled = 0;
        self.metrics.up(false);
        let (broker, reason, detail) = (self.broker.name(), failure.reason.name(), &failure.detail);
        match failure.class {
            Class::Operator => tracing::error!(
                broker,
                reason,
                detail,
                "the broker takes no events until somebody mends this; trying again for ever"
            ),
            _ => tracing::warn!(
                broker,
                reason,
                detail,
                "the broker is out of reach; trying again"
            ),
        }
    }

    /// A lane has got a confirm now.
    pub(super) fn confirmed(&self) {
        self.confirmed_at.store(self.elapsed(), Relaxed);
        if self.is_silent.load(Relaxed) {
            self.silence_ended();
        }
    }

    /// A lane has waited so long for a confirm. If no other lane has got one meanwhile, the broker takes no events.
    pub(super) fn is_silent_for(&self, silence: Duration) {
        let silence = u64::try_from(silence.as_micros()).unwrap_or(u64::MAX);
        let since = self.elapsed().saturating_sub(silence);
        if self.confirmed_at.load(Relaxed) <= since {
            self.is_silent.store(true, Relaxed);
            self.metrics.up(false);
        }
    }

    /// The silence is over, or something else is the matter.
    pub(super) fn silence_ended(&self) {
        if self.is_silent.swap(false, Relaxed) {
            self.metrics.up(self.lock().stopped.is_empty());
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The trouble that stops some destination of this broker now.
    pub(super) fn trouble(&self) -> Option<Failure> {
        self.lock().failure.clone()
    }

    /// So many events of this broker went to the spool.
    pub(super) fn spooled(&self, events: u64) {
        self.lock().spooled += events;
    }

    /// This destination gets its events through again. Returns whether the broker's trouble had stopped it.
    pub(super) fn over(&self, destination: &Destination) -> bool {
        let mut trouble = self.lock();
        let was_stopped = trouble.stopped.remove(&destination.to_string());
        if trouble.stopped.is_empty()
            && let Some(since) = trouble.since.take()
        {
            trouble.failure = None;
            self.metrics.up(true);
            self.metrics.reconnected();
            tracing::info!(
                broker = self.broker.name(),
                lasted = ?since.elapsed(),
                spooled = trouble.spooled,
                "the broker is back"
            );
        }
        was_stopped
    }

    fn lock(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Labels, Metrics};

    #[test]
    fn a_broker_is_down_when_a_lane_waits_in_vain_and_no_other_gets_a_confirm() {
        let labels = Labels {
            brokers: vec![Broker::Kafka],
            problems: Vec::new(),
            success_status: 202,
        };
        let metrics = Metrics::new(&labels).expect("the metrics don't contradict each other");
        let health = BrokerHealth::new(Broker::Kafka, metrics.broker(Broker::Kafka));
        let is_up = || {
            let text = String::from_utf8(metrics.render().expect("they can be")).expect("text");
            text.contains("minchat_bridge_broker_up{broker=\"kafka\"} 1\n")
        };
        health.reached();
        assert!(is_up());
        health.confirmed();
        health.is_silent_for(Duration::from_secs(3600));
        assert!(is_up(), "another lane got a confirm meanwhile");
        health.is_silent_for(Duration::ZERO);
        assert!(!is_up());
        health.confirmed();
        assert!(is_up());
    }
}
