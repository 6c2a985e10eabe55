//! The sources: who may post to them, how often, and what becomes of it.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::auth::{Doors, Head};
use super::problem::{Problem, Slug};
use super::settings::{RateLimit, SourceSettings};
use crate::delivery::Generation;
use crate::metrics::{Metrics, SourceMetrics};

/// A configured source.
pub(super) struct Source {
    pub(super) name: String,
    /// Its place in the generation.
    pub(super) place: usize,
    pub(super) counts: SourceMetrics,
    pub(super) doors: Doors,
    rate: Option<Rate>,
}

/// How much a source may post, and what it has posted lately.
#[derive(Clone)]
struct Rate {
    limit: RateLimit,
    limiter: Arc<DefaultDirectRateLimiter>,
}

/// All sources of one configuration, and what their webhooks are sealed with and go to.
pub(super) struct Serving {
    sources: Vec<Source>,
    pub(super) generation: Arc<Generation>,
}

impl Serving {
    /// The source of this name.
    pub(super) fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }
}

/// All sources, as they are now.
pub(super) struct Sources {
    serving: RwLock<Arc<Serving>>,
    metrics: Arc<Metrics>,
}

impl Sources {
    pub(super) fn new(
        settings: &[SourceSettings],
        generation: Arc<Generation>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let none = Serving {
            sources: Vec::new(),
            generation: Arc::default(),
        };
        let sources = Self {
            serving: RwLock::new(Arc::new(none)),
            metrics,
        };
        sources.replace(settings, generation);
        sources
    }

    /// Those of now. A request keeps to them, whatever comes meanwhile.
    pub(super) fn current(&self) -> Arc<Serving> {
        self.serving
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes these sources into use, which the generation has a place for each of. What one posted
    /// lately counts on under the same limit.
    pub(super) fn replace(&self, settings: &[SourceSettings], generation: Arc<Generation>) {
        let current = self.current();
        let sources = settings.iter().filter_map(|settings| {
            let place = generation.sealer().place(&settings.name)?;
            let mut source = self.source(settings, place);
            if let Some(rate) = current.source(&settings.name).and_then(|s| s.rate.as_ref())
                && Some(rate.limit) == settings.rate_limit
            {
                source.rate = Some(rate.clone());
            }
            Some(source)
        });
        let serving = Arc::new(Serving {
            sources: sources.collect(),
            generation: Arc::clone(&generation),
        });
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = serving;
    }

    fn source(&self, settings: &SourceSettings, place: usize) -> Source {
        Source {
            name: settings.name.clone(),
            place,
            counts: self.metrics.source(&settings.name),
            doors: Doors::new(settings),
            rate: settings.rate_limit.map(Rate::new),
        }
    }
}

impl Source {
    /// The problem of a request without good credentials. It is the same whatever the reason, and wherever it comes from.
    pub(super) fn turned_away(&self, head: &Head<'_>) -> Problem {
        let address = self.doors.origin(head);
        tracing::debug!(source = self.name, ?address, "turned away");
        Problem::new(
            Slug::Unauthorized,
            "credentials that the source takes are needed, each of them once",
        )
    }

    /// The problem of a request with good credentials whose address is not in `allow_from`.
    pub(super) fn turned_away_from_there(&self, head: &Head<'_>) -> Problem {
        let address = self.doors.origin(head);
        tracing::debug!(source = self.name, ?address, "turned away for its address");
        Problem::new(
            Slug::Forbidden,
            "the source takes no webhooks from this address",
        )
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
