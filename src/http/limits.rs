//! What is in flight at once: requests, and the bytes of their bodies or of the events that these became.
//!
//! Guarantees: what a request took is given back when its [`Flight`] ends, however it ends. A request whose signature
//! can be checked only once its body is complete keeps nobody out: where there is no room for another request or its
//! bytes, such requests are evicted until there is ([`Candidates`] chooses them). The thread that needs the room frees
//! their bodies at once, so that the bodies stay within the limit, and their handlers answer 429.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::body::Body;
use super::candidates::{Candidates, network};
use super::problem::Problem;
use crate::metrics::Metrics;

/// The counts of one listener, shared by its workers, and how far they may go.
pub(super) struct InFlight {
    requests: Count,
    bytes: Count,
    unverified: Mutex<Unverified>,
    metrics: Arc<Metrics>,
}

/// How many there are, and how many there may be.
struct Count {
    now: AtomicUsize,
    max: usize,
}

/// The requests whose signature can't be checked yet, since their bodies are incomplete.
#[derive(Default)]
struct Unverified {
    next_id: u64,
    all: HashMap<u64, (IpAddr, Arc<Body>)>,
    by_requests: Candidates,
    by_bytes: Candidates,
}

/// One request's share of what is in flight.
pub(super) struct Flight<'a> {
    in_flight: &'a InFlight,
    body: Arc<Body>,
    bytes: usize,
    /// Its id among the requests that may be evicted, if it is or was one of them.
    unverified: Option<u64>,
}

impl InFlight {
    pub(super) fn new(max_requests: usize, max_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            requests: Count::new(max_requests),
            bytes: Count::new(max_bytes),
            unverified: Mutex::default(),
            metrics,
        }
    }

    /// Lets one more request in, if there is room. A request whose signature can be checked only once its body is
    /// complete comes with the address of its client; until [`Flight::complete`] it may be evicted.
    pub(super) fn begin(&self, unverified: Option<IpAddr>) -> Result<Flight<'_>, Problem> {
        let has_room =
            self.requests.add(1) || self.evict_over(&self.requests, |all| &all.by_requests);
        self.metrics.in_flight_began();
        let mut flight = Flight {
            in_flight: self,
            body: Arc::default(),
            bytes: 0,
            unverified: None,
        };
        if !has_room {
            return Err(Problem::too_many(
                "as many requests as allowed are in flight",
                1,
            ));
        }
        if let Some(address) = unverified {
            let body = flight.body.clone();
            flight.unverified = Some(self.unverified().add(network(address), body));
        }
        Ok(flight)
    }

    fn unverified(&self) -> MutexGuard<'_, Unverified> {
        self.unverified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts requests until the count is within its limit. Returns false if that can't be, or if there are too few.
    fn evict_over(&self, count: &Count, of_limit: fn(&Unverified) -> &Candidates) -> bool {
        let mut unverified = self.unverified();
        while let over @ 1.. = count.over() {
            let candidates = of_limit(&unverified);
            if candidates.weight() < over {
                return false;
            }
            let Some((id, _)) = candidates.first().next() else {
                return false;
            };
            if let Some((body, bytes)) = unverified.remove(id) {
                body.evict();
                self.give_back(bytes);
            }
        }
        true
    }

    /// A request and its bytes no longer take up room.
    fn give_back(&self, bytes: usize) {
        self.requests.subtract(1);
        self.bytes.subtract(bytes);
        self.metrics.in_flight_bytes_removed(bytes);
    }
}

impl Count {
    const fn new(max: usize) -> Self {
        Self {
            now: AtomicUsize::new(0),
            max,
        }
    }

    /// Returns whether there was room for so many more. They count either way.
    fn add(&self, more: usize) -> bool {
        self.now.fetch_add(more, Relaxed) + more <= self.max
    }

    fn subtract(&self, fewer: usize) {
        self.now.fetch_sub(fewer, Relaxed);
    }

    /// How many there are over the limit.
    fn over(&self) -> usize {
        self.now.load(Relaxed).saturating_sub(self.max)
    }
}

impl Unverified {
    fn add(&mut self, address: IpAddr, body: Arc<Body>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.all.insert(id, (address, body));
        self.by_requests.add(id, address, 1);
        id
    }

