//! A lane's way to the broker: handing over, failing, resting, beginning again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Kept, State};
use super::{Answer, Condemned, Lane, Notice, Pace, Steps, Trouble, backoff};
use crate::envelope::DeadLetterReason;
use crate::publish::{Class, Failure, Handover, PerKey, Reason};

/// How long an event waits for the reports of others so that it can be handed over together with more: longer
/// than a broker near by takes, and no more than that where one partition does not answer.
const GATHER: Duration = Duration::from_millis(5);

/// How many entries of the line are looked at for events whose ordering key is free.
const LOOKED_AT: usize = 1000;

impl<T> Lane<T> {
    pub(super) fn confirmed(&mut self, now: Instant, seq: u64, attempt: u16, steps: &mut Steps<T>) {
        let Some(index) = self.index(seq) else { return };
        let State::HandedOver {
            at,
            attempt: current,
        } = self.line[index].state
        else {
            return;
        };
        if attempt != current {
            return;
        }
        self.outstanding -= 1;
        self.overdue = false;
        self.confirmed_at = Some(now);
        let entry = &self.line[index];
        steps.notices.push(Notice::Confirmed {
            bytes: entry.event().envelope().len(),
            publishing: now.saturating_duration_since(at),
            latency: now.saturating_duration_since(entry.since) + entry.before,
        });
        self.done(index, Answer::Published, steps);
        if self.pace != Pace::Settling {
            self.flow(now, steps);
        }
    }

    /// Events get through: the trouble is over, and so is handing over one at a time, but for suspects.
    fn flow(&mut self, now: Instant, steps: &mut Steps<T>) {
        if self.pace == Pace::Flowing && self.trouble.is_none() {
            return;
        }
        self.backoff.reset();
        if let Some(trouble) = self.trouble.take_if(|_| self.up == Some(true)) {
            steps.notices.push(Notice::TroubleEnded(
                now.saturating_duration_since(trouble.since),
            ));
        }
        self.pace = if self.has_suspects() {
            Pace::Probing
        } else {
            Pace::Flowing
        };
    }

    pub(super) fn failed(
        &mut self,
        now: Instant,
        seq: u64,
        attempt: u16,
        failure: Failure,
        steps: &mut Steps<T>,
    ) {
        let Some(index) = self.index(seq) else { return };
        if !matches!(self.line[index].state, State::HandedOver { attempt: current, .. } if current == attempt)
        {
            return;
        }
        self.outstanding -= 1;
        self.line[index].state = State::Waiting;
        self.next = self.next.min(seq);
        steps.notices.push(Notice::Failed(failure.reason));
        match failure.class {
            Class::DeadLetter if self.pace == Pace::Probing => {
                let reason = match failure.reason {
                    Reason::TooLarge => DeadLetterReason::TooLarge,
                    _ => DeadLetterReason::Rejected,
                };
                // A publisher may take nothing more of an attempt in which an event failed.
                self.attempt = self.attempt.wrapping_add(1);
                self.condemn(index, reason, failure.detail, steps);
            }
            Class::DeadLetter => {
                self.line[index].suspect = true;
                self.pace = Pace::Settling;
            }
            Class::Requeue => self.pace = Pace::Settling,
            class => {
                self.rebuild |= class == Class::Rebuild;
                self.pace = Pace::Settling;
                self.in_trouble(now, failure, steps);
            }
        }
    }

    fn condemn(
        &mut self,
        index: usize,
        reason: DeadLetterReason,
        detail: String,
        steps: &mut Steps<T>,
    ) {
        let entry = &mut self.line[index];
        entry.state = State::Condemned(reason);
        entry.suspect = false;
        let seq = self.first + index as u64;
        steps.dead_letters.push(Condemned {
            seq,
            event: Arc::clone(entry.event()),
            reason,
            detail,
        });
    }

    pub(super) fn came_up(&mut self, now: Instant, steps: &mut Steps<T>) {
        if self.up.is_none() && self.trouble.is_none() {
            steps.notices.push(Notice::Reached);
        }
        self.up = Some(true);
        if self.outstanding == 0 && self.pending == 0 {
            self.flow(now, steps);
        } else if self.pace != Pace::Settling && self.outstanding == 0 {
            self.pace = Pace::Resting(now);
        }
    }

    pub(super) fn in_trouble(&mut self, now: Instant, failure: Failure, steps: &mut Steps<T>) {
        match &mut self.trouble {
            None => {
                steps.notices.push(Notice::TroubleBegan(failure.clone()));
                self.trouble = Some(Trouble {
                    since: now,
                    failure,
                });
            }
            // What follows from the first failure is no news; what an operator has to mend is, and so is
            // what slows the attempts down.
            Some(trouble)
                if (failure.class == Class::Operator || failure.reason == Reason::Nack)
                    && trouble.failure.reason != failure.reason =>
            {
                steps.notices.push(Notice::TroubleChanged(failure.clone()));
                trouble.failure = failure;
            }
            Some(_) => {}
        }
    }

    /// After a failure, once everything that was handed over is reported: rebuild what has to be,
    /// rest, then begin again.
    pub(super) fn settle(&mut self, now: Instant, steps: &mut Steps<T>) {
        if self.outstanding > 0 {
            return;
        }
        if std::mem::take(&mut self.rebuild) {
            self.up = Some(false);
            steps.rebuild = true;
        }
        if self.pace != Pace::Settling {
            return;
        }
        self.attempt = self.attempt.wrapping_add(1);
        let rest = match &self.trouble {
            Some(trouble) => self.backoff.next(backoff::waits(&trouble.failure)),
            None => Duration::ZERO,
        };
        self.pace = Pace::Resting(now + rest);
    }

