//! A lane's way to the broker: handing over, failing, resting, beginning again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Pace, Repair};
use super::entry::State;
use super::line::Search;
use super::{Answer, Condemned, Lane, Notice, Steps};
use crate::envelope::DeadLetterReason;
use crate::publish::{Class, Failure, PerKey, Reason};

/// How many entries of the line are looked at for events whose ordering key is free.
const LOOKED_AT: usize = 1000;

impl<T> Lane<T> {
    pub(super) fn confirmed(&mut self, now: Instant, seq: u64, attempt: u16, steps: &mut Steps<T>) {
        let Some(at) = self.line.in_flight_since(seq, attempt) else {
            return;
        };
        let entry = self.line.finish(seq).expect("it was just seen in flight");
        self.confirmed_at = Some(now);
        steps.notices.push(Notice::Confirmed {
            bytes: entry.event.envelope().len(),
            publishing: now.saturating_duration_since(at),
            latency: now.saturating_duration_since(entry.since) + entry.before,
        });
        steps.finished(entry, Answer::Published);
        if self.connection.pace() != Some(Pace::Settling) {
            self.resume(now, steps);
        }
    }

    /// Events get through: the trouble is over, and so is handing over one event at a time, unless some have to go alone.
    fn resume(&mut self, now: Instant, steps: &mut Steps<T>) {
        if self.connection.pace() == Some(Pace::Steady) && self.connection.failure().is_none() {
            return;
        }
        let pace = match self.first_to_go_alone() {
            Some(_) => Pace::Probing,
            None => Pace::Steady,
        };
        let notice = self.connection.resume(now, pace, &mut self.backoff);
        steps.notices.extend(notice);
    }

    pub(super) fn failed(
        &mut self,
        now: Instant,
        seq: u64,
        attempt: u16,
        failure: Failure,
        steps: &mut Steps<T>,
    ) {
        if self.line.in_flight_since(seq, attempt).is_none() {
            return;
        }
        let alone = failure.class == Class::DeadLetter;
        self.line
            .change(seq, |entry| entry.state = State::Waiting { alone });
        steps.notices.push(Notice::Failed(failure.reason));
        match failure.class {
            Class::DeadLetter if self.line.was_alone(seq) => {
                let reason = match failure.reason {
                    Reason::TooLarge => DeadLetterReason::TooLarge,
                    _ => DeadLetterReason::Rejected,
                };
                // A publisher may take nothing more of an attempt in which an event failed.
                self.line.begin_attempt();
                self.condemn(seq, reason, failure.detail, steps);
            }
            Class::DeadLetter | Class::Requeue => self.connection.settle(),
            Class::Retry | Class::Operator | Class::Rebuild => {
                steps.notices.extend(self.connection.failed(now, failure));
            }
        }
    }

    fn condemn(
        &mut self,
        seq: u64,
        reason: DeadLetterReason,
        detail: String,
        steps: &mut Steps<T>,
    ) {
        let Some(entry) = self.line.get(seq) else {
            return;
        };
        steps.dead_letters.push(Condemned {
            seq,
            event: Arc::clone(&entry.event),
            reason,
            detail,
        });
        self.line
            .change(seq, |entry| entry.state = State::Undeliverable);
    }

    pub(super) fn came_up(&mut self, now: Instant, steps: &mut Steps<T>) {
        let outstanding = (self.pending(), self.line.totals().in_flight);
        let notice = self.connection.came_up(now, outstanding, &mut self.backoff);
        steps.notices.extend(notice);
    }

    /// After a failure, once everything that was handed over is reported: rebuild what has to be,
    /// rest, then begin again.
    pub(super) fn settle(&mut self, now: Instant, steps: &mut Steps<T>) {
        if self.line.totals().in_flight > 0 {
            return;
        }
        let repair = self.connection.settled(now, &mut self.backoff);
        if repair >= Repair::Attempt {
            self.line.begin_attempt();
        }
        steps.rebuild |= repair == Repair::Rebuild;
    }