    /// Counts more bytes of a request. Returns false if it was evicted.
    fn hold(&mut self, id: u64, bytes: usize) -> bool {
        let Some((address, _)) = self.all.get(&id) else {
            return false;
        };
        self.by_bytes.add(id, *address, bytes);
        true
    }

    /// Removes a request, and returns its body and the number of its bytes. `None`: it was evicted.
    fn remove(&mut self, id: u64) -> Option<(Arc<Body>, usize)> {
        let (address, body) = self.all.remove(&id)?;
        self.by_requests.remove(id, address);
        Some((body, self.by_bytes.remove(id, address)))
    }
}

impl Flight<'_> {
    /// The body of the request, which this counts.
    pub(super) fn body(&self) -> &Body {
        &self.body
    }

    /// Takes room for bytes that are there, until the request ends.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        let in_flight = self.in_flight;
        let has_room = in_flight.bytes.add(bytes);
        let is_evicted = self
            .unverified
            .is_some_and(|id| !in_flight.unverified().hold(id, bytes));
        if is_evicted {
            in_flight.bytes.subtract(bytes);
            return Err(evicted());
        }
        self.bytes += bytes;
        in_flight.metrics.in_flight_bytes_added(bytes);
        match has_room || in_flight.evict_over(&in_flight.bytes, |all| &all.by_bytes) {
            true => Ok(()),
            false => Err(Problem::too_many(
                "as many bytes as allowed are in flight",
                1,
            )),
        }
    }

    /// Counts the request with at least so many bytes until it ends.
    pub(super) fn hold_at_least(&mut self, bytes: usize) -> Result<(), Problem> {
        match bytes.saturating_sub(self.bytes) {
            0 => Ok(()),
            more => self.hold(more),
        }
    }

    /// Counts the request with what its event takes, which can be many times as much as its body. An event that takes
    /// more than there is room for counts as all of the room: it passes when nothing else is in flight.
    pub(super) fn hold_event(&mut self, bytes: usize) -> Result<(), Problem> {
        self.hold_at_least(bytes.min(self.in_flight.bytes.max))
    }

    /// Ready when the request was evicted. The task of `cx` is woken when that happens.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<Problem> {
        match self.unverified {
            Some(_) => self.body.poll_evicted(cx).map(|()| evicted()),
            None => Poll::Pending,
        }
    }

    /// The body is complete. From now on nothing is waited for until its signature was checked, and the request is not
    /// evicted any more.
    pub(super) fn complete(&mut self) -> Result<(), Problem> {
        if let Some(id) = self.unverified {
            let removed = self.in_flight.unverified().remove(id);
            removed.ok_or_else(evicted)?;
            self.unverified = None;
        }
        Ok(())
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // What was evicted was given back then.
        if self.complete().is_ok() {
            self.in_flight.give_back(self.bytes);
        }
        self.in_flight.metrics.in_flight_ended();
    }
}

