//! How long to wait before the next attempt at something that failed.

use std::time::Duration;

use fastrand::Rng;

/// Waits that double, with jitter, so that lanes and replicas don't come back in step.
#[derive(Debug)]
pub struct Backoff {
    step: u32,
    last: Waits,
    rng: Rng,
}

/// The bounds of waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The first one.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Waits {
    /// Waits of these bounds, in milliseconds.
    pub const fn new(first: u64, longest: u64) -> Self {
        Waits {
            first: Duration::from_millis(first),
            longest: Duration::from_millis(longest),
        }
    }
}

impl Backoff {
    /// Two of different seeds are not in step.
    pub fn new(seed: u64) -> Self {
        Backoff {
            step: 0,
            last: Waits::new(0, 0),
            rng: Rng::with_seed(seed),
        }
    }

    /// Something got through: the next wait is the shortest again.
    pub fn reset(&mut self) {
        self.step = 0;
    }

    /// The next wait: between three quarters of the full one and all of it. Waits with other bounds begin with their
    /// shortest.
    pub fn next(&mut self, waits: Waits) -> Duration {
        if waits != self.last {
            self.last = waits;
            self.step = 0;
        }
        let doubled = waits.first.saturating_mul(1 << self.step.min(16));
        self.step = self.step.saturating_add(1);
        let jitter = 0.75 + 0.25 * self.rng.f64();
        doubled.min(waits.longest).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_begin_again_with_other_bounds_or_after_a_reset() {
        let mut backoff = Backoff::new(7);
        let mut assert_next = |waits, full: u64| {
            let next = backoff.next(waits);
            let full = Duration::from_millis(full);
            assert!(
                next <= full && next >= full.mul_f64(0.75),
                "{next:?} of {full:?}"
            );
        };
        let (often, rarely) = (Waits::new(100, 2000), Waits::new(1000, 10_000));
        for full in [100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            assert_next(often, full);
        }
        for full in [1000, 2000, 4000, 8000, 10_000, 10_000] {
            assert_next(rarely, full);
        }
        assert_next(often, 100);
        assert_next(often, 200);
        backoff.reset();
        assert!(backoff.next(often) <= often.first);
    }
}
