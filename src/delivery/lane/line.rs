//! The events of a lane that are in memory and stand in front of everything that is only on disk.
//!
//! Each event has a sequence number, given in the order of arrival. An event that is done leaves an empty slot until all
//! events before it are done too.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::entry::{Entry, InSpool, State};
use crate::publish::Handover;

/// See the module.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// The first slot is never empty.
    slots: VecDeque<Option<Entry<T>>>,
    /// The sequence number of the first slot.
    first: u64,
    totals: Totals,
    /// For each [`Search`]: it finds no entry before this sequence number.
    cursors: [u64; Search::ALL.len()],
    /// Tells reports on an earlier hand-over of an event from those on the last one.
    attempt: u16,
    /// The event that was handed over while no other was in flight. `None` once another was handed over.
    alone: Option<u64>,
}

/// Sums over all slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Bytes of memory.
    pub(super) size: usize,
    /// Events that are not done.
    pub(super) pending: usize,
    /// Events that were handed over and not reported on.
    pub(super) in_flight: usize,
    /// Events that are not done and that the spool has.
    pub(super) spooled: usize,
}

/// What is looked for in a line again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Events that are to be handed over.
    Waiting,
    /// Events that the spool does not have. It may be about to get them.
    Unspooled,
    /// Events whose sender waits for the answer.
    Unanswered,
}

impl Search {
    const ALL: [Search; 3] = [Search::Waiting, Search::Unspooled, Search::Unanswered];

    fn finds<T>(self, entry: &Entry<T>) -> bool {
        match self {
            Search::Waiting => entry.state.is_waiting(),
            Search::Unspooled => !matches!(entry.in_spool, InSpool::Yes(_)),
            Search::Unanswered => entry.ticket.is_some(),
        }
    }
}

impl Totals {
    fn add<T>(&mut self, entry: &Entry<T>) {
        self.size += entry.size;
        self.pending += 1;
        self.in_flight += usize::from(matches!(entry.state, State::InFlight { .. }));
        self.spooled += usize::from(matches!(entry.in_spool, InSpool::Yes(_)));
    }

    fn subtract<T>(&mut self, entry: &Entry<T>) {
        self.size -= entry.size;
        self.pending -= 1;
        self.in_flight -= usize::from(matches!(entry.state, State::InFlight { .. }));
        self.spooled -= usize::from(matches!(entry.in_spool, InSpool::Yes(_)));
    }
}

impl<T> Line<T> {
    /// What an empty slot costs, in bytes of memory.
    const SLOT: usize = size_of::<Option<Entry<T>>>();

    pub(super) fn new() -> Self {
        Line {
            slots: VecDeque::new(),
            first: 0,
            totals: Totals::default(),
            cursors: [0; Search::ALL.len()],
            attempt: 0,
            alone: None,
        }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Entry<T>> {
        self.slots.front()?.as_ref()
    }

    /// The sequence numbers of all slots.
    pub(super) fn seqs(&self) -> Range<u64> {
        self.first..self.first + self.slots.len() as u64
    }

    /// The entry with this sequence number. `None` if the event is done.
    pub(super) fn get(&self, seq: u64) -> Option<&Entry<T>> {
        self.slots[self.index(seq)?].as_ref()
    }

    /// All events that are not done, with their sequence numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Entry<T>)> {
        let slots = (self.first..).zip(&self.slots);
        slots.filter_map(|(seq, slot)| Some((seq, slot.as_ref()?)))
    }

    /// The sequence number of the first event that this search finds.
    pub(super) fn find(&mut self, search: Search) -> Option<u64> {
        let found = self.find_all(search).next().map(|(seq, _)| seq);
        self.cursors[search as usize] = found.unwrap_or(self.seqs().end);
        found
    }

