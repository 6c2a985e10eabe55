//! A lane's way to the spool: what goes there and when, and how far it is done.
//!
//! Records are numbered one after the other. Those below `loaded` are done or stand in the line; those
//! from there to below `synced` are on disk alone; those from there to below `next` are being appended.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Entry, Kept, State};
use super::{Answer, Lane, Notice, Steps, taken};
use crate::envelope::Event;
use crate::spool::Refusal;

/// How much is appended at once, in bytes of memory, so that no copy of a whole window is made.
const APPEND: usize = 4 * 1024 * 1024;
/// How long a full spool is left alone.
const FULL: Duration = Duration::from_millis(100);
/// How long a spool is left alone whose disk fails.
const BROKEN: Duration = Duration::from_secs(1);

/// What the spool held for a lane at the start: the records from the one to below the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// The first that is not done.
    pub first: u64,
    /// The number behind the last.
    pub next: u64,
}

#[derive(Debug)]
pub(super) struct Spooling<T> {
    on: bool,
    pub(super) arrivals: VecDeque<Entry<T>>,
    pub(super) arrivals_size: usize,
    pub(super) loaded: u64,
    synced: u64,
    next: u64,
    appending: Option<Appending>,
    /// No entry of the line before it still has to go to the spool.
    unkept: u64,
    /// In the spool, and not done.
    pub(super) kept: u64,
    refused_until: Option<Instant>,
    refuses: bool,
}

#[derive(Clone, Copy, Debug)]
struct Appending {
    /// The first number.
    number: u64,
    /// No entry of the line before it is among them.
    from: u64,
}

impl<T> Spooling<T> {
    pub(super) fn new(backlog: Option<Backlog>) -> Self {
        let Backlog { first, next } = backlog.unwrap_or_default();
        Spooling {
            on: backlog.is_some(),
            arrivals: VecDeque::new(),
            arrivals_size: 0,
            loaded: first,
            synced: next,
            next,
            appending: None,
            unkept: 0,
            kept: next - first,
            refused_until: None,
            refuses: false,
        }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    pub(super) fn is_appending(&self) -> bool {
        self.appending.is_some()
    }

    /// How many events are on disk alone.
    pub(super) fn on_disk(&self) -> usize {
        usize::try_from(self.synced.saturating_sub(self.loaded)).unwrap_or(usize::MAX)
    }

    /// Whether a new event has to stand behind what is not in the line.
    pub(super) fn has_backlog(&self) -> bool {
        self.on_disk() > 0 || !self.arrivals.is_empty()
    }

    /// Whether an event of this size may wait to be appended. One may wait whatever its size, so that no event is
    /// refused for ever.
    pub(super) fn has_room_for(&self, size: usize, most: usize) -> bool {
        self.arrivals.is_empty() || self.arrivals_size + size <= most
    }

    pub(super) fn arrive(&mut self, entry: Entry<T>) {
        self.arrivals_size += entry.size;
        self.arrivals.push_back(entry);
    }

    pub(super) fn next_arrival(&mut self) -> Option<Entry<T>> {
        let entry = self.arrivals.pop_front()?;
        self.arrivals_size -= entry.size;
        Some(entry)
    }

    /// So many events that the spool has are done.
    pub(super) fn left(&mut self, events: u64, steps: &mut Steps<T>) {
        self.kept -= events;
        steps.notices.push(Notice::Drained(events));
    }
}

impl<T> Lane<T> {
    /// Whether the spool takes events now, as far as is known.
    pub fn spool_takes(&self, now: Instant) -> bool {
        self.spooling.on && self.spooling.refused_until.is_none_or(|until| until <= now)
    }

    /// Events that the spool has, and that are not done.
    pub fn kept(&self) -> u64 {
        self.spooling.kept
    }

    /// Events that only the spool has.
    pub fn on_disk(&self) -> usize {
        self.spooling.on_disk()
    }

    /// The first number that the spool still has to keep: all below are done.
    pub fn mark(&self) -> u64 {
        let front = self.line.front().and_then(|entry| entry.kept.number());
        front
            .unwrap_or(self.spooling.loaded)
            .min(self.spooling.synced)
    }

    /// The numbers of what only the spool has. What it has beyond them the lane was not told of yet.
    pub fn on_disk_alone(&self) -> Range<u64> {
        self.spooling.loaded..self.spooling.synced.max(self.spooling.loaded)
    }

    /// The oldest event that the spool has, if it is in memory too.
    pub fn oldest_kept(&self) -> Option<&Event> {
        let front = self.line.front()?;
        matches!(front.kept, Kept::Yes(_)).then(|| &**front.event())
    }

