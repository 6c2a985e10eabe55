//! One destination's ordered line of events: from what happened, and when, to what to do.
//!
//! Guarantees: events are handed over in the order in which they were given; after a failure that
//! is not an event's own nothing overtakes the first that failed; every ticket is answered once, and
//! as accepted only for what is confirmed, in the dead letters, or in the spool; what the lane holds
//! in memory is bounded by the window, or is one event.
//!
//! # In memory and on disk
//!
//! ```text
//!   broker ◀── line ◀── on disk alone ◀── arrivals ◀── new events
//! ```
//!
//! The **line** is in memory and goes to the broker. The spool may have its events too: its first part,
//! up to some event. Behind the line stands what is **on disk alone**, and behind that the
//! **arrivals**, which are being appended. While the two are empty, a new event goes into the line.
//!
//! No I/O, no clock, no task: the owner (`super::owner`) brings the time and carries out the steps.

mod backlog;
mod entry;
mod publishing;
mod spooling;
mod steps;
mod stopping;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::envelope::{Event, Stage};
use crate::publish::{Awaited, Class, Failure, PerKey, Report};

pub use backlog::Loaded;
use entry::{Entry, Kept, State};
pub use spooling::Backlog;
use spooling::Spooling;
pub use steps::{Answer, Condemned, Notice, Steps};

use super::backoff;

/// The bounds that a lane keeps.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long an event may wait for its confirm or the spool before its sender is told that nothing is promised.
    pub deadline: Duration,
    /// How long an event waits for its confirm until it goes to the spool too; trouble that lasts
    /// so long counts as an outage, so that new events don't wait for its end.
    pub spool_after: Duration,
    /// What the line may hold, in bytes of memory. A line that is empty takes one event of any size.
    pub window: usize,
    /// What may wait to be appended behind the line, in bytes of memory. Where nothing waits, one event of any size may.
    pub arrivals: usize,
    /// What was in the spool at the start; none if the spool is off.
    pub backlog: Option<Backlog>,
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
    gathers_from: usize,
    per_key: PerKey,
    attempt: u16,
    pace: Pace,
    up: Option<bool>,
    /// When an event was confirmed the last time.
    confirmed_at: Option<Instant>,
    /// Nothing was confirmed for the whole deadline.
    overdue: bool,
    rebuild: bool,
    trouble: Option<Trouble>,
    backoff: Backoff,
    again: Vec<(Instant, Condemned)>,
    spooling: Spooling<T>,
    /// Until then what is in flight may be confirmed; then the lane ends.
    stopping: Option<Instant>,
}

impl<T> Lane<T> {
    /// A lane whose broker was not reached yet.
    pub fn new(bounds: Bounds, backoff: Backoff) -> Self {
        let spooling = Spooling::new(bounds.backlog);
        Lane {
            bounds,
            line: VecDeque::new(),
            first: 0,
            unanswered: 0,
            next: 0,
            size: 0,
            pending: spooling.on_disk(),
            outstanding: 0,
            gathers_from: usize::MAX,
            per_key: PerKey::Any,
            attempt: 0,
            pace: Pace::Flowing,
            up: None,
            confirmed_at: None,
            overdue: false,
            rebuild: false,
            trouble: None,
            backoff,
            again: Vec::new(),
            spooling,
            stopping: None,
        }
    }

    /// While so many events wait for their reports, new ones are gathered; a backlog is not.
    pub fn gather_from(&mut self, outstanding: usize) {
        self.gathers_from = outstanding;
    }

    /// How many events of an ordering key may be on their way at a time.
    pub fn limit_per_key(&mut self, per_key: PerKey) {
        self.per_key = per_key;
    }

