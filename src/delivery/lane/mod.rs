//! One destination's ordered line of events: from what happened, and when, to what to do.
//!
//! Guarantees: events are handed over in the order in which they were given; after a failure that
//! is not an event's own nothing overtakes the first that failed; every ticket is answered once;
//! what the line holds is bounded by the window.
//! No I/O, no clock, no task: the owner (`super::owner`) brings the time and carries out the steps.

mod steps;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::{DeadLetterReason, Event};
use crate::publish::{Class, Failure, Handover, Reason, Report};

pub use steps::{Answer, Condemned, Notice, Steps};

use super::backoff::Backoff;

/// The bounds that a lane keeps.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long an event may wait for its confirm before its sender is told that nothing is promised.
    pub deadline: Duration,
    /// How long trouble may last before it counts as an outage, so that new events don't wait for its end.
    pub patience: Duration,
    /// What the lane may hold, in bytes of memory.
    pub window: usize,
}

#[derive(Debug)]
struct Entry<T> {
    event: Arc<Event>,
    size: usize,
    given: Instant,
    ticket: Option<T>,
    state: State,
    tries: u32,
    /// It was in a batch that was refused for one of its events: to be handed over alone.
    suspect: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    HandedOver { at: Instant, attempt: u16 },
    Condemned(DeadLetterReason),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Every event is handed over as it comes.
    Flowing,
    /// Something failed: the reports of all that was handed over are awaited.
    Settling,
    /// Until then nothing is handed over.
    Resting(Instant),
    /// The first event is handed over alone.
    Probing,
}

#[derive(Debug)]
struct Trouble {
    since: Instant,
    failure: Failure,
}

/// See the module.
#[derive(Debug)]
pub struct Lane<T> {
    bounds: Bounds,
    line: VecDeque<Entry<T>>,
    /// The number of the line's first entry.
    first: u64,
    /// The first entry that may still have a ticket to answer for its age.
    unanswered: u64,
    /// No entry before it waits to be handed over.
    next: u64,
    size: usize,
    pending: usize,
    outstanding: usize,
    attempt: u16,
    pace: Pace,
    up: Option<bool>,
    /// Somebody waited for the whole deadline, and nothing was confirmed since.
    overdue: bool,
    rebuild: bool,
    trouble: Option<Trouble>,
    backoff: Backoff,
    again: Vec<(Instant, Condemned)>,
}

impl<T> Lane<T> {
    /// An empty lane whose broker was not reached yet.
    pub fn new(bounds: Bounds, backoff: Backoff) -> Self {
        Lane {
            bounds,
            line: VecDeque::new(),
            first: 0,
            unanswered: 0,
            next: 0,
            size: 0,
            pending: 0,
            outstanding: 0,
            attempt: 0,
            pace: Pace::Flowing,
            up: None,
            overdue: false,
            rebuild: false,
            trouble: None,
            backoff,
            again: Vec::new(),
        }
    }

    /// What the line holds, in bytes of memory.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Events that are neither confirmed nor dead-lettered.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Why a new event would be refused now, if it would be.
    pub fn outage(&self, now: Instant) -> Option<&str> {
        let lasting = |t: &&Trouble| now.saturating_duration_since(t.since) >= self.bounds.patience;
        match (&self.trouble, self.up) {
            (Some(trouble), Some(false)) => Some(&trouble.failure.detail),
            (_, Some(false)) => Some("the broker can't be reached"),
            (trouble, _) => trouble
                .as_ref()
                .filter(|trouble| self.overdue || lasting(trouble))
                .map(|t| t.failure.detail.as_str()),
        }
    }

    /// Whether the broker can be reached, as far as the publisher knows.
    pub fn reached(&self) -> bool {
        self.up == Some(true)
    }

    /// A new event. `room` is what the broker's window still takes, in bytes.
    /// Returns whether the lane took it; if not, its ticket is answered.
    pub fn give(
        &mut self,
        now: Instant,
        event: Arc<Event>,
        ticket: T,
        room: usize,
        steps: &mut Steps<T>,
    ) -> bool {
        let size = event.size();
        let full = self.size + size > self.bounds.window || size > room;
        if full || self.outage(now).is_some() {
            steps.answers.push((ticket, Answer::Unavailable));
            return false;
        }
        self.size += size;
        self.pending += 1;
        self.line.push_back(Entry {
            event,
            size,
            given: now,
            ticket: Some(ticket),
            state: State::Waiting,
            tries: 0,
            suspect: false,
        });
        true
    }