    pub(super) fn hand_over_what_may_be(
        &mut self,
        now: Instant,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        let nothing_is_in_flight = self.line.totals().in_flight == 0;
        match self.connection.pace() {
            // What failed was an event's own fault, and no order depends on it: all others go on.
            Some(Pace::Resting(until)) if until <= now && self.isolates() => {
                self.resume(now, steps)
            }
            Some(Pace::Probing) if nothing_is_in_flight && self.isolates() => {
                self.resume(now, steps)
            }
            Some(Pace::Resting(until)) if until <= now => self.connection.probe(),
            _ => {}
        }
        if self.leaves_the_rest_to_the_spool(now) {
            return;
        }
        match self.connection.pace() {
            Some(Pace::Steady) if self.limits_keys() => {
                self.hand_over_what_is_free(now, max_envelope, steps);
            }
            Some(Pace::Steady) => self.hand_over(now, usize::MAX, max_envelope, steps),
            Some(Pace::Probing) if nothing_is_in_flight => {
                let first = self.first_to_go_alone().filter(|_| self.isolates());
                match first {
                    Some(seq) => self.hand_over_entry(now, seq, max_envelope, steps),
                    None => self.hand_over(now, 1, max_envelope, steps),
                }
            }
            _ => {}
        }
        // There is nothing to try it with: the next event will tell.
        if self.connection.pace() == Some(Pace::Probing)
            && self.line.totals().in_flight == 0
            && !self.has_backlog()
        {
            self.resume(now, steps);
        }
    }

    /// Whether events that have to go alone are tried while everything else goes on as usual.
    fn isolates(&self) -> bool {
        self.per_key == PerKey::One && self.connection.failure().is_none()
    }

    /// Whether an event that waits may have to wait for another of its ordering key.
    fn limits_keys(&self) -> bool {
        match self.per_key {
            PerKey::Any => false,
            PerKey::NoneBehindAnswered => self.line.totals().spooled > 0,
            PerKey::One => true,
        }
    }

    fn first_to_go_alone(&self) -> Option<u64> {
        let mut waiting = self.line.find_all(Search::Waiting);
        let alone = State::Waiting { alone: true };
        waiting.find_map(|(seq, entry)| (entry.state == alone).then_some(seq))
    }

    /// Hands over the first `most` events that wait, and condemns those that are too large for the destination.
    fn hand_over(
        &mut self,
        now: Instant,
        most: usize,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        let upto = steps.publish.len().saturating_add(most);
        while steps.publish.len() < upto
            && let Some((seq, _)) = self.line.find(Search::Waiting)
        {
            self.hand_over_entry(now, seq, max_envelope, steps);
        }
    }

    /// Hands over each event that waits, unless an event of its ordering key stands before it behind which it may not
    /// be on its way. It looks at the first part of the line only.
    fn hand_over_what_is_free(
        &mut self,
        now: Instant,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        let mut taken_keys = HashSet::new();
        let mut free = Vec::new();
        let looked_at = self.line.iter().take(LOOKED_AT);
        for (seq, entry) in looked_at.filter(|(_, entry)| entry.state != State::Undeliverable) {
            let key = entry.event.ordering_key();
            let is_free = key.is_none_or(|key| !taken_keys.contains(key));
            // The bridge has answered for what the spool has.
            if self.per_key == PerKey::One || entry.is_spooled() {
                taken_keys.extend(key);
            }
            if is_free && entry.is_waiting() {
                free.push(seq);
            }
        }
        for seq in free {
            self.hand_over_entry(now, seq, max_envelope, steps);
        }
    }

    /// Hands over an entry that waits, or condemns it if it is too large for the destination.
    fn hand_over_entry(
        &mut self,
        now: Instant,
        seq: u64,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        let Some(entry) = self.line.get(seq) else {
            return;
        };
        let length = entry.event.envelope().len();
        if let Some(max) = max_envelope.filter(|max| length > *max) {
            let detail =
                format!("the envelope has {length} bytes, and the destination takes {max}");
            self.condemn(seq, DeadLetterReason::TooLarge, detail, steps);
            return;
        }
        if entry.repeated {
            steps.notices.push(Notice::Repeated(1));
        }
        steps.publish.extend(self.line.hand_over(seq, now));
    }
}
