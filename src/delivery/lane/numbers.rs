//! The numbers of a lane's records in its queue of the spool.
//!
//! ```text
//!         done, or in the line   on disk alone   being appended
//!   ─────────────────────────────┼───────────────┼───────────────┤
//!                             loaded          synced           next
//! ```

use std::ops::Range;

use super::Backlog;

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
