//! What is in flight at once: requests, and the bytes of their bodies or of the events that these became.
//!
//! Guarantees: what a request took is given back when its [`Flight`] ends, however it ends; requests
//! that a signature has yet to let in have at most half of the room, so that strangers can't take all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::problem::Problem;
use crate::metrics::Metrics;

/// The counts of one listener, shared by its workers, and how far they may go.
pub(super) struct InFlight {
    all: Room,
    /// Of those that nothing has let in yet.
    unproven: Room,
    metrics: Arc<Metrics>,
}

/// Counts, and how far they may go.
struct Room {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    max_requests: usize,
    max_bytes: usize,
}

/// One request's share of what is in flight.
pub(super) struct Flight<'a> {
    in_flight: &'a InFlight,
    bytes: usize,
    unproven: bool,
}

impl InFlight {
    pub(super) fn new(max_requests: usize, max_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            all: Room::new(max_requests, max_bytes),
            unproven: Room::new(max_requests.div_ceil(2), max_bytes.div_ceil(2)),
            metrics,
        }
    }

    /// Lets one more request in, if there is room. `unproven`: a signature has yet to let it in.
    pub(super) fn begin(&self, unproven: bool) -> Result<Flight<'_>, Problem> {
        let mut has_room = self.all.begin();
        if unproven {
            has_room &= self.unproven.begin();
        }
        self.metrics.in_flight_began();
        let flight = Flight {
            in_flight: self,
            bytes: 0,
            unproven,
        };
        match has_room {
            true => Ok(flight),
            false => Err(Problem::too_many(
                "as many requests as allowed are in flight",
                1,
            )),
        }
    }
}

impl Room {
    fn new(max_requests: usize, max_bytes: usize) -> Self {
        Self {
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_requests,
            max_bytes,
        }
    }

    fn begin(&self) -> bool {
        self.requests.fetch_add(1, Relaxed) < self.max_requests
    }

    fn hold(&self, bytes: usize) -> bool {
        self.bytes.fetch_add(bytes, Relaxed) + bytes <= self.max_bytes
    }

    fn end(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.requests.fetch_sub(1, Relaxed);
    }
}

impl Flight<'_> {
    /// Takes room for bytes that are there, until the request ends.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        let in_flight = self.in_flight;
        in_flight.metrics.in_flight_bytes_added(bytes);
        let mut has_room = in_flight.all.hold(bytes);
        if self.unproven {
            has_room &= in_flight.unproven.hold(bytes);
        }
        match has_room {
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
        self.hold_at_least(bytes.min(self.in_flight.all.max_bytes))
    }

    /// A signature has let it in: it needs none of the room for strangers any more.
    pub(super) fn proven(&mut self) {
        if std::mem::take(&mut self.unproven) {
            self.in_flight.unproven.end(self.bytes);
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.proven();
        let in_flight = self.in_flight;
        in_flight.all.end(self.bytes);
        in_flight.metrics.in_flight_bytes_removed(self.bytes);
        in_flight.metrics.in_flight_ended();
    }
}

#[cfg(test)]
mod tests {
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
        (all.all.requests.load(Relaxed), all.all.bytes.load(Relaxed))
    }

    #[test]
    fn a_request_over_the_limit_is_refused_and_takes_nothing() {
        let all = in_flight(2, 10);
        let first = all.begin(false).ok();
        let _second = all.begin(false).ok();
        assert!(all.begin(false).is_err());
        assert_eq!(counts(&all), (2, 0));
        drop(first);
        assert!(all.begin(false).is_ok());
        assert_eq!(counts(&all), (1, 0));
    }

    #[test]
    fn bytes_over_the_limit_are_refused_and_given_back_with_the_others() {
        let all = in_flight(2, 10);
        let mut first = all.begin(false).expect("there is room for two");
        let mut second = all.begin(false).expect("there is room for two");
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
        let mut first = all.begin(false).expect("there is room");
        assert!(first.hold(4).is_ok());
        assert!(first.hold_at_least(3).is_ok());
        assert_eq!(counts(&all).1, 4);
        assert!(first.hold_event(7).is_ok());
        assert_eq!(counts(&all).1, 7);
        let mut second = all.begin(false).expect("there is room");
        assert!(second.hold(2).is_ok());
        assert!(second.hold_event(4).is_err());
        drop((first, second));
        let mut alone = all.begin(false).expect("there is room");
        assert!(alone.hold_event(11).is_ok(), "it is all that is in flight");
        let mut other = all.begin(false).expect("there is room");
        assert!(other.hold(1).is_err());
        drop((alone, other));
        assert_eq!(counts(&all), (0, 0));
    }

    #[test]
    fn strangers_have_half_of_the_room_and_none_once_they_are_known() {
        let all = in_flight(4, 10);
        let mut first = all.begin(true).expect("there is room for two");
        let mut second = all.begin(true).expect("there is room for two");
        assert!(all.begin(true).is_err());
        assert!(first.hold(5).is_ok());
        assert!(second.hold(1).is_err());
        let mut known = all
            .begin(false)
            .expect("there is room for those who are known");
        assert!(known.hold(4).is_ok());
        first.proven();
        let mut third = all.begin(true).expect("there is room again");
        assert!(third.hold(4).is_err(), "over the limit of all");
        assert_eq!(counts(&all), (4, 14));
        drop((first, second, third, known));
        assert_eq!(counts(&all), (0, 0));
        assert_eq!(all.unproven.bytes.load(Relaxed), 0);
        assert_eq!(all.unproven.requests.load(Relaxed), 0);
    }
}
