//! What a lane shows to those who ask: is it ready, does it live.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a lane may be silent and still count as living. A sync of a sick disk takes seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// Why the broker takes no events at the start.
const NOT_REACHED: &str = "not reached yet";

/// See the module.
#[derive(Debug)]
pub(super) struct LaneStatus {
    start: Instant,
    beat: AtomicU64,
    readiness: Mutex<Readiness>,
    pending: AtomicUsize,
    spooled: AtomicU64,
    pub(super) held: AtomicUsize,
}

/// Under one lock, so that whoever asks never gets the answer of one turn with the reason of another.
#[derive(Debug)]
struct Readiness {
    ready: bool,
    /// Why the broker takes no events. Empty: it takes them.
    broker: String,
    spool: SpoolState,
}

/// Whether the spool takes a lane's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SpoolState {
    /// The spool is off.
    Off,
    Takes,
    /// It takes none, and this is why.
    Refuses(String),
}

impl LaneStatus {
    pub(super) fn new() -> Self {
        LaneStatus {
            start: Instant::now(),
            beat: AtomicU64::new(0),
            readiness: Mutex::new(Readiness {
                ready: false,
                broker: NOT_REACHED.to_owned(),
                spool: SpoolState::Off,
            }),
            pending: AtomicUsize::new(0),
            spooled: AtomicU64::new(0),
            held: AtomicUsize::new(0),
        }
    }

    pub(super) fn beat(&self, now: Instant) {
        let since_start = now.saturating_duration_since(self.start);
        self.beat.store(
            u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// So many events are neither confirmed nor dead-lettered, and the spool has so many of them.
    pub(super) fn holds(&self, pending: usize, spooled: u64) {
        self.pending.store(pending, Ordering::Relaxed);
        self.spooled.store(spooled, Ordering::Relaxed);
    }

    pub(super) fn spooled(&self) -> u64 {
        self.spooled.load(Ordering::Relaxed)
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Whether the lane answered lately.
    pub(super) fn lives(&self) -> bool {
        let silent = self
            .start
            .elapsed()
            .saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)));
        silent < SILENCE
    }

    /// Shows whether the destination takes events: by its broker, or by the spool.
    pub(super) fn shows(&self, reached: bool, outage: Option<&str>, spool: &SpoolState) {
        let broker = match outage {
            Some(outage) => outage,
            None if reached => "",
            None => NOT_REACHED,
        };
        let mut readiness = self.lock();
        readiness.ready = broker.is_empty() || *spool == SpoolState::Takes;
        if readiness.broker != broker {
            broker.clone_into(&mut readiness.broker);
        }
        if readiness.spool != *spool {
            spool.clone_into(&mut readiness.spool);
        }
    }

    /// Whether the broker takes events, and why not, whatever the spool does.
    pub(super) fn broker(&self) -> String {
        self.lock().broker.clone()
    }

    /// Whether the destination takes events; why not, or why only by the spool.
    pub(super) fn readiness(&self) -> (bool, String) {
        let readiness = self.lock();
        let broker = readiness.broker.as_str();
        let detail = match &readiness.spool {
            _ if broker.is_empty() => String::new(),
            SpoolState::Off => broker.to_owned(),
            SpoolState::Takes => format!("takes events into the spool: {broker}"),
            SpoolState::Refuses(why) => format!("{broker}; {why}"),
        };
        (readiness.ready, detail)
    }

    fn lock(&self) -> MutexGuard<'_, Readiness> {
        self.readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_ready_while_its_broker_or_the_spool_takes_events() {
        let full = SpoolState::Refuses("the spool is full: why".to_owned());
        let takes = SpoolState::Takes;
        for (reached, outage, spool, ready, detail) in [
            (true, None, &takes, true, ""),
            (true, None, &SpoolState::Off, true, ""),
            (true, None, &full, true, ""),
            (
                false,
                None,
                &takes,
                true,
                "takes events into the spool: not reached yet",
            ),
            (false, None, &SpoolState::Off, false, "not reached yet"),
            (
                false,
                None,
                &full,
                false,
                "not reached yet; the spool is full: why",
            ),
            (
                true,
                Some("away"),
                &takes,
                true,
                "takes events into the spool: away",
            ),
            (true, Some("away"), &SpoolState::Off, false, "away"),
            (
                false,
                Some("away"),
                &full,
                false,
                "away; the spool is full: why",
            ),
        ] {
            let status = LaneStatus::new();
            status.shows(reached, outage, spool);
            assert_eq!(status.readiness(), (ready, detail.to_owned()));
            let broker = outage.unwrap_or(if reached { "" } else { "not reached yet" });
            assert_eq!(status.broker(), broker);
        }
    }
}
