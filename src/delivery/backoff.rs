//! How long a lane waits after a failure before it begins again.

use std::time::Duration;

use crate::backoff::Waits;
use crate::publish::{Class, Failure, Reason};

/// The wait before a dead letter is tried again.
pub const DEAD_LETTER: Duration = Duration::from_secs(1);

/// What passes by itself is tried often, what waits for an operator patiently. An event that one queue of an
/// exchange refuses is published once more to the others by each attempt, so that these waits grow to minutes.
pub fn waits(failure: &Failure) -> Waits {
    match (failure.class, failure.reason) {
        (_, Reason::Nack) => Waits::new(50, 120_000),
        (Class::Operator, _) => Waits::new(500, 5_000),
        (Class::Retry | Class::Rebuild | Class::Requeue | Class::DeadLetter, _) => {
            Waits::new(50, 2_000)
        }
    }
}
