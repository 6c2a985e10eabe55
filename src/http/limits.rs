//! What is in flight at once: requests, and the bytes of their bodies.
//!
//! Guarantees: what a request took is given back when its [`Flight`] ends, however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::problem::Problem;
use crate::metrics::Metrics;

/// The counts of one listener, shared by its workers, and how far they may go.
pub(super) struct InFlight {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    max_requests: usize,
    max_bytes: usize,
    metrics: Arc<Metrics>,
}

/// One request's share of what is in flight.
pub(super) struct Flight<'a> {
    all: &'a InFlight,
    bytes: usize,
}

impl InFlight {
    pub(super) fn new(max_requests: usize, max_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_requests,
            max_bytes,
            metrics,
        }
    }

    /// Lets one more request in, if there is room.
    pub(super) fn begin(&self) -> Result<Flight<'_>, Problem> {
        let before = self.requests.fetch_add(1, Relaxed);
        self.metrics.in_flight_began();
        let flight = Flight {
            all: self,
            bytes: 0,
        };
        match before < self.max_requests {
            true => Ok(flight),
            false => Err(Problem::too_many(
                "as many requests as allowed are in flight",
                1,
            )),
        }
    }
}

impl Flight<'_> {
    /// Takes room for bytes that are there, until the request ends.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        self.all.metrics.in_flight_bytes_added(bytes);
        match self.all.bytes.fetch_add(bytes, Relaxed) + bytes <= self.all.max_bytes {
            true => Ok(()),
            false => Err(Problem::too_many(
                "as many bytes as allowed are in flight",
                1,
            )),
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Relaxed);
        self.all.requests.fetch_sub(1, Relaxed);
        self.all.metrics.in_flight_bytes_removed(self.bytes);
        self.all.metrics.in_flight_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Labels;

    fn in_flight(max_requests: usize, max_bytes: usize) -> InFlight {
        let labels = Labels {
            sources: Vec::new(),
            destinations: Vec::new(),
            problems: Vec::new(),
            success_status: 202,
        };
        let metrics = Metrics::new(&labels).expect("the metrics don't contradict each other");
        InFlight::new(max_requests, max_bytes, Arc::new(metrics))
    }

    fn counts(all: &InFlight) -> (usize, usize) {
        (all.requests.load(Relaxed), all.bytes.load(Relaxed))
    }

    #[test]
    fn a_request_over_the_limit_is_refused_and_takes_nothing() {
        let all = in_flight(2, 10);
        let first = all.begin().ok();
        let _second = all.begin().ok();
        assert!(all.begin().is_err());
        assert_eq!(counts(&all), (2, 0));
        drop(first);
        assert!(all.begin().is_ok());
        assert_eq!(counts(&all), (1, 0));
    }

    #[test]
    fn bytes_over_the_limit_are_refused_and_given_back_with_the_others() {
        let all = in_flight(2, 10);
        let mut first = all.begin().expect("there is room for two");
        let mut second = all.begin().expect("there is room for two");
        assert!(first.hold(6).is_ok());
        assert!(first.hold(4).is_ok());
        assert!(second.hold(1).is_err());
        drop(first);
        assert!(second.hold(9).is_ok());
        assert_eq!(counts(&all).1, 10);
        drop(second);
        assert_eq!(counts(&all), (0, 0));
    }
}
