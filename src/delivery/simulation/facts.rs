//! What the senders saw, and what the lane told: held against what arrived.

use std::collections::{HashMap, HashSet};

use super::super::lane::{Answer, Notice};
use super::{EVENTS_OF_A_KEY, KEYS, Which};

/// See the module. A moment is a count of what happened.
#[derive(Default)]
pub(super) struct Facts {
    moment: u64,
    sent: [usize; KEYS],
    waiting: HashSet<Which>,
    given: HashMap<Which, u64>,
    accepted: HashMap<Which, u64>,
    dead: HashSet<Which>,
    books: Books,
}

/// Of the lane that lives now.
#[derive(Default)]
struct Books {
    taken: u64,
    confirmed: u64,
    dead: u64,
    lost: u64,
}

impl Facts {
    fn now(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// The next event of this key: none while an earlier one is not answered, unless its sender is hasty.
    pub(super) fn next_of(&mut self, key: usize, hasty: bool) -> Option<Which> {
        let waits = self.waiting.iter().any(|which| which.0 == key);
        if self.sent[key] == EVENTS_OF_A_KEY || waits && !hasty {
            return None;
        }
        self.sent[key] += 1;
        Some((key, self.sent[key] - 1))
    }

    pub(super) fn given(&mut self, which: Which) {
        let now = self.now();
        self.given.insert(which, now);
        self.waiting.insert(which);
    }

    pub(super) fn answered(&mut self, which: Which, answer: Answer) {
        assert!(self.waiting.remove(&which), "{which:?} is answered once");
        if !answer.refuses() {
            let now = self.now();
            self.accepted.insert(which, now);
        }
    }

    pub(super) fn dead_lettered(&mut self, which: Which) {
        self.dead.insert(which);
    }

    pub(super) fn told(&mut self, notice: &Notice) {
        match notice {
            Notice::Taken(_) => self.books.taken += 1,
            Notice::Confirmed { .. } => self.books.confirmed += 1,
            Notice::DeadLettered(_) => self.books.dead += 1,
            Notice::Lost(events) => self.books.lost += events,
            _ => {}
        }
    }

    /// The bridge ended: nobody waits any more. Another one found so many events.
    pub(super) fn begin_anew(&mut self) {
        self.waiting.clear();
        self.books = Books::default();
    }

    pub(super) fn found(&mut self, events: u64) {
        self.books.taken = events;
    }

    pub(super) fn assert_the_books_balance(&self, pending: usize) {
        let Books {
            taken,
            confirmed,
            dead,
            lost,
        } = self.books;
        assert_eq!(
            taken,
            confirmed + dead + lost + pending as u64,
            "{confirmed} confirmed, {dead} dead, {lost} lost, {pending} pending"
        );
    }

    pub(super) fn assert_all_that_was_answered_arrived(&self, delivered: &[Which]) {
        let there: HashSet<_> = delivered.iter().chain(&self.dead).collect();
        let lost: Vec<_> = self
            .accepted
            .keys()
            .filter(|which| !there.contains(which))
            .collect();
        assert!(lost.is_empty(), "answered, and lost: {lost:?}");
    }

    /// What was sent after another of its key was answered stands behind it.
    pub(super) fn assert_the_order(&self, delivered: &[Which]) {
        let mut first = HashMap::new();
        for (place, which) in delivered.iter().enumerate() {
            first.entry(*which).or_insert(place);
        }
        for (before, answered) in &self.accepted {
            for (after, _) in self
                .accepted
                .iter()
                .filter(|(after, _)| after.0 == before.0)
            {
                if let (Some(one), Some(other)) = (first.get(before), first.get(after))
                    && answered < &self.given[after]
                {
                    assert!(one < other, "{after:?} overtook {before:?}: {delivered:?}");
                }
            }
        }
    }
}
