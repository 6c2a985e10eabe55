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
    /// Events that the spool does not have and is not about to get.
    Unspooled,
    /// Events that are being appended to the spool.
    Appending,
    /// Events whose sender waits for the answer.
    Unanswered,
}

impl Search {
    const ALL: [Search; 4] = [
        Search::Waiting,
        Search::Unspooled,
        Search::Appending,
        Search::Unanswered,
    ];

    fn finds<T>(self, entry: &Entry<T>) -> bool {
        match self {
            Search::Waiting => entry.is_waiting(),
            Search::Unspooled => entry.in_spool == InSpool::No,
            Search::Appending => matches!(entry.in_spool, InSpool::Appending(_)),
            Search::Unanswered => entry.ticket.is_some(),
        }
    }
}

impl Totals {
    fn add<T>(&mut self, entry: &Entry<T>) {
        self.size += entry.size;
        self.pending += 1;
        self.in_flight += usize::from(entry.in_flight_since().is_some());
        self.spooled += usize::from(entry.is_spooled());
    }

    fn subtract<T>(&mut self, entry: &Entry<T>) {
        self.size -= entry.size;
        self.pending -= 1;
        self.in_flight -= usize::from(entry.in_flight_since().is_some());
        self.spooled -= usize::from(entry.is_spooled());
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

    /// Whether an event of this size may join. One may whatever its size, so that no event is refused for ever.
    pub(super) fn has_room_for(&self, size: usize, most: usize) -> bool {
        self.is_empty() || self.totals.size + size <= most
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

    /// The first event that this search finds, with its sequence number.
    pub(super) fn find(&mut self, search: Search) -> Option<(u64, &Entry<T>)> {
        let seq = self.find_all(search).next().map(|(seq, _)| seq);
        self.cursors[search as usize] = seq.unwrap_or(self.seqs().end);
        Some((seq?, self.get(seq?)?))
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

    /// An append ended: the spool has the events with numbers below `upto` and none of the others. `answer` gets the
    /// tickets of those that it has.
    pub(super) fn appended(&mut self, upto: u64, mut answer: impl FnMut(T)) {
        while let Some((seq, _)) = self.find(Search::Appending) {
            let ticket = self.change(seq, |entry| match entry.in_spool {
                InSpool::Appending(number) if number < upto => {
                    entry.in_spool = InSpool::Yes(number);
                    entry.ticket.take()
                }
                _ => {
                    entry.in_spool = InSpool::No;
                    None
                }
            });
            ticket.flatten().map(&mut answer);
        }
    }

    /// Takes out the first event if this holds of it.
    pub(super) fn pop_if(&mut self, holds: impl FnOnce(&Entry<T>) -> bool) -> Option<Entry<T>> {
        let is_so = holds(self.front()?);
        is_so.then(|| self.finish(self.first))?
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
    pub(super) fn change<R>(
        &mut self,
        seq: u64,
        change: impl FnOnce(&mut Entry<T>) -> R,
    ) -> Option<R> {
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

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;
    use crate::envelope::Event;
    use crate::envelope::sealed;

    fn event() -> Arc<Event> {
        static EVENT: OnceLock<Arc<Event>> = OnceLock::new();
        let event = || {
            Arc::new(sealed::event(
                &sealed::sealer(),
                r#"{"id":"u1","username":"sam"}"#,
            ))
        };
        Arc::clone(EVENT.get_or_init(event))
    }

    /// A line without cursors and sums: whoever asks looks at every event.
    #[derive(Default)]
    struct Naive {
        events: Vec<Known>,
        alone: Option<u64>,
        attempt: u16,
    }

    #[derive(Clone, Copy)]
    struct Known {
        /// `None` once the event is done.
        state: Option<State>,
        in_spool: InSpool,
        is_answered: bool,
    }

    impl Naive {
        fn pending(&self) -> impl Iterator<Item = (u64, &Known)> {
            let events = (0..).zip(&self.events);
            events.filter(|(_, known)| known.state.is_some())
        }

        fn all(&self, search: Search) -> Vec<u64> {
            let finds = |known: &Known| match search {
                Search::Waiting => matches!(known.state, Some(State::Waiting { .. })),
                Search::Unspooled => known.in_spool == InSpool::No,
                Search::Appending => matches!(known.in_spool, InSpool::Appending(_)),
                Search::Unanswered => !known.is_answered,
            };
            let found = self.pending().filter(|(_, known)| finds(known));
            found.map(|(seq, _)| seq).collect()
        }

        fn in_flight(&self) -> Vec<u64> {
            let in_flight = |known: &Known| matches!(known.state, Some(State::InFlight { .. }));
            let found = self.pending().filter(|(_, known)| in_flight(known));
            found.map(|(seq, _)| seq).collect()
        }
    }

    /// A line beside its naive twin.
    struct Pair {
        line: Line<u64>,
        naive: Naive,
        number: u64,
        now: Instant,
    }

    impl Pair {
        fn step(&mut self, step: u8, choice: usize) {
            let pick = |of: Vec<u64>| (!of.is_empty()).then(|| of[choice % of.len()]);
            let (line, naive) = (&mut self.line, &mut self.naive);
            match step {
                0..3 => {
                    let seq = naive.events.len() as u64;
                    line.push(Entry::new(self.now, event(), Some(seq)));
                    naive.events.push(Known {
                        state: Some(State::Waiting { alone: false }),
                        in_spool: InSpool::No,
                        is_answered: false,
                    });
                }
                3 => {
                    let Some(seq) = pick(naive.all(Search::Waiting)) else {
                        return;
                    };
                    naive.alone = naive.in_flight().is_empty().then_some(seq);
                    let handover = line.hand_over(seq, self.now).expect("it waits");
                    assert_eq!((handover.seq, handover.attempt), (seq, naive.attempt));
                    let (at, attempt) = (self.now, naive.attempt);
                    naive.events[seq as usize].state = Some(State::InFlight { at, attempt });
                }
                4 => {
                    let Some(seq) = pick(naive.in_flight()) else {
                        return;
                    };
                    let state = match choice % 3 {
                        0 => State::Waiting { alone: true },
                        1 => State::Waiting { alone: false },
                        _ => State::Undeliverable,
                    };
                    line.change(seq, |entry| entry.state = state);
                    naive.events[seq as usize].state = Some(state);
                    line.begin_attempt();
                    naive.attempt += 1;
                }
                5 | 6 => {
                    let Some(seq) = pick(naive.pending().map(|(seq, _)| seq).collect()) else {
                        return;
                    };
                    assert!(line.finish(seq).is_some() && line.finish(seq).is_none());
                    naive.events[seq as usize].state = None;
                }
                7 => {
                    if !naive.all(Search::Appending).is_empty() {
                        return;
                    }
                    let unspooled = naive.all(Search::Unspooled);
                    for seq in unspooled.into_iter().take(choice % 5) {
                        let in_spool = InSpool::Appending(self.number);
                        line.change(seq, |entry| entry.in_spool = in_spool);
                        naive.events[seq as usize].in_spool = in_spool;
                        self.number += 1;
                    }
                }
                8 => {
                    let upto = self.number.saturating_sub(choice as u64 % 3);
                    let mut answered = Vec::new();
                    line.appended(upto, |ticket| answered.push(ticket));
                    let mut expected = Vec::new();
                    for (seq, known) in (0..).zip(&mut naive.events) {
                        match known.in_spool {
                            InSpool::Appending(number) if number < upto => {
                                known.in_spool = InSpool::Yes(number);
                                let is_answered = std::mem::replace(&mut known.is_answered, true);
                                expected
                                    .extend((known.state.is_some() && !is_answered).then_some(seq));
                            }
                            InSpool::Appending(_) => known.in_spool = InSpool::No,
                            InSpool::No | InSpool::Yes(_) => {}
                        }
                    }
                    assert_eq!(answered, expected);
                    self.number = upto;
                }
                _ => {
                    let Some(seq) = pick(naive.all(Search::Unanswered)) else {
                        return;
                    };
                    let ticket = line.change(seq, |entry| entry.ticket.take());
                    assert_eq!(ticket, Some(Some(seq)));
                    naive.events[seq as usize].is_answered = true;
                }
            }
        }

        fn check(&mut self) {
            let (line, naive) = (&mut self.line, &self.naive);
            for search in Search::ALL {
                let all: Vec<_> = line.find_all(search).map(|(seq, _)| seq).collect();
                assert_eq!(all, naive.all(search), "{search:?}");
                assert_eq!(
                    line.find(search).map(|(seq, _)| seq),
                    all.first().copied(),
                    "{search:?}"
                );
            }
            let pending: Vec<_> = naive.pending().map(|(seq, _)| seq).collect();
            let first = pending
                .first()
                .copied()
                .unwrap_or(naive.events.len() as u64);
            assert_eq!(line.seqs(), first..naive.events.len() as u64);
            let slots = line.seqs().count();
            let spooled = |known: &Known| matches!(known.in_spool, InSpool::Yes(_));
            let size = Entry::new(self.now, event(), Some(0)).size;
            let expected = Totals {
                size: pending.len() * size + (slots - pending.len()) * Line::<u64>::SLOT,
                pending: pending.len(),
                in_flight: naive.in_flight().len(),
                spooled: naive.pending().filter(|(_, known)| spooled(known)).count(),
            };
            assert_eq!(line.totals(), expected);
            let alone = naive
                .in_flight()
                .into_iter()
                .filter(|seq| line.was_alone(*seq));
            let expected = naive
                .in_flight()
                .into_iter()
                .filter(|seq| naive.alone == Some(*seq));
            assert!(alone.eq(expected));
        }
    }

    proptest! {
        #[test]
        fn cursors_and_sums_are_those_of_a_walk_over_the_whole_line(
            steps in proptest::collection::vec((0..10_u8, any::<usize>()), 0..120),
        ) {
            let mut pair = Pair {
                line: Line::new(),
                naive: Naive::default(),
                number: 0,
                now: Instant::now(),
            };
            for (step, choice) in steps {
                pair.step(step, choice);
                pair.check();
            }
        }
    }

    #[test]
    fn a_report_on_an_earlier_hand_over_is_not_one_on_the_last() {
        let (mut line, now) = (Line::new(), Instant::now());
        line.push(Entry::new(now, event(), Some(0)));
        let first = line.hand_over(0, now).expect("it waits");
        line.change(0, |entry| entry.state = State::Waiting { alone: false });
        assert_eq!(line.in_flight_since(0, first.attempt), None);
        line.begin_attempt();
        let second = line.hand_over(0, now).expect("it waits");
        assert_eq!(line.in_flight_since(0, first.attempt), None);
        assert_eq!(line.in_flight_since(0, second.attempt), Some(now));
    }
}
