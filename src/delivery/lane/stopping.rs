//! A lane's end: what is still confirmed, and what is left to the spool.

use std::time::Instant;

use super::Lane;
use super::entry::{Entry, Kept, State};

impl<T> Lane<T> {
    /// From now on no backlog is begun; until then, what is in flight may still be confirmed. What
    /// is not goes to the spool.
    pub fn stop(&mut self, until: Instant) {
        self.stopping = Some(until);
    }

    /// Whether a lane that stops has nothing more to do, or has no more time for it.
    pub fn is_finished(&self, now: Instant) -> bool {
        let Some(until) = self.stopping else {
            return false;
        };
        let is_past = now >= until;
        if !self.spooling.is_on() {
            return is_past || !self.line.iter().any(|entry| entry.ticket.is_some());
        }
        let kept = !self.spooling.is_appending() && self.everything_is_kept();
        let refused = is_past && !self.spool_takes(now) && !self.spooling.is_appending();
        refused || kept && (is_past || self.outstanding == 0 || self.outage(now).is_some())
    }

    fn everything_is_kept(&self) -> bool {
        self.spooling.arrivals.is_empty() && self.unkept() == 0
    }

    /// Events that are not in the spool and neither confirmed nor dead-lettered.
    pub fn unkept(&self) -> usize {
        let unkept =
            |entry: &&Entry<T>| entry.state != State::Done && !matches!(entry.kept, Kept::Yes(_));
        self.line.iter().filter(unkept).count()
    }

    /// Whether a lane that stops hands over no more: what is not handed over stays in the spool, or goes there.
    pub(super) fn leaves_the_rest_to_the_spool(&mut self, now: Instant) -> bool {
        let Some(until) = self.stopping else {
            return false;
        };
        if !self.spool_takes(now) {
            return false;
        }
        self.next = self.next.max(self.first);
        let mut waiting = self.line.iter().skip((self.next - self.first) as usize);
        let next_is_kept = waiting
            .find(|entry| entry.state == State::Waiting)
            .is_some_and(|entry| entry.kept != Kept::No);
        next_is_kept || self.spooling.has_backlog() || now >= until || self.outage(now).is_some()
    }
}
