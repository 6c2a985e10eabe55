//! What a lane's owner shows to those who ask: is it ready, does it live.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an owner may be silent and still count as living. A sync of a sick disk takes seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// What stands before the reason why only the spool takes events.
const INTO_THE_SPOOL: &str = "takes events into the spool: ";

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
    detail: String,
}

impl LaneStatus {
    pub(super) fn new() -> Self {
        LaneStatus {
            start: Instant::now(),
            beat: AtomicU64::new(0),
            readiness: Mutex::new(Readiness {
                ready: false,
                detail: "not reached yet".to_owned(),
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

    /// Whether the owner answered lately.
    pub(super) fn lives(&self) -> bool {
        let silent = self
            .start
            .elapsed()
            .saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)));
        silent < SILENCE
    }

    /// Shows whether the destination takes events: by its broker, or by the spool.
    pub(super) fn shows(&self, reached: bool, outage: Option<&str>, spool_takes: bool) {
        let ready = reached && outage.is_none() || spool_takes;
        let (by, why) = match (outage, spool_takes) {
            (Some(outage), true) => (INTO_THE_SPOOL, outage),
            (Some(outage), false) => ("", outage),
            (None, _) if reached => ("", ""),
            (None, true) => (INTO_THE_SPOOL, "not reached yet"),
            (None, false) => ("not reached yet", ""),
        };
        let mut readiness = self.lock();
        readiness.ready = ready;
        let detail = &mut readiness.detail;
        if detail.strip_prefix(by) != Some(why) {
            detail.clear();
            detail.push_str(by);
            detail.push_str(why);
        }
    }

    /// Whether the broker takes events, and why not, whatever the spool does.
    pub(super) fn broker(&self) -> String {
        let (_, detail) = self.readiness();
        let why = detail.strip_prefix(INTO_THE_SPOOL);
        why.map_or(detail.clone(), str::to_owned)
    }

    pub(super) fn readiness(&self) -> (bool, String) {
        let readiness = self.lock();
        (readiness.ready, readiness.detail.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Readiness> {
        self.readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
