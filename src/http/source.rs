//! One source: who may post to it, and how often.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
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
    rate: Option<Rate>,
    failures: Arc<Failures>,
}

/// How much a source may post, and what it has posted lately.
#[derive(Clone)]
struct Rate {
    limit: RateLimit,
    limiter: Arc<DefaultDirectRateLimiter>,
}

/// All sources, as they are now.
pub(super) struct Sources(RwLock<Arc<[Source]>>);

impl Sources {
    pub(super) fn new(settings: &[SourceSettings]) -> Self {
        let failures = Arc::new(Failures::default());
        let sources = settings
            .iter()
            .map(|source| Source::new(source, failures.clone()));
        Self(RwLock::new(sources.collect()))
    }

    /// Those of now. A request keeps to them, whatever comes meanwhile.
    pub(super) fn current(&self) -> Arc<[Source]> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The same sources with other settings, one for one.
    pub(super) fn renewed(&self, settings: &[SourceSettings]) -> Vec<Source> {
        let current = self.current();
        let pairs = current.iter().zip(settings);
        pairs
            .map(|(source, settings)| source.renewed(settings))
            .collect()
    }

    pub(super) fn replace(&self, sources: Vec<Source>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = sources.into();
    }
}

impl Source {
    /// `failures` are those of all sources: an address has one limit.
    fn new(settings: &SourceSettings, failures: Arc<Failures>) -> Self {
        Self {
            name: settings.name.clone(),
            doors: Doors::new(settings),
            rate: settings.rate_limit.map(Rate::new),
            failures,
        }
    }

    /// The same source with other settings. What it posted lately counts on under the same limit.
    fn renewed(&self, settings: &SourceSettings) -> Self {
        let mut source = Self::new(settings, self.failures.clone());
        if self.rate.as_ref().map(|rate| rate.limit) == settings.rate_limit {
            source.rate = self.rate.clone();
        }
        source
    }

    /// The problem of a request that nothing let in.
    pub(super) fn turned_away(&self, head: &Head<'_>) -> Problem {
        let address = self.doors.origin(head);
        tracing::debug!(source = self.name, ?address, "turned away");
        match self.failures.count(address) {
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
        rate.limiter.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Problem::too_many(
                "the source posts more than its rate limit allows",
                whole_seconds(wait),
            )
        })
    }
}

impl Rate {
    fn new(limit: RateLimit) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limit.per_second))
            .allow_burst(at_least_one(limit.burst));
        Self {
            limit,
            limiter: Arc::new(RateLimiter::direct(quota)),
        }
    }
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
        let rate = Rate::new(RateLimit {
            per_second: 1,
            burst: 3,
        });
        let passed = (0..10).filter(|_| rate.limiter.check().is_ok()).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        for (millis, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
