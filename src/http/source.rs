//! One source: who may post to it, and how often.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::auth::Doors;
use super::problem::Problem;
use super::settings::{RateLimit, SourceSettings};

/// A configured source.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) doors: Doors,
    rate: Option<DefaultDirectRateLimiter>,
}

impl Source {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self {
            name: settings.name.clone(),
            doors: Doors::new(&settings.auth),
            rate: settings.rate_limit.as_ref().map(limiter),
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