    /// What a publisher reported.
    pub fn report(&mut self, now: Instant, report: Report, steps: &mut Steps<T>) {
        match report {
            Report::Confirmed { seq, attempt } => self.confirmed(now, seq, attempt, steps),
            Report::Failed {
                seq,
                attempt,
                failure,
            } => self.failed(now, seq, attempt, failure, steps),
            Report::Up => self.came_up(now, steps),
            Report::Down(failure) => {
                self.up = Some(false);
                self.in_trouble(now, failure, steps);
            }
        }
    }

    /// How an event's way to the dead letters ended.
    pub fn dead_lettered(
        &mut self,
        now: Instant,
        condemned: Condemned,
        taken: bool,
        steps: &mut Steps<T>,
    ) {
        if !taken {
            self.again.push((now + Backoff::DEAD_LETTER, condemned));
            return;
        }
        if let Some(index) = self.index(condemned.seq) {
            steps.notices.push(Notice::DeadLettered(condemned.reason));
            self.done(index, Answer::DeadLettered, steps);
        }
    }

    /// Answers those who waited too long, begins again after a rest, and hands over what may be.
    /// `max_envelope` is what the destination takes, in bytes, where that is known.
    pub fn advance(&mut self, now: Instant, max_envelope: Option<usize>, steps: &mut Steps<T>) {
        self.answer_the_overdue(now, steps);
        self.settle(now, steps);
        let (due, later) = self.again.drain(..).partition(|(at, _)| *at <= now);
        self.again = later;
        let due: Vec<(Instant, Condemned)> = due;
        steps
            .dead_letters
            .extend(due.into_iter().map(|(_, condemned)| condemned));
        if self.up != Some(true) {
            return;
        }
        match self.pace {
            Pace::Flowing => self.hand_over(now, usize::MAX, max_envelope, steps),
            Pace::Resting(until) if until <= now => {
                self.pace = Pace::Probing;
                self.hand_over(now, 1, max_envelope, steps);
            }
            Pace::Probing if self.outstanding == 0 => self.hand_over(now, 1, max_envelope, steps),
            _ => {}
        }
        if self.pace == Pace::Probing && self.outstanding == 0 {
            self.flow(now, steps);
        }
    }

    /// When [`Self::advance`] has something to do again, if nothing happens before.
    pub fn wakes_at(&self) -> Option<Instant> {
        let rest = match self.pace {
            Pace::Resting(until) if self.up == Some(true) => Some(until),
            _ => None,
        };
        let unanswered = usize::try_from(self.unanswered.saturating_sub(self.first)).ok();
        let oldest = unanswered.and_then(|index| self.line.get(index));
        let deadline = oldest.map(|entry| entry.given + self.bounds.deadline);
        let again = self.again.iter().map(|(at, _)| *at).min();
        [rest, deadline, again].into_iter().flatten().min()
    }

    /// Whether somebody still waits for an answer.
    pub fn is_awaited(&self) -> bool {
        self.line.iter().any(|entry| entry.ticket.is_some())
    }

