//! A lane's time: who has waited too long, and when there is something to do again.

use std::time::Instant;

use super::connection::Pace;
use super::entry::State;
use super::line::Search;
use super::{Answer, Lane, Notice, Steps};
use crate::publish::{Class, Failure, Reason};

impl<T> Lane<T> {
    /// When [`Self::advance`] has something to do again, if nothing happens before.
    pub fn wakes_at(&self) -> Option<Instant> {
        let rest = match self.connection.pace() {
            Some(Pace::Resting(until)) => Some(until),
            _ => None,
        };
        let lines = [&self.line, &self.arrivals].into_iter();
        let unanswered = lines.filter_map(|line| line.find_all(Search::Unanswered).next());
        let deadline = unanswered
            .map(|(_, entry)| entry.since + self.bounds.deadline)
            .min();
        let again = self.again.iter().map(|(at, _)| *at).min();
        let stop = self.stopping.filter(|_| !self.numbers.is_appending());
        let times = [rest, deadline, again, stop];
        let times = times
            .into_iter()
            .chain([self.silent_at(), self.appends_at()]);
        times.flatten().min()
    }

    pub(super) fn answer_the_overdue(&mut self, now: Instant, steps: &mut Steps<T>) {
        let deadline = self.bounds.deadline;
        for line in [&mut self.line, &mut self.arrivals] {
            while let Some((seq, entry)) = line.find(Search::Unanswered)
                && entry.since + deadline <= now
            {
                let ticket = line.change(seq, |entry| entry.ticket.take());
                steps.answer(ticket.flatten(), Answer::Unavailable);
            }
        }
    }

    /// When the broker will have owed a confirm for too long. An outage that is known needs no such sign, and what waits
    /// for the dead letters says nothing of the broker.
    fn silent_at(&self) -> Option<Instant> {
        let mut line = self.line.iter().filter(|_| !self.connection.is_outage());
        let (_, oldest) = line.find(|(_, entry)| entry.state != State::Undeliverable)?;
        let since = self
            .confirmed_at
            .map_or(oldest.since, |at| at.max(oldest.since));
        Some(since + self.bounds.deadline)
    }

    pub(super) fn notice_silence(&mut self, now: Instant, steps: &mut Steps<T>) {
        if self.silent_at().is_none_or(|at| at > now) {
            return;
        }
        if self.connection.failure().is_none() {
            steps.notices.push(Notice::Failed(Reason::Timeout));
        }
        let failure = Failure {
            class: Class::Retry,
            reason: Reason::Timeout,
            detail: format!("no confirm came within {:?}", self.bounds.deadline),
        };
        steps
            .notices
            .extend(self.connection.went_silent(now, failure));
    }
}
