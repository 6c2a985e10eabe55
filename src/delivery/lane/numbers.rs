//! The numbers of a lane's records in its queue of the spool.
//!
//! ```text
//!         done, or in the line   on disk alone   being appended
//!   ─────────────────────────────┼───────────────┼───────────────┤
//!                             loaded          synced           next
//! ```

use std::ops::Range;

/// What the spool held for a lane at the start: the records from the one to below the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backlog {
    /// The first that is not done.
    pub first: u64,
    /// The number behind the last.
    pub next: u64,
}

/// See the module. `loaded ≤ synced ≤ next`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    loaded: u64,
    synced: u64,
    next: u64,
}

impl Numbers {
    pub(super) fn new(backlog: Backlog) -> Self {
        let Backlog { first, next } = backlog;
        Numbers {
            loaded: first.min(next),
            synced: next,
            next,
        }
    }

    /// The numbers of the records that only the spool has.
    pub(super) fn on_disk_alone(&self) -> Range<u64> {
        self.loaded..self.synced
    }

    /// Whether an append has begun and its outcome is not known.
    pub(super) fn is_appending(&self) -> bool {
        self.next > self.synced
    }

    /// The number for one more record of the append that begins now.
    pub(super) fn append(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The append ended. All records below `upto` are synced; the numbers of the others are free again. Returns how many
    /// records were synced by it.
    pub(super) fn appended(&mut self, upto: u64) -> u64 {
        let upto = upto.clamp(self.synced, self.next);
        let records = upto - self.synced;
        (self.synced, self.next) = (upto, upto);
        records
    }

    /// The records below this number are in the line, or lost.
    pub(super) fn loaded(&mut self, through: u64) {
        self.loaded = through.clamp(self.loaded, self.synced);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is known of one record.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Record {
        Loaded,
        OnDisk,
        Appending,
    }

    proptest! {
        #[test]
        fn the_numbers_are_those_of_a_list_of_all_records(
            first in 0..5_u64,
            left in 0..5_u64,
            steps in proptest::collection::vec((0..3_u8, 0..6_usize), 0..60),
        ) {
            let mut numbers = Numbers::new(Backlog { first, next: first + left });
            let mut records = vec![Record::Loaded; first as usize];
            records.resize((first + left) as usize, Record::OnDisk);
            for (step, count) in steps {
                let is = |record: Record| records.iter().filter(|other| **other == record).count();
                match step {
                    0 if is(Record::Appending) == 0 => {
                        for _ in 0..count {
                            prop_assert_eq!(numbers.append(), records.len() as u64);
                            records.push(Record::Appending);
                        }
                    }
                    1 => {
                        let synced = count.min(is(Record::Appending));
                        let upto = is(Record::Loaded) + is(Record::OnDisk) + synced;
                        prop_assert_eq!(numbers.appended(upto as u64), synced as u64);
                        records.truncate(upto);
                        records.iter_mut().filter(|record| **record == Record::Appending)
                            .for_each(|record| *record = Record::OnDisk);
                    }
                    _ => {
                        let through = is(Record::Loaded) + count.min(is(Record::OnDisk));
                        numbers.loaded(through as u64);
                        records[..through].fill(Record::Loaded);
                    }
                }
                let is = |record: Record| records.iter().filter(|other| **other == record).count();
                let (loaded, on_disk) = (is(Record::Loaded) as u64, is(Record::OnDisk) as u64);
                prop_assert_eq!(numbers.on_disk_alone(), loaded..loaded + on_disk);
                prop_assert_eq!(numbers.is_appending(), is(Record::Appending) > 0);
            }
        }

        #[test]
        fn whatever_is_reported_loaded_stays_within_synced_and_synced_within_next(
            steps in proptest::collection::vec((0..3_u8, any::<u64>()), 0..60),
        ) {
            let mut numbers = Numbers::new(Backlog { first: 3, next: 7 });
            for (step, number) in steps {
                match step {
                    0 => drop(numbers.append()),
                    1 => drop(numbers.appended(number % 40)),
                    _ => numbers.loaded(number % 40),
                }
                prop_assert!(numbers.loaded <= numbers.synced && numbers.synced <= numbers.next);
            }
        }
    }
}