    pub(super) fn hand_over_what_may_be(
        &mut self,
        now: Instant,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        if self.up != Some(true) || self.leaves_the_rest_to_the_spool(now) {
            return;
        }
        match self.pace {
            // What failed was an event's own fault, and no order depends on it: all others go on.
            Pace::Resting(until) if until <= now && self.isolates() => self.flow(now, steps),
            Pace::Probing if self.outstanding == 0 && self.isolates() && !self.has_suspects() => {
                self.flow(now, steps);
            }
            _ => {}
        }
        match self.pace {
            Pace::Flowing if self.gathers(now) => {}
            Pace::Flowing if self.limits_keys() => {
                self.hand_over_what_is_free(now, max_envelope, steps);
            }
            Pace::Flowing => self.hand_over(now, usize::MAX, max_envelope, steps),
            Pace::Resting(until) if until <= now => {
                self.pace = Pace::Probing;
                self.hand_over(now, 1, max_envelope, steps);
            }
            Pace::Probing if self.outstanding == 0 && self.isolates() => {
                self.hand_over_a_suspect(now, max_envelope, steps);
            }
            Pace::Probing if self.outstanding == 0 => self.hand_over(now, 1, max_envelope, steps),
            _ => {}
        }
        // Nothing to try it with: the next event will tell.
        if self.pace == Pace::Probing && self.outstanding == 0 && !self.spooling.has_backlog() {
            self.flow(now, steps);
        }
    }

    /// Whether suspects are tried alone while everything else goes on as usual.
    fn isolates(&self) -> bool {
        self.per_key == PerKey::One && self.trouble.is_none()
    }

    /// Whether an event that waits may have to wait for another of its ordering key.
    fn limits_keys(&self) -> bool {
        match self.per_key {
            PerKey::Any => false,
            // What is on disk alone is not in the line.
            PerKey::NoneBehindAnswered => self.kept() > self.on_disk() as u64,
            PerKey::One => true,
        }
    }

    fn has_suspects(&self) -> bool {
        let mut line = self.line.iter();
        line.any(|entry| entry.suspect && entry.state == State::Waiting)
    }

    fn gathers(&self, now: Instant) -> bool {
        self.gathers_until().is_some_and(|until| until > now)
    }

    /// When the events that are being gathered are handed over at the latest. None: they are not gathered.
    pub(super) fn gathers_until(&self) -> Option<Instant> {
        if self.pace != Pace::Flowing
            || self.outstanding < self.gathers_from
            || self.spooling.has_backlog()
        {
            return None;
        }
        let next = usize::try_from(self.next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut line = self.line.iter().skip(next);
        let oldest = line.find(|entry| entry.state == State::Waiting)?;
        Some(oldest.since + GATHER)
    }

    /// Hands over the first `most` events that wait, and condemns those that are too large for the destination.
    fn hand_over(
        &mut self,
        now: Instant,
        most: usize,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        let before = steps.publish.len();
        self.next = self.next.max(self.first);
        while self.next < self.end() && steps.publish.len() - before < most {
            let index = (self.next - self.first) as usize;
            self.next += 1;
            self.hand_over_entry(now, index, max_envelope, steps);
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
        let mut next = None;
        for (index, entry) in self.line.iter().enumerate().take(LOOKED_AT) {
            let is_waiting = match entry.state {
                State::Waiting => true,
                State::HandedOver { .. } => false,
                State::Condemned(_) | State::Done => continue,
            };
            let key = entry.event().ordering_key();
            let is_free = key.is_none_or(|key| !taken_keys.contains(key));
            // The bridge has answered for what the spool has.
            if self.per_key == PerKey::One || matches!(entry.kept, Kept::Yes(_)) {
                taken_keys.extend(key);
            }
            match is_waiting {
                true if is_free => free.push(index),
                true => next = next.or(Some(index)),
                false => {}
            }
        }
        let next = next.unwrap_or(self.line.len().min(LOOKED_AT));
        for index in free {
            self.hand_over_entry(now, index, max_envelope, steps);
        }
        self.next = self.first + next as u64;
    }

    /// Hands over the first suspect, alone.
    fn hand_over_a_suspect(
        &mut self,
        now: Instant,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        let mut line = self.line.iter();
        let suspect = line.position(|entry| entry.suspect && entry.state == State::Waiting);
        if let Some(index) = suspect {
            self.hand_over_entry(now, index, max_envelope, steps);
        }
    }

    /// Hands over an entry if it waits, or condemns it if it is too large for the destination.
    fn hand_over_entry(
        &mut self,
        now: Instant,
        index: usize,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        let (seq, attempt) = (self.first + index as u64, self.attempt);
        let entry = &mut self.line[index];
        if entry.state != State::Waiting {
            return;
        }
        let length = entry.event().envelope().len();
        if let Some(max) = max_envelope.filter(|max| length > *max) {
            let detail =
                format!("the envelope has {length} bytes, and the destination takes {max}");
            self.condemn(index, DeadLetterReason::TooLarge, detail, steps);
            return;
        }
        if entry.tries > 0 {
            steps.notices.push(Notice::Repeated(1));
        }
        entry.tries += 1;
        entry.suspect = false;
        entry.state = State::HandedOver { at: now, attempt };
        steps.publish.push(Handover {
            seq,
            attempt,
            event: Arc::clone(entry.event()),
        });
        self.outstanding += 1;
    }
}