    /// The events that this search finds, in their order.
    pub(super) fn find_all(&self, search: Search) -> impl Iterator<Item = (u64, &Entry<T>)> {
        let from = self.cursors[search as usize].max(self.first);
        let slots = self.slots.iter().skip((from - self.first) as usize);
        let entries = (from..).zip(slots);
        entries.filter_map(move |(seq, slot)| {
            let entry = slot.as_ref().filter(|entry| search.finds(entry))?;
            Some((seq, entry))
        })
    }

    pub(super) fn push(&mut self, entry: Entry<T>) {
        self.totals.add(&entry);
        self.slots.push_back(Some(entry));
    }

    /// Hands over an event that waits.
    pub(super) fn hand_over(&mut self, seq: u64, now: Instant) -> Option<Handover> {
        let attempt = self.attempt;
        self.alone = (self.totals.in_flight == 0).then_some(seq);
        self.change(seq, |entry| {
            entry.state = State::InFlight { at: now, attempt };
            entry.repeated = true;
            Handover {
                seq,
                attempt,
                event: Arc::clone(&entry.event),
            }
        })
    }

    /// When the event was handed over that a report is about. `None` if the report is about an earlier hand-over.
    pub(super) fn in_flight_since(&self, seq: u64, attempt: u16) -> Option<Instant> {
        match self.get(seq)?.state {
            State::InFlight { at, attempt: last } if last == attempt => Some(at),
            _ => None,
        }
    }

    /// Whether no other event was in flight since this one was handed over.
    pub(super) fn was_alone(&self, seq: u64) -> bool {
        self.alone == Some(seq)
    }

    /// From now on events are handed over under another attempt.
    pub(super) fn begin_attempt(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
    }

    pub(super) fn set_state(&mut self, seq: u64, state: State) {
        self.change(seq, |entry| entry.state = state);
    }

    pub(super) fn take_ticket(&mut self, seq: u64) -> Option<T> {
        self.change(seq, |entry| entry.ticket.take())?
    }

    /// An event is about to be appended to the spool under this number.
    pub(super) fn append(&mut self, seq: u64, number: u64) {
        self.change(seq, |entry| entry.in_spool = InSpool::Appending(number));
    }

    /// An append ended: the spool has the events with numbers below `upto` and none of the others. `answer` gets the
    /// tickets of those that it has.
    pub(super) fn appended(&mut self, upto: u64, mut answer: impl FnMut(T)) {
        let from = self.cursors[Search::Unspooled as usize];
        for seq in from.max(self.first)..self.seqs().end {
            let ticket = self.change(seq, |entry| match entry.in_spool {
                InSpool::Appending(number) if number < upto => {
                    entry.in_spool = InSpool::Yes(number);
                    entry.ticket.take()
                }
                InSpool::Appending(_) | InSpool::No => {
                    entry.in_spool = InSpool::No;
                    None
                }
                InSpool::Yes(_) => None,
            });
            ticket.flatten().map(&mut answer);
        }
    }

    /// Takes out an event that is done.
    pub(super) fn finish(&mut self, seq: u64) -> Option<Entry<T>> {
        let index = self.index(seq)?;
        let entry = self.slots[index].take()?;
        self.totals.subtract(&entry);
        self.totals.size += Self::SLOT;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
            self.totals.size -= Self::SLOT;
        }
        Some(entry)
    }

    /// Every change of an entry goes through here, so that the totals and the cursors hold.
    fn change<R>(&mut self, seq: u64, change: impl FnOnce(&mut Entry<T>) -> R) -> Option<R> {
        let index = self.index(seq)?;
        let entry = self.slots[index].as_mut()?;
        self.totals.subtract(entry);
        let result = change(entry);
        self.totals.add(entry);
        for search in Search::ALL {
            if search.finds(entry) {
                let cursor = &mut self.cursors[search as usize];
                *cursor = seq.min(*cursor);
            }
        }
        Some(result)
    }

    fn index(&self, seq: u64) -> Option<usize> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        (index < self.slots.len()).then_some(index)
    }
}
