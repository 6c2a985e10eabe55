//! A lane's time: who has waited too long, and when there is something to do again.

use std::time::Instant;

use super::entry::{Entry, State};
use super::{Answer, Lane, Notice, Pace, Steps};
use crate::publish::{Class, Failure, Reason};

impl<T> Lane<T> {
    /// When [`Self::advance`] has something to do again, if nothing happens before.
    pub fn wakes_at(&self) -> Option<Instant> {
        let rest = match self.pace {
            Pace::Resting(until) if self.up == Some(true) => Some(until),
            _ => None,
        };
        let unanswered = usize::try_from(self.unanswered.saturating_sub(self.first)).ok();
        let oldest = unanswered.and_then(|index| self.line.get(index));
        let mut arrivals = self.spooling.arrivals.iter();
        let arrived = arrivals.find(|entry| entry.ticket.is_some());
        let deadline = [oldest, arrived].into_iter().flatten();
        let deadline = deadline
            .map(|entry| entry.since + self.bounds.deadline)
            .min();
        let again = self.again.iter().map(|(at, _)| *at).min();
        let silent = match self.overdue {
            true => None,
            false => self.waits_since().map(|since| since + self.bounds.deadline),
        };
        let append = self.appends_at();
        let stop = self.stopping.filter(|_| !self.spooling.is_appending());
        let hands_over = self.up == Some(true) && self.stopping.is_none();
        let gathered = self.gathers_until().filter(|_| hands_over);
        [rest, deadline, again, silent, append, stop, gathered]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn answer_the_overdue(&mut self, now: Instant, steps: &mut Steps<T>) {
        self.unanswered = self.unanswered.max(self.first);
        while let Some(entry) = self.line.get_mut((self.unanswered - self.first) as usize) {
            if entry.since + self.bounds.deadline > now {
                break;
            }
            self.unanswered += 1;
            if let Some(ticket) = entry.ticket.take() {
                steps.answers.push((ticket, Answer::Unavailable));
            }
        }
        for entry in &mut self.spooling.arrivals {
            if entry.since + self.bounds.deadline > now {
                break;
            }
            if let Some(ticket) = entry.ticket.take() {
                steps.answers.push((ticket, Answer::Unavailable));
            }
        }
    }

    /// Since when the broker has owed a confirm. What waits for the dead letters says nothing of it.
    fn waits_since(&self) -> Option<Instant> {
        let owed =
            |entry: &&Entry<T>| matches!(entry.state, State::Waiting | State::HandedOver { .. });
        let oldest = self.line.iter().find(owed)?;
        Some(oldest.since.max(self.confirmed_at.unwrap_or(oldest.since)))
    }

    pub(super) fn notice_silence(&mut self, now: Instant, steps: &mut Steps<T>) {
        if self.overdue
            || self
                .waits_since()
                .is_none_or(|since| since + self.bounds.deadline > now)
        {
            return;
        }
        self.overdue = true;
        if self.trouble.is_some() {
            return;
        }
        steps.notices.push(Notice::Failed(Reason::Timeout));
        let failure = Failure {
            class: Class::Retry,
            reason: Reason::Timeout,
            detail: format!("no confirm came within {:?}", self.bounds.deadline),
        };
        self.in_trouble(now, failure, steps);
    }
}
