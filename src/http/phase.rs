//! How far the bridge is on its way out.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A phase, which only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    Serving,
    /// Not ready any more, so that no new clients are sent here, but still serving those that come.
    Leaving,
    /// No new request is taken; those in flight are finished.
    Stopping,
}

/// The phase of both listeners, as every worker sees it.
pub(super) struct SharedPhase(AtomicU8);

impl SharedPhase {
    pub(super) const fn new() -> Self {
        Self(AtomicU8::new(Phase::Serving as u8))
    }

    pub(super) fn get(&self) -> Phase {
        match self.0.load(Relaxed) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            _ => Phase::Stopping,
        }
    }

    pub(super) fn advance(&self, to: Phase) {
        self.0.fetch_max(to as u8, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_never_gone_back_to() {
        let phase = SharedPhase::new();
        assert_eq!(phase.get(), Phase::Serving);
        phase.advance(Phase::Stopping);
        phase.advance(Phase::Leaving);
        assert_eq!(phase.get(), Phase::Stopping);
    }
}
