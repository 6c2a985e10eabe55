//! A lane's end: what is still confirmed, and what is left to the spool.

use std::time::Instant;

use super::entry::InSpool;
use super::line::Search;
use super::{Intake, Lane};

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
        if self.intake == Intake::Off {
            return is_past || self.line.find_all(Search::Unanswered).next().is_none();
        }
        if self.numbers.is_appending() {
            return false;
        }
        let kept = self.arrivals.is_empty() && self.unkept() == 0;
        let nothing_is_in_flight = self.line.totals().in_flight == 0;
        match is_past {
            true => kept || !self.spool_takes(now),
            false => kept && (nothing_is_in_flight || self.outage(now).is_some()),
        }
    }

    /// Events that are not in the spool and neither confirmed nor dead-lettered.
    pub fn unkept(&self) -> usize {
        let totals = self.line.totals();
        totals.pending - totals.spooled
    }

    /// Whether a lane that stops hands over no more: what is not handed over stays in the spool, or goes there.
    pub(super) fn leaves_the_rest_to_the_spool(&self, now: Instant) -> bool {
        let Some(until) = self.stopping.filter(|_| self.spool_takes(now)) else {
            return false;
        };
        let mut waiting = self.line.find_all(Search::Waiting);
        let next_is_kept = waiting
            .next()
            .is_some_and(|(_, entry)| entry.in_spool != InSpool::No);
        next_is_kept || self.has_backlog() || now >= until || self.outage(now).is_some()
    }
}
