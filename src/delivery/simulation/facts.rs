//! What the senders saw, and what the lane told: held against what arrived.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::super::lane::{Answer, Notice};
use super::{EVENTS_OF_A_KEY, KEYS, Which};

/// How long a sender waits at most.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// How long an event waits for its confirm until it goes to the spool.
pub(super) const SPOOL_AFTER: Duration = Duration::from_millis(250);

/// See the module. A moment is a count of what happened.
#[derive(Default)]
pub(super) struct Facts {
    moment: u64,
    sent: [usize; KEYS],
    waiting: HashMap<Which, Instant>,
    given: HashMap<Which, u64>,
    accepted: HashMap<Which, u64>,
    dead: HashSet<Which>,
    accounting: Accounting,
    /// A bit flipped.
    losses: usize,
}

/// Of the lane that lives now.
#[derive(Default)]
struct Accounting {
    taken: u64,
    confirmed: u64,
    dead: u64,
    lost: u64,
}

impl Facts {
    fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// The next event of this key: none while an earlier one is not answered, unless its sender is hasty.
    pub(super) fn next_of(&mut self, key: usize, hasty: bool) -> Option<Which> {
        let waits = self.waiting.keys().any(|which| which.0 == key);
        if self.sent[key] == EVENTS_OF_A_KEY || waits && !hasty {
            return None;
        }
        self.sent[key] += 1;
        Some((key, self.sent[key] - 1))
    }

    pub(super) fn given(&mut self, now: Instant, which: Which) {
        let moment = self.next_moment();
        self.given.insert(which, moment);
        self.waiting.insert(which, now);
    }

    pub(super) fn answered(&mut self, now: Instant, which: Which, answer: Answer) {
        let since = self.waiting.remove(&which);
        let since = since.unwrap_or_else(|| panic!("{which:?} is answered twice"));
        assert!(now <= since + DEADLINE, "{which:?} is answered late");
        if !answer.refuses() {
            let moment = self.next_moment();
            self.accepted.insert(which, moment);
        }
    }

    /// While the spool could take them, no events may wait for their confirms any longer.
    pub(super) fn assert_none_is_late_for_the_spool(&self, now: Instant) {
        let late = |(_, since): &(_, &Instant)| now >= **since + SPOOL_AFTER;
        let late: Vec<_> = self.waiting.iter().filter(late).collect();
        assert!(late.is_empty(), "{late:?} wait, and the spool is idle");
    }

    pub(super) fn dead_lettered(&mut self, which: Which) {
        self.dead.insert(which);
    }

    pub(super) fn a_record_may_be_lost(&mut self) {
        self.losses += 1;
    }

    pub(super) fn may_lose_a_record(&self) -> bool {
        self.losses > 0
    }

    pub(super) fn noticed(&mut self, notice: &Notice) {
        match notice {
            Notice::Taken(_) => self.accounting.taken += 1,
            Notice::Confirmed { .. } => self.accounting.confirmed += 1,
            Notice::DeadLettered(_) => self.accounting.dead += 1,
            Notice::Lost(events) => self.accounting.lost += events,
            _ => {}
        }
    }

    /// The bridge ended: nobody waits any more.
    pub(super) fn begin_anew(&mut self) {
        self.waiting.clear();
        self.accounting = Accounting::default();
    }

    /// Another bridge found so many events.
    pub(super) fn found(&mut self, events: u64) {
        self.accounting.taken = events;
    }

    pub(super) fn assert_the_accounting_balances(&self, pending: usize) {
        let Accounting {
            taken,
            confirmed,
            dead,
            lost,
        } = self.accounting;
        assert_eq!(
            taken,
            confirmed + dead + lost + pending as u64,
            "{confirmed} confirmed, {dead} dead, {lost} lost, {pending} pending"
        );
    }

    pub(super) fn assert_no_more_is_lost(&self) {
        let lost = self.accounting.lost;
        assert!(lost <= self.losses as u64, "{lost} records are lost");
    }

    pub(super) fn assert_all_are_answered(&self) {
        let waiting = self.waiting.keys();
        assert_eq!(waiting.count(), 0, "{:?} still wait", self.waiting);
    }

    pub(super) fn assert_all_that_was_answered_arrived(&self, delivered: &[Which]) {
        let there: HashSet<_> = delivered.iter().chain(&self.dead).collect();
        let lost: Vec<_> = self
            .accepted
            .keys()
            .filter(|which| !there.contains(which))
            .collect();
        assert!(lost.len() <= self.losses, "answered, and lost: {lost:?}");
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