    fn confirmed(&mut self, now: Instant, seq: u64, attempt: u16, steps: &mut Steps<T>) {
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
        let entry = &self.line[index];
        steps.notices.push(Notice::Confirmed {
            bytes: entry.event.envelope().len(),
            publishing: now.saturating_duration_since(at),
            latency: now.saturating_duration_since(entry.given),
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
        let suspects = self
            .line
            .iter()
            .any(|entry| entry.suspect && entry.state == State::Waiting);
        self.pace = if suspects {
            Pace::Probing
        } else {
            Pace::Flowing
        };
    }

    fn failed(
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
                self.condemn(index, reason, failure.detail, steps);
            }
            Class::DeadLetter => {
                self.line[index].suspect = true;
                self.pace = Pace::Settling;
            }
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
            event: Arc::clone(&entry.event),
            reason,
            detail,
        });
    }

    fn came_up(&mut self, now: Instant, steps: &mut Steps<T>) {
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

    fn in_trouble(&mut self, now: Instant, failure: Failure, steps: &mut Steps<T>) {
        match &mut self.trouble {
            None => {
                steps.notices.push(Notice::TroubleBegan(failure.clone()));
                self.trouble = Some(Trouble {
                    since: now,
                    failure,
                });
            }
            // What follows from the first failure is no news; what an operator has to mend is.
            Some(trouble)
                if failure.class == Class::Operator && trouble.failure.reason != failure.reason =>
            {
                steps.notices.push(Notice::TroubleChanged(failure.clone()));
                trouble.failure = failure;
            }
            Some(_) => {}
        }
    }

    /// After a failure, once everything that was handed over is reported: rest, then begin again.
    fn settle(&mut self, now: Instant, steps: &mut Steps<T>) {
        if self.pace != Pace::Settling || self.outstanding > 0 {
            return;
        }
        self.attempt = self.attempt.wrapping_add(1);
        if self.rebuild {
            self.rebuild = false;
            self.up = Some(false);
            steps.rebuild = true;
        }
        let rest = match &self.trouble {
            Some(trouble) => self.backoff.next(trouble.failure.class),
            None => Duration::ZERO,
        };
        self.pace = Pace::Resting(now + rest);
    }

    /// Hands over the first `most` events that wait, and condemns those that are too large for the destination.
    fn hand_over(
        &mut self,
        now: Instant,
        most: usize,
        max_envelope: Option<usize>,
        steps: &mut Steps<T>,
    ) {
        let attempt = self.attempt;
        let mut handed = 0;
        let mut repeated = 0;
        self.next = self.next.max(self.first);
        while let Some(entry) = self
            .line
            .get_mut((self.next - self.first) as usize)
            .filter(|_| handed < most)
        {
            let seq = self.next;
            let index = (seq - self.first) as usize;
            self.next += 1;
            if entry.state != State::Waiting {
                continue;
            }
            let length = entry.event.envelope().len();
            if let Some(max) = max_envelope.filter(|max| length > *max) {
                let detail =
                    format!("the envelope has {length} bytes, and the destination takes {max}");
                self.condemn(index, DeadLetterReason::TooLarge, detail, steps);
                continue;
            }
            repeated += usize::from(entry.tries > 0);
            entry.tries += 1;
            entry.suspect = false;
            entry.state = State::HandedOver { at: now, attempt };
            steps.publish.push(Handover {
                seq,
                attempt,
                event: Arc::clone(&entry.event),
            });
            handed += 1;
        }
        self.outstanding += handed;
        if repeated > 0 {
            steps.notices.push(Notice::Repeated(repeated));
        }
    }

    fn answer_the_overdue(&mut self, now: Instant, steps: &mut Steps<T>) {
        self.unanswered = self.unanswered.max(self.first);
        let mut unconfirmed = false;
        while let Some(entry) = self.line.get_mut((self.unanswered - self.first) as usize) {
            if entry.given + self.bounds.deadline > now {
                break;
            }
            self.unanswered += 1;
            if let Some(ticket) = entry.ticket.take() {
                steps.answers.push((ticket, Answer::Unavailable));
                // What waits for the dead letters says nothing of this destination.
                unconfirmed |= !matches!(entry.state, State::Condemned(_));
            }
        }
        if unconfirmed {
            self.overdue = true;
            steps.notices.push(Notice::Failed(Reason::Timeout));
            self.in_trouble(now, self.no_confirm(), steps);
        }
    }

    fn no_confirm(&self) -> Failure {
        Failure {
            class: Class::Retry,
            reason: Reason::Timeout,
            detail: format!("no confirm came within {:?}", self.bounds.deadline),
        }
    }

    fn done(&mut self, index: usize, answer: Answer, steps: &mut Steps<T>) {
        let entry = &mut self.line[index];
        entry.state = State::Done;
        self.pending -= 1;
        if let Some(ticket) = entry.ticket.take() {
            steps.answers.push((ticket, answer));
        }
        while let Some(front) = self.line.front().filter(|entry| entry.state == State::Done) {
            self.size -= front.size;
            self.line.pop_front();
            self.first += 1;
        }
        self.overdue &= !self.line.is_empty();
    }

    fn index(&self, seq: u64) -> Option<usize> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        (index < self.line.len()).then_some(index)
    }
}

#[cfg(test)]
mod tests;
