//! What a lane's owner shows to those who ask: is it ready, does it live.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an owner may be silent and still count as living. A sync of a sick disk takes seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(super) struct LaneStatus {
    start: Instant,
    beat: AtomicU64,
    ready: AtomicBool,
    detail: Mutex<String>,
    pub(super) held: AtomicUsize,
    pub(super) ended: AtomicBool,
}

impl LaneStatus {
    pub(super) fn new() -> Self {
        LaneStatus {
            start: Instant::now(),
            beat: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            detail: Mutex::new("not reached yet".to_owned()),
            held: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    pub(super) fn beat(&self, now: Instant) {
        let since_start = now.saturating_duration_since(self.start);
        self.beat.store(
            u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// Whether the owner answered lately.
    pub(super) fn lives(&self) -> bool {
        let silent = self
            .start
            .elapsed()
            .saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)));
        silent < SILENCE && !self.ended.load(Ordering::Acquire)
    }

    /// Shows whether the destination takes events, and if not, why.
    pub(super) fn shows(&self, reached: bool, outage: Option<&str>) {
        let ready = reached && outage.is_none();
        let was = self.ready.swap(ready, Ordering::Relaxed);
        if let Some(outage) = outage {
            let mut detail = self.detail.lock().unwrap_or_else(PoisonError::into_inner);
            if *detail != outage {
                outage.clone_into(&mut detail);
            }
        } else if ready != was {
            let mut detail = self.detail.lock().unwrap_or_else(PoisonError::into_inner);
            if ready {
                "takes events"
            } else {
                "not reached yet"
            }
            .clone_into(&mut detail);
        }
    }

    pub(super) fn readiness(&self) -> (bool, String) {
        let detail = self
            .detail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        (self.ready.load(Ordering::Relaxed), detail)
    }
}
