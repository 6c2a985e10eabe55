//! The configured sources: who may post to them, how often, and with which configuration their webhooks are published.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::auth::{Authenticator, Head};
use super::problem::{Problem, Slug};
use super::settings::{RateLimit, SourceSettings};
use crate::delivery::Generation;
use crate::metrics::{Metrics, SourceMetrics};

/// A configured source.
pub(super) struct Source {
    pub(super) name: String,
    /// Its index in the generation.
    pub(super) index: usize,
    pub(super) counts: SourceMetrics,
    pub(super) authenticator: Authenticator,
    rate: Option<Rate>,
}

/// The rate limit of a source, and how much of it is used up.
#[derive(Clone)]
struct Rate {
    limit: RateLimit,
    limiter: Arc<DefaultDirectRateLimiter>,
}

/// All sources of one configuration, and the generation that makes envelopes of their webhooks and routes them.
pub(super) struct SourceTable {
    sources: Vec<Source>,
    pub(super) generation: Arc<Generation>,
}

impl SourceTable {
    /// The source of this name.
    pub(super) fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }
}

/// The sources of the current configuration, which can be replaced while the bridge is serving.
pub(super) struct Sources {
    table: RwLock<Arc<SourceTable>>,
    metrics: Arc<Metrics>,
}

impl Sources {
    pub(super) fn new(
        settings: &[SourceSettings],
        generation: Arc<Generation>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let none = SourceTable {
            sources: Vec::new(),
            generation: Arc::default(),
        };
        let sources = Self {
            table: RwLock::new(Arc::new(none)),
            metrics,
        };
        sources.replace(settings, generation);
        sources
    }

    /// The current sources. A request keeps them until it ends, even if they are replaced meanwhile.
    pub(super) fn current(&self) -> Arc<SourceTable> {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the sources. The generation must know each of them; others are left out. A source whose rate limit has
    /// not changed keeps the state of its limiter.
    pub(super) fn replace(&self, settings: &[SourceSettings], generation: Arc<Generation>) {
        let current = self.current();
        let sources = settings.iter().filter_map(|settings| {
            let index = generation.sealer().place(&settings.name)?;
            let mut source = self.source(settings, index);
            if let Some(rate) = current.source(&settings.name).and_then(|s| s.rate.as_ref())
                && Some(rate.limit) == settings.rate_limit
            {
                source.rate = Some(rate.clone());
            }
            Some(source)
        });
        let table = Arc::new(SourceTable {
            sources: sources.collect(),
            generation: Arc::clone(&generation),
        });
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    fn source(&self, settings: &SourceSettings, index: usize) -> Source {
        Source {
            name: settings.name.clone(),
            index,
            counts: self.metrics.source(&settings.name),
            authenticator: Authenticator::new(settings),
            rate: settings.rate_limit.map(Rate::new),
        }
    }
}

impl Source {
    /// The problem of a request without good credentials. It is always the same, so that it does not reveal the reason.
    pub(super) fn unauthorized(&self, head: &Head<'_>) -> Problem {
        let address = self.authenticator.origin(head);
        tracing::debug!(source = self.name, ?address, "refused: no good credentials");
        Problem::new(
            Slug::Unauthorized,
            "credentials that the source takes are needed, each of them once",
        )
    }

    /// The problem of a request with good credentials whose address is not in `allow_from`.
    pub(super) fn forbidden(&self, head: &Head<'_>) -> Problem {
        let address = self.authenticator.origin(head);
        tracing::debug!(
            source = self.name,
            ?address,
            "refused: its address is not in allow_from"
        );
        Problem::new(
            Slug::Forbidden,
            "the source takes no webhooks from this address",
        )
    }

    /// Counts one webhook against the rate limit, and refuses it if the limit is used up.
    pub(super) fn check_rate_limit(&self) -> Result<(), Problem> {
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

/// Rounds up to whole seconds, because `Retry-After` has no fractions.
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