    /// What the line holds, in bytes of memory.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Events that are neither confirmed nor dead-lettered.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Why events don't get through to the broker now, if they don't.
    pub fn outage(&self, now: Instant) -> Option<&str> {
        let lasting =
            |t: &&Trouble| now.saturating_duration_since(t.since) >= self.bounds.spool_after;
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

    /// Whether no report came yet of whether the broker can be reached.
    pub fn has_heard_nothing(&self) -> bool {
        self.up.is_none()
    }

    /// The reports of events that were handed over; none if no event waits for its report.
    pub fn awaited(&self, now: Instant) -> Option<Awaited> {
        let handed_over = |entry: &Entry<T>| match entry.state {
            State::HandedOver { at, .. } => Some(at),
            _ => None,
        };
        let mut line = self.line.iter().filter(|_| self.outstanding > 0);
        let since = line.find_map(handed_over)?;
        let since = self.confirmed_at.map_or(since, |at| at.max(since));
        Some(Awaited {
            events: self.outstanding,
            silence: now.saturating_duration_since(since),
        })
    }

    /// A new event. `room` is what the broker's window still takes, in bytes. While an outage is known
    /// it goes to the spool alone, and costs no memory. If neither the line nor the spool may take
    /// it, its ticket is answered.
    pub fn give(
        &mut self,
        now: Instant,
        event: Arc<Event>,
        ticket: T,
        room: usize,
        steps: &mut Steps<T>,
    ) {
        let entry = Entry::new(now, event, Some(ticket));
        let of_lane = self.line.is_empty() || self.size + entry.size <= self.bounds.window;
        let fits = of_lane && entry.size <= room;
        let spool_takes = self.spool_takes(now);
        let published_soon = self.outage(now).is_none();
        if fits && !self.spooling.has_backlog() && published_soon {
            steps.notices.push(taken(entry.event()));
            self.join(entry);
        } else if spool_takes && self.spooling.has_room_for(entry.size, self.bounds.arrivals) {
            self.spooling.arrive(entry);
        } else if let Some(ticket) = entry.ticket {
            steps.answers.push((ticket, Answer::Unavailable));
        }
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
                self.rebuild |= failure.class == Class::Rebuild;
                let told = self.trouble.as_ref().map(|trouble| trouble.failure.reason);
                if told != Some(failure.reason) {
                    steps.notices.push(Notice::Failed(failure.reason));
                }
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
            self.again.push((now + backoff::DEAD_LETTER, condemned));
            return;
        }
        if let Some(index) = self.index(condemned.seq) {
            steps.notices.push(Notice::DeadLettered(condemned.reason));
            self.done(index, Answer::DeadLettered, steps);
        }
    }

    /// Answers those who waited too long, sends to the spool what has to go there, begins again
    /// after a rest, and hands over what may be. `max_envelope` is what the destination takes, in
    /// bytes, where that is known; `room` is what the broker's window still takes.
    pub fn advance(
        &mut self,
        now: Instant,
        max_envelope: Option<usize>,
        room: usize,
        steps: &mut Steps<T>,
    ) {
        self.answer_the_overdue(now, steps);
        self.notice_silence(now, steps);
        self.settle(now, steps);
        let (due, later) = self.again.drain(..).partition(|(at, _)| *at <= now);
        self.again = later;
        let due: Vec<(Instant, Condemned)> = due;
        steps
            .dead_letters
            .extend(due.into_iter().map(|(_, condemned)| condemned));
        self.close_the_gap(now, room, steps);
        self.hand_over_what_may_be(now, max_envelope, steps);
        self.append_what_has_to(now, steps);
        steps.load = self.load(room);
    }

    fn join(&mut self, entry: Entry<T>) {
        self.size += entry.size;
        self.pending += 1;
        self.line.push_back(entry);
    }

    /// An event has left the lane, but for the order in which it stands there.
    fn done(&mut self, index: usize, answer: Answer, steps: &mut Steps<T>) {
        let entry = &mut self.line[index];
        self.size -= entry.let_go();
        self.pending -= 1;
        if let Kept::Yes(_) = entry.kept {
            self.spooling.left(1, steps);
        }
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

    /// The number behind the line's last entry.
    fn end(&self) -> u64 {
        self.first + self.line.len() as u64
    }

    fn index(&self, seq: u64) -> Option<usize> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        (index < self.line.len()).then_some(index)
    }
}

/// The lane has the event, and answers for it. What a lane condemns is counted there; what was
/// condemned before any lane had it is counted now.
fn taken(event: &Event) -> Notice {
    let verdict = event.verdict().map(|verdict| verdict.reason);
    Notice::Taken(verdict.filter(|reason| reason.stage() == Stage::Parse))
}

#[cfg(test)]
mod tests;
