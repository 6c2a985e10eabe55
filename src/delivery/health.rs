//! A broker's trouble as operators want to read it: one line at its start, one at its end, however
//! many lanes it stops.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::metrics::BrokerMetrics;
use crate::publish::{Class, Failure};
use crate::route::{Broker, Destination};

/// See the module.
pub(super) struct BrokerHealth {
    broker: Broker,
    metrics: BrokerMetrics,
    trouble: Mutex<Trouble>,
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
        }
    }

    /// A destination was reached for the first time.
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
