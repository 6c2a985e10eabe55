//! The phases of a shutdown.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// The phase of a shutdown. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    Serving,
    /// `/readyz` fails, so that load balancers send no new clients. All requests are still served.
    NotReady,
    /// New requests are refused. Those in flight are finished.
    Stopping,
}

/// The current phase, shared by all workers of both listeners.
pub(super) struct SharedPhase(AtomicU8);

impl SharedPhase {
    pub(super) const fn new() -> Self {
        Self(AtomicU8::new(Phase::Serving as u8))
    }

    pub(super) fn get(&self) -> Phase {
        match self.0.load(Relaxed) {
            0 => Phase::Serving,
            1 => Phase::NotReady,
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
        phase.advance(Phase::NotReady);
        assert_eq!(phase.get(), Phase::Stopping);
    }
}
