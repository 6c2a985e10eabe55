//! How long a publisher rests before it tries to reach its broker again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Rests that double, with jitter, so that lanes and replicas don't come back in step.
#[derive(Debug, Default)]
pub(super) struct Rest {
    step: u32,
}

impl Rest {
    const FIRST: Duration = Duration::from_millis(100);
    /// Short, because the hedge makes an outage cheap and its end is what people wait for.
    const LONGEST: Duration = Duration::from_secs(2);

    /// The next rest: between half of it and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let full = Self::FIRST
            .saturating_mul(1 << self.step.min(8))
            .min(Self::LONGEST);
        self.step += 1;
        // The standard library seeds a `RandomState` differently each time.
        let random = RandomState::new().build_hasher().finish() as u32;
        full.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
    }

    /// Something got through: the next rest is the shortest again.
    pub(super) fn reset(&mut self) {
        self.step = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_two_seconds_and_begin_again() {
        let mut rest = Rest::default();
        for full in [100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            let next = rest.next();
            let full = Duration::from_millis(full);
            assert!(next <= full && next >= full / 2, "{next:?} of {full:?}");
        }
        rest.reset();
        assert!(rest.next() <= Rest::FIRST);
    }
}
