//! One source: who may post to it, and how often.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::auth::failures::Failures;
use super::auth::{Doors, Head};
use super::problem::{Problem, Slug};
use super::settings::{RateLimit, SourceSettings};

/// A configured source.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) doors: Doors,
    rate: Option<DefaultDirectRateLimiter>,
    failures: Arc<Failures>,
}

impl Source {
    /// `failures` are those of all sources: an address has one limit.
    pub(super) fn new(settings: &SourceSettings, failures: Arc<Failures>) -> Self {
        Self {
            name: settings.name.clone(),
            doors: Doors::new(settings),
            rate: settings.rate_limit.as_ref().map(limiter),
            failures,
        }
    }

    /// The problem of a request that nothing let in.
    pub(super) fn turned_away(&self, head: &Head<'_>) -> Problem {
        match self.failures.count(self.doors.origin(head)) {
            Ok(()) => Problem::new(
                Slug::Unauthorized,
                "credentials that the source takes are needed",
            ),
            Err(wait) => Problem::too_many(
                "there were too many requests without credentials that the source takes",
                whole_seconds(wait).max(1),
            ),
        }
    }

    /// Takes one from what the source may still post.
    pub(super) fn take_one(&self) -> Result<(), Problem> {
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        rate.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Problem::too_many(
                "the source posts more than its rate limit allows",
                whole_seconds(wait),
            )
        })
    }
}

fn limiter(limit: &RateLimit) -> DefaultDirectRateLimiter {
    let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    let quota =
        Quota::per_second(at_least_one(limit.per_second)).allow_burst(at_least_one(limit.burst));
    RateLimiter::direct(quota)
}

/// For `Retry-After`, which has no fractions: rounded up.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_may_post_its_burst_at_once_and_no_more() {
        let rate = limiter(&RateLimit {
            per_second: 1,
            burst: 3,
        });
        let passed = (0..10).filter(|_| rate.check().is_ok()).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
