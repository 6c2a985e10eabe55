//! How long to rest before the next attempt to reach a broker, or to open a channel there.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::publish::Class;

/// Rests that double, with jitter, so that lanes and replicas don't come back in step.
#[derive(Debug, Default)]
pub(super) struct Rest {
    step: u32,
    is_patient: bool,
}

impl Rest {
    const FIRST: Duration = Duration::from_millis(100);
    /// Short, because the hedge makes an outage cheap and its end is what people wait for.
    pub(super) const LONGEST: Duration = Duration::from_secs(2);
    /// The first rest after a refused login.
    const PATIENT_FIRST: Duration = Duration::from_secs(1);
    /// Brokers and their operators take many refused logins for an attack.
    pub(super) const PATIENT_LONGEST: Duration = Duration::from_secs(10);

    /// The next rest after a failure of this class: between half of it and all of it. What an operator
    /// has to fix is tried more rarely.
    pub(super) fn next(&mut self, class: Class) -> Duration {
        let is_patient = class == Class::Operator;
        if is_patient != self.is_patient {
            *self = Rest {
                step: 0,
                is_patient,
            };
        }
        let (first, longest) = match is_patient {
            true => (Self::PATIENT_FIRST, Self::PATIENT_LONGEST),
            false => (Self::FIRST, Self::LONGEST),
        };
        let full = first.saturating_mul(1 << self.step.min(8)).min(longest);
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
    fn rests_double_up_to_their_bound_and_begin_again_with_another_class_or_after_a_reset() {
        let mut rest = Rest::default();
        let mut assert_next = |class, full: u64| {
            let next = rest.next(class);
            let full = Duration::from_millis(full);
            assert!(next <= full && next >= full / 2, "{next:?} of {full:?}");
        };
        for full in [100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            assert_next(Class::Retry, full);
        }
        for full in [1000, 2000, 4000, 8000, 10_000, 10_000] {
            assert_next(Class::Operator, full);
        }
        assert_next(Class::Retry, 100);
        rest.next(Class::Retry);
        rest.reset();
        assert!(rest.next(Class::Retry) <= Rest::FIRST);
    }
}
