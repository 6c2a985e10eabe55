//! How long a lane rests after a failure before it begins again.

use std::time::Duration;

use crate::publish::{Class, Failure, Reason};

/// Doubling rests with jitter, so that lanes and replicas don't come back in step.
#[derive(Debug)]
pub struct Backoff {
    step: u32,
    seed: u64,
}

impl Backoff {
    /// The rest before a dead letter is tried again.
    pub const DEAD_LETTER: Duration = Duration::from_secs(1);

    /// Two back-offs of different seeds are not in step.
    pub fn new(seed: u64) -> Self {
        Backoff { step: 0, seed }
    }

    /// Begins again with the shortest rest.
    pub fn reset(&mut self) {
        self.step = 0;
    }

    /// The next rest: what passes by itself is tried often, what waits for an operator patiently. An
    /// event that one queue of an exchange refuses is published once more to the others by each
    /// attempt, so that these rests grow to minutes.
    pub fn next(&mut self, failure: &Failure) -> Duration {
        let (first, longest) = match (failure.class, failure.reason) {
            (_, Reason::Nack) => (Duration::from_millis(50), Duration::from_secs(120)),
            (Class::Operator, _) => (Duration::from_millis(500), Duration::from_secs(5)),
            (Class::Retry | Class::Rebuild | Class::Requeue | Class::DeadLetter, _) => {
                (Duration::from_millis(50), Duration::from_secs(2))
            }
        };
        let doubled = first.saturating_mul(1 << self.step.min(16));
        self.step = self.step.saturating_add(1);
        doubled.min(longest).mul_f64(0.75 + 0.25 * self.fraction())
    }

    /// 0 to 1, by the SplitMix64 generator.
    fn fraction(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: Class, reason: Reason) -> Failure {
        Failure {
            class,
            reason,
            detail: String::new(),
        }
    }

    #[test]
    fn rests_double_up_to_their_bound_and_begin_again_after_a_reset() {
        let mut backoff = Backoff::new(7);
        for (reason, seconds) in [(Reason::Disconnected, 2), (Reason::Nack, 120)] {
            for step in 0..16 {
                let rest = backoff.next(&failure(Class::Retry, reason));
                let full = Duration::from_millis(50 << step).min(Duration::from_secs(seconds));
                assert!(
                    rest <= full && rest >= full.mul_f64(0.75),
                    "step {step}: {rest:?}"
                );
            }
            backoff.reset();
        }
        let retry = failure(Class::Retry, Reason::Disconnected);
        assert!(backoff.next(&retry) <= Duration::from_millis(50));
        let operator = failure(Class::Operator, Reason::Unauthorized);
        assert!(backoff.next(&operator) >= Duration::from_millis(700));
    }
}
