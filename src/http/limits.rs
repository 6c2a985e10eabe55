//! The limits on what is in flight: the number of requests, and the bytes of their bodies or events.
//!
//! Guarantees: dropping a request's [`Reservation`] releases everything that it has reserved. A request is "unverified"
//! while its signature cannot be checked because its body is incomplete. Unverified requests cannot keep others out:
//! when a limit is reached, they are evicted until there is capacity again ([`Candidates`] chooses them). The thread
//! that needs the capacity frees their bodies at once, so that the bytes stay within the limit. The handlers of evicted
//! requests answer 429.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::body::SharedBody;
use super::candidates::{Candidates, network};
use super::problem::Problem;
use crate::metrics::Metrics;

/// What is in flight on one listener, and the limits. Shared by its worker threads.
pub(super) struct InFlight {
    requests: Count,
    bytes: Count,
    unverified: Mutex<Unverified>,
    metrics: Arc<Metrics>,
}

/// A count and its limit.
struct Count {
    now: AtomicUsize,
    max: usize,
}

/// The requests whose signature cannot be checked yet, because their bodies are incomplete.
#[derive(Default)]
struct Unverified {
    next_id: u64,
    all: HashMap<u64, (IpAddr, Arc<SharedBody>)>,
    by_requests: Candidates,
    by_bytes: Candidates,
}

/// What one request has reserved of the limits. Dropping it releases that.
pub(super) struct Reservation<'a> {
    in_flight: &'a InFlight,
    body: Arc<SharedBody>,
    bytes: usize,
    /// Its id in [`Unverified`], if the request is unverified or was evicted. `None` once the body is complete.
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

    /// Counts one more request, or refuses it if the limit is reached. For an unverified request, the caller passes the
    /// address of the client; the request may be evicted until [`Reservation::complete`].
    pub(super) fn begin(&self, unverified: Option<IpAddr>) -> Result<Reservation<'_>, Problem> {
        let has_room =
            self.requests.add(1) || self.evict_over(&self.requests, |all| &all.by_requests);
        self.metrics.in_flight_began();
        let mut reservation = Reservation {
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
            let body = reservation.body.clone();
            reservation.unverified = Some(self.unverified().add(network(address), body));
        }
        Ok(reservation)
    }

    fn unverified(&self) -> MutexGuard<'_, Unverified> {
        self.unverified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts unverified requests until the count is within its limit. Returns false, and evicts no more, if evicting
    /// all of them would not be enough.
    fn evict_over(&self, count: &Count, of_limit: fn(&Unverified) -> &Candidates) -> bool {
        let mut unverified = self.unverified();
        while let over @ 1.. = count.over() {
            let candidates = of_limit(&unverified);
            if candidates.weight() < over {
                return false;
            }
            let Some((id, _)) = candidates.eviction_order().next() else {
                return false;
            };
            if let Some((body, bytes)) = unverified.remove(id) {
                body.evict();
                self.release(bytes);
            }
        }
        true
    }

    /// Stops counting a request and its bytes.
    fn release(&self, bytes: usize) {
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

    /// Adds to the count, and returns whether the count is still within its limit. The caller has to subtract again
    /// even if it is not.
    fn add(&self, more: usize) -> bool {
        self.now.fetch_add(more, Relaxed) + more <= self.max
    }

    fn subtract(&self, fewer: usize) {
        self.now.fetch_sub(fewer, Relaxed);
    }

    /// By how much the count is over its limit.
    fn over(&self) -> usize {
        self.now.load(Relaxed).saturating_sub(self.max)
    }
}

impl Unverified {
    fn add(&mut self, address: IpAddr, body: Arc<SharedBody>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.all.insert(id, (address, body));
        self.by_requests.add(id, address, 1);
        id
    }

    /// Counts more bytes of a request. Returns false if the request was evicted.
    fn reserve(&mut self, id: u64, bytes: usize) -> bool {
        let Some((address, _)) = self.all.get(&id) else {
            return false;
        };
        self.by_bytes.add(id, *address, bytes);
        true
    }

    /// Removes a request, and returns its body and the number of its bytes. Returns `None` if the request was evicted.
    fn remove(&mut self, id: u64) -> Option<(Arc<SharedBody>, usize)> {
        let (address, body) = self.all.remove(&id)?;
        self.by_requests.remove(id, address);
        Some((body, self.by_bytes.remove(id, address)))
    }
}