    /// How the append ended that the last [`Steps::append`] was: all below `upto` is on disk.
    pub fn appended(
        &mut self,
        now: Instant,
        upto: u64,
        refusal: Option<Refusal>,
        steps: &mut Steps<T>,
    ) {
        let Some(Appending { number, from }) = self.spooling.appending.take() else {
            return;
        };
        self.spooling.synced = self.spooling.synced.max(upto);
        let mut alive = 0;
        let mut refused_from = None;
        for seq in from.max(self.first)..self.end() {
            let index = (seq - self.first) as usize;
            let entry = &mut self.line[index];
            match entry.kept {
                Kept::Appending(number) if number < upto => {
                    entry.kept = Kept::Yes(number);
                    if entry.state == State::Done {
                        continue;
                    }
                    alive += 1;
                    if let Some(ticket) = entry.ticket.take() {
                        steps.answers.push((ticket, Answer::Spooled));
                    }
                }
                Kept::Appending(_) => {
                    entry.kept = Kept::No;
                    refused_from = refused_from.or(Some(seq));
                }
                Kept::Yes(_) | Kept::No => {}
            }
        }
        while let Some(Kept::Appending(number)) =
            self.spooling.arrivals.front().map(|entry| entry.kept)
            && number < upto
        {
            let entry = self.spooling.next_arrival().expect("it was just seen");
            alive += 1;
            self.pending += 1;
            steps.notices.push(taken(entry.event()));
            if let Some(ticket) = entry.ticket {
                steps.answers.push((ticket, Answer::Spooled));
            }
        }
        let synced = upto.saturating_sub(number);
        if synced > 0 {
            self.spooling.kept += synced;
            steps.notices.push(Notice::Appended(synced));
        }
        if synced > alive {
            self.spooling.left(synced - alive, steps);
        }
        match refusal {
            Some(refusal) => {
                self.spooling.next = upto;
                self.spooling.loaded = self.spooling.loaded.min(upto);
                self.spooling.unkept = self.spooling.unkept.min(refused_from.unwrap_or(u64::MAX));
                self.refused(now, refusal, steps);
            }
            None => {
                self.spooling.refused_until = None;
                if std::mem::take(&mut self.spooling.refuses) {
                    steps.notices.push(Notice::SpoolTakes);
                }
            }
        }
    }

    /// The spool takes nothing now: what stands behind the line can't be promised to anybody.
    fn refused(&mut self, now: Instant, refusal: Refusal, steps: &mut Steps<T>) {
        let rest = match refusal {
            Refusal::Full(_) => FULL,
            Refusal::Disk(_) => BROKEN,
        };
        self.spooling.refused_until = Some(now + rest);
        if !std::mem::replace(&mut self.spooling.refuses, true) {
            steps.notices.push(Notice::SpoolRefuses(refusal));
        }
        while let Some(entry) = self.spooling.next_arrival() {
            if let Some(ticket) = entry.ticket {
                steps.answers.push((ticket, Answer::Unavailable));
            }
        }
        if self.outage(now).is_none() {
            return;
        }
        for entry in &mut self.line {
            if entry.kept == Kept::No
                && let Some(ticket) = entry.ticket.take()
            {
                steps.answers.push((ticket, Answer::Unavailable));
            }
        }
    }

    /// The first entry that still has to go to the spool, if the broker does not confirm it.
    fn first_unkept(&mut self) -> Option<&Entry<T>> {
        let spooling = &mut self.spooling;
        spooling.unkept = spooling.unkept.max(self.first);
        while let Some(entry) = self.line.get((spooling.unkept - self.first) as usize) {
            if entry.state != State::Done && entry.kept == Kept::No {
                return Some(entry);
            }
            spooling.unkept += 1;
        }
        None
    }

    pub(super) fn append_what_has_to(&mut self, now: Instant, steps: &mut Steps<T>) {
        if !self.spool_takes(now) || self.spooling.is_appending() {
            return;
        }
        let spool_after = self.bounds.spool_after;
        let aged = self
            .first_unkept()
            .map(|oldest| oldest.since + spool_after <= now);
        let due = match aged {
            None => !self.spooling.arrivals.is_empty(),
            Some(true) => true,
            Some(false) => {
                !self.spooling.arrivals.is_empty()
                    || self.outage(now).is_some()
                    || self.leaves_the_rest_to_the_spool(now)
            }
        };
        if due {
            self.append(steps);
        }
    }

    /// Everything that is neither confirmed nor kept, in order, as far as one append goes.
    fn append(&mut self, steps: &mut Steps<T>) {
        let spooling = &mut self.spooling;
        spooling.appending = Some(Appending {
            number: spooling.next,
            from: spooling.unkept,
        });
        let skip =
            usize::try_from(spooling.unkept.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut number = spooling.next;
        let mut upto = spooling.unkept.max(self.first);
        for entry in self.line.iter_mut().skip(skip) {
            if bytes >= APPEND {
                break;
            }
            upto += 1;
            if entry.state == State::Done || entry.kept != Kept::No {
                continue;
            }
            bytes += entry.size;
            entry.kept = Kept::Appending(number);
            steps.append.push((number, Arc::clone(entry.event())));
            number += 1;
            spooling.loaded = number;
        }
        spooling.unkept = upto;
        for entry in &mut spooling.arrivals {
            if bytes >= APPEND {
                break;
            }
            bytes += entry.size;
            entry.kept = Kept::Appending(number);
            steps.append.push((number, Arc::clone(entry.event())));
            number += 1;
        }
        spooling.next = number;
    }

    /// When something has to go to the spool, if nothing happens before.
    pub(super) fn appends_at(&self) -> Option<Instant> {
        if !self.spooling.on || self.spooling.is_appending() {
            return None;
        }
        let skip =
            usize::try_from(self.spooling.unkept.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let unkept = |entry: &&Entry<T>| entry.state != State::Done && entry.kept == Kept::No;
        let oldest = self.line.iter().skip(skip).find(unkept)?;
        let due = match self.trouble.as_ref() {
            Some(trouble) if self.up != Some(false) => oldest.since.min(trouble.since),
            Some(_) => return self.spooling.refused_until,
            None => oldest.since,
        };
        let due = due + self.bounds.spool_after;
        Some(
            self.spooling
                .refused_until
                .map_or(due, |until| due.max(until)),
        )
    }
}
