//! A lane's way to the spool: what goes there and when, and how far it is done.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Entry, InSpool};
use super::line::Search;
use super::{Answer, Intake, Lane, Notice, Steps, taken};
use crate::envelope::Event;
use crate::spool::Refusal;

/// How much is appended at once, in bytes of memory, so that no copy of a whole window is made.
const APPEND: usize = 4 * 1024 * 1024;
/// How long a full spool is left alone.
const FULL: Duration = Duration::from_millis(100);
/// How long a spool is left alone whose disk fails.
const BROKEN: Duration = Duration::from_secs(1);

impl<T> Lane<T> {
    /// Whether the spool takes events now, as far as is known.
    pub fn spool_takes(&self, now: Instant) -> bool {
        match self.intake {
            Intake::Off => false,
            Intake::Open => true,
            Intake::Refused(until) => until <= now,
        }
    }

    /// Events that the spool has, and that are not done.
    pub fn kept(&self) -> u64 {
        (self.line.totals().spooled + self.on_disk()) as u64
    }

    /// Events that only the spool has.
    pub fn on_disk(&self) -> usize {
        let Range { start, end } = self.on_disk_alone();
        usize::try_from(end - start).unwrap_or(usize::MAX)
    }

    /// The first number that the spool still has to keep: all below are done.
    pub fn mark(&self) -> u64 {
        match self.line.front().map(|entry| entry.in_spool) {
            Some(InSpool::Yes(number)) => number,
            _ => self.on_disk_alone().start,
        }
    }

    /// The numbers of what only the spool has. What it has beyond them the lane was not told of yet.
    pub fn on_disk_alone(&self) -> Range<u64> {
        self.numbers.on_disk_alone()
    }

    /// The oldest event that the spool has, if it is in memory too.
    pub fn oldest_kept(&self) -> Option<&Event> {
        let front = self.line.front()?;
        front.is_spooled().then(|| &*front.event)
    }

    /// Whether a new event has to stand behind what is not in the line.
    pub(super) fn has_backlog(&self) -> bool {
        self.on_disk() > 0 || !self.arrivals.is_empty()
    }

    /// How the append ended that the last [`Steps::append`] was: all below `upto` is on disk.
    pub fn appended(
        &mut self,
        now: Instant,
        upto: u64,
        refusal: Option<Refusal>,
        steps: &mut Steps<T>,
    ) {
        if !self.numbers.is_appending() {
            return;
        }
        let spooled = self.line.totals().spooled;
        for line in [&mut self.line, &mut self.arrivals] {
            line.appended(upto, |ticket| steps.answer(Some(ticket), Answer::Spooled));
        }
        let pending = (self.line.totals().spooled - spooled) as u64;
        let mut arrived = 0;
        while let Some(entry) = self.arrivals.pop_if(Entry::is_spooled) {
            arrived += 1;
            steps.notices.push(taken(&entry.event));
        }
        let synced = self.numbers.appended(upto);
        let of_line = synced - arrived;
        // Nothing was on disk alone when events of the line were appended.
        self.numbers.loaded(self.on_disk_alone().start + of_line);
        if synced > 0 {
            steps.notices.push(Notice::Appended(synced));
        }
        if of_line > pending {
            steps.notices.push(Notice::Drained(of_line - pending));
        }
        match (refusal, self.intake) {
            (Some(refusal), _) => self.refused(now, refusal, steps),
            (None, Intake::Refused(_)) => {
                self.intake = Intake::Open;
                steps.notices.push(Notice::SpoolTakes);
            }
            (None, Intake::Off | Intake::Open) => {}
        }
    }

    /// The spool takes nothing now: what stands behind the line can't be promised to anybody.
    fn refused(&mut self, now: Instant, refusal: Refusal, steps: &mut Steps<T>) {
        let rest = match refusal {
            Refusal::Full(_) => FULL,
            Refusal::Disk(_) => BROKEN,
        };
        let until = Intake::Refused(now + rest);
        if let Intake::Open = std::mem::replace(&mut self.intake, until) {
            steps.notices.push(Notice::SpoolRefuses(refusal));
        }
        while let Some(entry) = self.arrivals.pop_if(|_| true) {
            steps.answer(entry.ticket, Answer::Unavailable);
        }
        if self.outage(now).is_none() {
            return;
        }
        for seq in self.line.seqs() {
            let ticket = self.line.change(seq, |entry| match entry.in_spool {
                InSpool::No => entry.ticket.take(),
                InSpool::Appending(_) | InSpool::Yes(_) => None,
            });
            steps.answer(ticket.flatten(), Answer::Unavailable);
        }
    }

    pub(super) fn append_what_has_to(&mut self, now: Instant, steps: &mut Steps<T>) {
        if !self.spool_takes(now) || self.numbers.is_appending() {
            return;
        }
        let spool_after = self.bounds.spool_after;
        let oldest = self
            .line
            .find(Search::Unspooled)
            .map(|(_, entry)| entry.since);
        let is_due = oldest.is_some_and(|since| {
            since + spool_after <= now
                || self.outage(now).is_some()
                || self.leaves_the_rest_to_the_spool(now)
        });
        if is_due || !self.arrivals.is_empty() {
            self.append(steps);
        }
    }

    /// Everything that is neither confirmed nor kept, in order, as far as one append goes.
    fn append(&mut self, steps: &mut Steps<T>) {
        let mut bytes = 0;
        for line in [&mut self.line, &mut self.arrivals] {
            while bytes < APPEND
                && let Some((seq, entry)) = line.find(Search::Unspooled)
            {
                bytes += entry.size;
                let number = self.numbers.append();
                steps.append.push((number, Arc::clone(&entry.event)));
                line.change(seq, |entry| entry.in_spool = InSpool::Appending(number));
            }
        }
    }

    /// When something has to go to the spool, if nothing happens before.
    pub(super) fn appends_at(&self) -> Option<Instant> {
        if self.intake == Intake::Off || self.numbers.is_appending() {
            return None;
        }
        let (_, oldest) = self.line.find_all(Search::Unspooled).next()?;
        let spool_after = self.bounds.spool_after;
        let outage_at = self.connection.outage_at(spool_after);
        let aged_at = oldest.since + spool_after;
        let due = outage_at.map_or(aged_at, |at| at.min(aged_at));
        Some(match self.intake {
            Intake::Refused(until) => due.max(until),
            Intake::Off | Intake::Open => due,
        })
    }
}
