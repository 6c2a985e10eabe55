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
//! A lane has a line ([`Line`]), the numbers of what the spool has ([`Numbers`]), the state of the way to the broker
//! ([`Connection`]), and the policy in this module. It does no I/O and reads no clock: the owner (`super::owner`) brings
//! the time and carries out the steps.

mod backlog;
mod connection;
mod entry;
mod line;
mod numbers;
mod publishing;
mod spooling;
mod steps;
mod stopping;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::envelope::{Event, Stage};
use crate::publish::{PerKey, Report};

use connection::Connection;
use entry::Entry;
use line::Line;
pub use numbers::Backlog;
use numbers::Numbers;
pub use steps::{Answer, Condemned, Loaded, Notice, Steps};

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

/// Whether the spool takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// There is no spool.
    Off,
    Open,
    /// The last append was refused. The next one is not tried before this time.
    Refused(Instant),
}

/// See the module.
#[derive(Debug)]
pub struct Lane<T> {
    bounds: Bounds,
    line: Line<T>,
    numbers: Numbers,
    connection: Connection,
    /// What stands behind the events that are on disk alone: it waits to be appended, or is being appended.
    arrivals: Line<T>,
    intake: Intake,
    backoff: Backoff,
    per_key: PerKey,
    /// When an event was confirmed the last time.
    confirmed_at: Option<Instant>,
    /// Undeliverable events that the dead letters did not take, and when they are tried again.
    again: Vec<(Instant, Condemned)>,
    /// Until then what is in flight may be confirmed; then the lane ends.
    stopping: Option<Instant>,
}

impl<T> Lane<T> {
    /// A lane whose broker was not reached yet.
    pub fn new(bounds: Bounds, backoff: Backoff) -> Self {
        Lane {
            bounds,
            line: Line::new(),
            numbers: Numbers::new(bounds.backlog.unwrap_or_default()),
            connection: Connection::Unknown,
            arrivals: Line::new(),
            intake: match bounds.backlog {
                Some(_) => Intake::Open,
                None => Intake::Off,
            },
            backoff,
            per_key: PerKey::Any,
            confirmed_at: None,
            again: Vec::new(),
            stopping: None,
        }
    }

    /// How many events of an ordering key may be on their way at a time.
    pub fn limit_per_key(&mut self, per_key: PerKey) {
        self.per_key = per_key;
    }

    /// The shortest time after which a new event is due: it goes to the spool, or its sender is told that nothing is promised.
    pub fn shortest_wait(&self) -> Duration {
        self.bounds.spool_after.min(self.bounds.deadline)
    }

    /// What the line holds, in bytes of memory.
    pub fn size(&self) -> usize {
        self.line.totals().size
    }

    /// Events that are neither confirmed nor dead-lettered.
    pub fn pending(&self) -> usize {
        self.line.totals().pending + self.on_disk()
    }

    /// Why events don't get through to the broker now, if they don't.
    pub fn outage(&self, now: Instant) -> Option<&str> {
        let begins = self.connection.outage_at(self.bounds.spool_after)?;
        let failure = self.connection.failure()?;
        (begins <= now).then_some(failure.detail.as_str())
    }

    /// Whether the broker can be reached, as far as the publisher knows.
    pub fn reached(&self) -> bool {
        self.connection.is_up()
    }

    /// Whether the publisher has not reported yet whether the broker is reachable.
    pub fn has_heard_nothing(&self) -> bool {
        matches!(self.connection, Connection::Unknown)
    }

    /// How long the broker has confirmed nothing while an event was in flight. `None` if no event is in flight.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        if self.line.totals().in_flight == 0 {
            return None;
        }
        let mut line = self.line.iter();
        let since = line.find_map(|(_, entry)| entry.in_flight_since())?;
        let since = self.confirmed_at.map_or(since, |at| at.max(since));
        Some(now.saturating_duration_since(since))
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
        let fits = entry.size <= room && self.line.has_room_for(entry.size, self.bounds.window);
        if fits && !self.has_backlog() && self.outage(now).is_none() {
            steps.notices.push(taken(&entry.event));
            self.line.push(entry);
        } else if self.spool_takes(now)
            && self.arrivals.has_room_for(entry.size, self.bounds.arrivals)
        {
            self.arrivals.push(entry);
        } else {
            steps.answer(entry.ticket, Answer::Unavailable);
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
                let known = self.connection.failure().map(|known| known.reason);
                if known != Some(failure.reason) {
                    steps.notices.push(Notice::Failed(failure.reason));
                }
                steps
                    .notices
                    .extend(self.connection.went_down(now, failure));
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
        } else if let Some(entry) = self.line.finish(condemned.seq) {
            steps.notices.push(Notice::DeadLettered(condemned.reason));
            steps.finished(entry, Answer::DeadLettered);
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
        let due = self.again.extract_if(.., |(at, _)| *at <= now);
        steps
            .dead_letters
            .extend(due.map(|(_, condemned)| condemned));
        self.close_the_gap(now, room, steps);
        self.hand_over_what_may_be(now, max_envelope, steps);
        self.append_what_has_to(now, steps);
        steps.load = self.load(room);
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
