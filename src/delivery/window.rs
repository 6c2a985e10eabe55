//! How much a broker's lanes hold together, so that one broker's trouble can't take all memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::status::LaneStatus;

/// The window of one broker, in bytes of memory.
#[derive(Debug)]
pub(super) struct BrokerWindow {
    size: usize,
    held: AtomicUsize,
}

impl BrokerWindow {
    pub(super) fn new(size: usize) -> Self {
        BrokerWindow {
            size,
            held: AtomicUsize::new(0),
        }
    }

    /// What a lane of this broker may still take.
    pub(super) fn room(&self) -> usize {
        self.size.saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// A lane holds so much now. Only whoever runs it says so.
    pub(super) fn holds(&self, lane: &LaneStatus, size: usize) {
        let before = lane.held.swap(size, Ordering::Relaxed);
        if size >= before {
            self.held.fetch_add(size - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - size, Ordering::Relaxed);
        }
    }
}