impl Reservation<'_> {
    /// The body of the request. The caller reserves its bytes.
    pub(super) fn body(&self) -> &SharedBody {
        &self.body
    }

    /// Reserves this many bytes more, until the request ends.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), Problem> {
        let in_flight = self.in_flight;
        let has_room = in_flight.bytes.add(bytes);
        let is_evicted = self
            .unverified
            .is_some_and(|id| !in_flight.unverified().reserve(id, bytes));
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

    /// Reserves more bytes, until the request has reserved this many in total.
    pub(super) fn reserve_total(&mut self, bytes: usize) -> Result<(), Problem> {
        match bytes.saturating_sub(self.bytes) {
            0 => Ok(()),
            more => self.reserve(more),
        }
    }

    /// Reserves the memory of the request's event in total, which can be many times as much as the body. An event that
    /// is larger than the limit counts as the whole limit, so it is accepted when nothing else is in flight.
    pub(super) fn reserve_event(&mut self, bytes: usize) -> Result<(), Problem> {
        self.reserve_total(bytes.min(self.in_flight.bytes.max))
    }

    /// Returns `Ready` when the request was evicted. The task of `cx` is woken when that happens.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<Problem> {
        match self.unverified {
            Some(_) => self.body.poll_evicted(cx).map(|()| evicted()),
            None => Poll::Pending,
        }
    }

    /// Call this when the body is complete. The request cannot be evicted any more. The caller must check the signature
    /// without awaiting anything before that.
    pub(super) fn complete(&mut self) -> Result<(), Problem> {
        if let Some(id) = self.unverified {
            let removed = self.in_flight.unverified().remove(id);
            removed.ok_or_else(evicted)?;
            self.unverified = None;
        }
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        // An evicted request was released when it was evicted.
        if self.complete().is_ok() {
            self.in_flight.release(self.bytes);
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

    fn verified(all: &InFlight) -> Reservation<'_> {
        all.begin(None).expect("there is room")
    }

    fn unverified(all: &InFlight, address: u8) -> Reservation<'_> {
        all.begin(Some(IpAddr::from([192, 0, 2, address])))
            .expect("there is room")
    }

    fn is_evicted(reservation: &Reservation<'_>) -> bool {
        poll_fn(|cx| reservation.poll_evicted(cx))
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
        assert!(first.reserve(6).is_ok());
        assert!(first.reserve(4).is_ok());
        assert!(second.reserve(1).is_err());
        drop(first);
        assert!(second.reserve(9).is_ok());
        assert_eq!(counts(&all).1, 10);
        drop(second);
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn a_request_counts_with_its_event_where_that_is_larger_than_its_body() {
        let all = in_flight(3, 10);
        let mut first = verified(&all);
        assert!(first.reserve(4).is_ok());
        assert!(first.reserve_total(3).is_ok());
        assert_eq!(counts(&all).1, 4);
        assert!(first.reserve_event(7).is_ok());
        assert_eq!(counts(&all).1, 7);
        let mut second = verified(&all);
        assert!(second.reserve(2).is_ok());
        assert!(second.reserve_event(4).is_err());
        drop((first, second));
        let mut alone = verified(&all);
        assert!(
            alone.reserve_event(11).is_ok(),
            "it is all that is in flight"
        );
        let mut other = verified(&all);
        assert!(other.reserve(1).is_err());
        drop((alone, other));
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn an_unverified_request_makes_room_for_any_other() {
        let all = in_flight(3, 10);
        let older = [1, 2, 3].map(|address| unverified(&all, address));
        let newer = unverified(&all, 4);
        assert_eq!(
            older.each_ref().map(is_evicted),
            [true, false, false],
            "the oldest"
        );
        let known = [(); 2].map(|()| verified(&all));
        assert_eq!(older.each_ref().map(is_evicted), [true; 3]);
        assert!(!is_evicted(&newer));
        assert_eq!(counts(&all), (3, 0));
        drop(known);
        assert_eq!(counts(&all), (1, 0));
        drop((older, newer));
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn the_body_that_makes_room_is_freed_at_once_and_counts_no_more() {
        let all = in_flight(10, 10);
        let (mut large, mut small) = (unverified(&all, 1), unverified(&all, 2));
        for (reservation, size) in [(&mut large, 6), (&mut small, 3)] {
            reservation.reserve(size).expect("there is room");
            reservation.body().add(Bytes::from(vec![0; size]), None);
        }
        let mut known = verified(&all);
        assert!(known.reserve(7).is_ok());
        assert!(is_evicted(&large) && !is_evicted(&small));
        assert!(large.body().take().is_empty());
        assert_eq!(counts(&all), (2, 10));
        assert!(large.reserve(1).is_err() && large.complete().is_err());
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
        first.reserve(5).expect("there is room");
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
        known.reserve(8).expect("there is room");
        let mut small = unverified(&all, 1);
        small.reserve(2).expect("there is room");
        let mut large = verified(&all);
        assert!(large.reserve(5).is_err());
        assert!(!is_evicted(&small));
    }

    #[test]
    fn the_only_unverified_request_makes_room_for_nothing_of_its_own() {
        let all = in_flight(10, 10);
        let mut known = verified(&all);
        known.reserve(8).expect("there is room");
        let mut alone = unverified(&all, 1);
        let outcome = alone.reserve(3);
        assert!(outcome.is_err() || is_evicted(&alone));
        assert!(!is_evicted(&known));
        drop(alone);
        assert_eq!(counts(&all), (1, 8));
    }
}