fn evicted() -> Problem {
    Problem::too_many(
        "another request needed the room before the body was complete",
        1,
    )
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;
    use crate::metrics::Labels;

    fn in_flight(max_requests: usize, max_bytes: usize) -> InFlight {
        let labels = Labels {
            brokers: Vec::new(),
            problems: Vec::new(),
            success_status: 202,
        };
        let metrics = Metrics::new(&labels).expect("the metrics don't contradict each other");
        InFlight::new(max_requests, max_bytes, Arc::new(metrics))
    }

    fn counts(all: &InFlight) -> (usize, usize) {
        (all.requests.now.load(Relaxed), all.bytes.now.load(Relaxed))
    }

    fn verified(all: &InFlight) -> Flight<'_> {
        all.begin(None).expect("there is room")
    }

    fn unverified(all: &InFlight, address: u8) -> Flight<'_> {
        all.begin(Some(IpAddr::from([192, 0, 2, address])))
            .expect("there is room")
    }

    fn is_evicted(flight: &Flight<'_>) -> bool {
        poll_fn(|cx| flight.poll_evicted(cx))
            .now_or_never()
            .is_some()
    }

    #[test]
    fn a_request_over_the_limit_is_refused_and_takes_nothing() {
        let all = in_flight(2, 10);
        let first = verified(&all);
        let _second = verified(&all);
        assert!(all.begin(None).is_err());
        assert!(all.begin(Some(IpAddr::from([192, 0, 2, 1]))).is_err());
        assert_eq!(counts(&all), (2, 0));
        drop(first);
        assert!(all.begin(None).is_ok());
        assert_eq!(counts(&all), (1, 0));
    }

    #[test]
    fn bytes_over_the_limit_are_refused_and_given_back_with_the_others() {
        let all = in_flight(2, 10);
        let (mut first, mut second) = (verified(&all), verified(&all));
        assert!(first.hold(6).is_ok());
        assert!(first.hold(4).is_ok());
        assert!(second.hold(1).is_err());
        drop(first);
        assert!(second.hold(9).is_ok());
        assert_eq!(counts(&all).1, 10);
        drop(second);
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn a_request_counts_with_its_event_where_that_is_larger_than_its_body() {
        let all = in_flight(3, 10);
        let mut first = verified(&all);
        assert!(first.hold(4).is_ok());
        assert!(first.hold_at_least(3).is_ok());
        assert_eq!(counts(&all).1, 4);
        assert!(first.hold_event(7).is_ok());
        assert_eq!(counts(&all).1, 7);
        let mut second = verified(&all);
        assert!(second.hold(2).is_ok());
        assert!(second.hold_event(4).is_err());
        drop((first, second));
        let mut alone = verified(&all);
        assert!(alone.hold_event(11).is_ok(), "it is all that is in flight");
        let mut other = verified(&all);
        assert!(other.hold(1).is_err());
        drop((alone, other));
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn an_unverified_request_makes_room_for_any_other() {
        let all = in_flight(3, 10);
        let strangers = [1, 2, 3].map(|address| unverified(&all, address));
        let newer = unverified(&all, 4);
        assert_eq!(
            strangers.each_ref().map(is_evicted),
            [true, false, false],
            "the oldest"
        );
        let known = [(); 2].map(|()| verified(&all));
        assert_eq!(strangers.each_ref().map(is_evicted), [true; 3]);
        assert!(!is_evicted(&newer));
        assert_eq!(counts(&all), (3, 0));
        drop(known);
        assert_eq!(counts(&all), (1, 0));
        drop((strangers, newer));
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn the_body_that_makes_room_is_freed_at_once_and_counts_no_more() {
        let all = in_flight(10, 10);
        let (mut large, mut small) = (unverified(&all, 1), unverified(&all, 2));
        for (flight, size) in [(&mut large, 6), (&mut small, 3)] {
            flight.hold(size).expect("there is room");
            flight.body().add(Bytes::from(vec![0; size]), None);
        }
        let mut known = verified(&all);
        assert!(known.hold(7).is_ok());
        assert!(is_evicted(&large) && !is_evicted(&small));
        assert!(large.body().take().is_empty());
        assert_eq!(counts(&all), (2, 10));
        assert!(large.hold(1).is_err() && large.complete().is_err());
        large.body().add(Bytes::from_static(b"more"), None);
        assert!(large.body().take().is_empty(), "nothing is kept any more");
        assert_eq!(counts(&all), (2, 10));
        drop((large, small, known));
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn a_request_whose_body_is_complete_stays() {
        let all = in_flight(1, 10);
        let mut first = unverified(&all, 1);
        first.hold(5).expect("there is room");
        first.complete().expect("nobody needed the room");
        assert!(all.begin(Some(IpAddr::from([192, 0, 2, 2]))).is_err());
        assert!(!is_evicted(&first));
        assert_eq!(counts(&all), (1, 5));
        drop(first);
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn nobody_makes_room_for_what_has_none_even_so() {
        let all = in_flight(10, 10);
        let mut known = verified(&all);
        known.hold(8).expect("there is room");
        let mut small = unverified(&all, 1);
        small.hold(2).expect("there is room");
        let mut large = verified(&all);
        assert!(large.hold(5).is_err());
        assert!(!is_evicted(&small));
    }

    #[test]
    fn the_only_unverified_request_makes_room_for_nothing_of_its_own() {
        let all = in_flight(10, 10);
        let mut known = verified(&all);
        known.hold(8).expect("there is room");
        let mut alone = unverified(&all, 1);
        let outcome = alone.hold(3);
        assert!(outcome.is_err() || is_evicted(&alone));
        assert!(!is_evicted(&known));
        drop(alone);
        assert_eq!(counts(&all), (1, 8));
    }
}
