//! Durable, ordered storage on disk: for each destination a queue of records in segments, bounded in size.
//!
//! Guarantees: a record that was reported as appended is on disk, synced, in a file that had its name at that moment,
//! and comes back after any crash, in the order of appending, until it is marked as done; what is corrupt or missing is
//! found, set aside and counted, and never stops the start; damage costs the record that it hit; all files together
//! stay within `spool.max_size`; only files that have the exact form of a queue that this program made are ever changed
//! or removed, one by one.
//! Leaves to others: what a record means, and why it is kept (`delivery`).
//!
//! # On disk
//!
//! ```text
//! <spool.dir>/                       0700, one owner
//!   lock                             held by the owner (flock), as the directory itself is
//!   <broker>-<name>-<checksum>/      one directory a queue, made at its first record
//!     00000000000000000000.seg       0600, named by the number of its first record
//!     mark                           all records below this number are done
//!   quarantine/                      segments in which something was corrupt, as they were found:
//!     <queue's directory>-<salt>-<segment's name>
//!   dead-letters/                    what no destination takes
//! ```
//!
//! A **segment** is a header of 8 KiB, two copies of 4 KiB, and then records, one behind the other, each at a multiple
//! of 8. It grows by zeros that are written ahead, so that a sync has no length to write. All numbers are
//! little-endian. In version 1, which is still read, there is one copy of the header.
//!
//! | copy of the header, at | |
//! |---|---|
//! | 0 | `MCBSPOOL` |
//! | 8 | version of the format, `u32`: 2 |
//! | 12 | CRC-32C of the 12 bytes before it and the 4,080 behind it, `u32`; so in every version |
//! | 16 | salt, `u64`: random, so that a record of another segment is none here |
//! | 24 | number of the first record, `u64` |
//! | 32 | length of the queue's name, `u16`, and the name |
//!
//! | record, at | |
//! |---|---|
//! | 0 | length of the body, `u32`; the highest bit is set on the first record of a write. 0: no more records |
//! | 4 | CRC-32C of the salt, of the length, and of all that follows, `u32` |
//! | 8 | number, `u64`: higher than that of the record before |
//! | 16 | when the event was received, in microseconds since 1970, `u64` |
//! | 24 | the body |
//!
//! A **mark** is two slots of 4 KiB, written in turn, so that a torn write leaves the other one: a
//! count of the writes (`u64`), the mark (`u64`) and a CRC-32C of both (`u32`). The valid slot with the
//! higher count holds. Its file is made and synced before the first segment, so that a full disk takes marks too, and
//! beside a segment a file in which neither slot holds is damaged. A third slot of
//! the same form, with a count of 0, has the number behind the last record that was synced. It is written after each sync, and is
//! not synced itself before the spool is closed: it tells what is missing when somebody cut or removed the last segment.
//! Behind it stands a copy of a header with the queue's name and a random salt, from which, with the number of its first
//! record, the salt of each of its segments is made: so a segment can be read that has no header any more. Earlier
//! releases neither write nor read it.
//!
//! # Invariants
//!
//! - A segment's header, its entry in its directory and the entries of all directories above it are synced before its
//!   first record is written.
//! - One process works in the directory: it holds a lock on it, and on the file `lock` in it, which it makes again when
//!   somebody removes it.
//! - A record is reported as appended after the sync that covers it, never before, and only if the segment and
//!   `spool.dir` still have their names then, and the segment the length that was written. In a directory that took the place of `spool.dir`, nothing is made or removed.
//! - What a failed write or sync leaves behind is not written again: the segment ends where the last
//!   good sync ended, and the next record begins another.
//! - A mark is synced before a segment that it makes needless is unlinked.
//! - A queue that is empty leaves no file, and the removal of its mark is synced before the queue can begin anew.
//! - Recovery takes the records up to the first that does not hold. If a whole one follows that was
//!   written later, or the mark's file says that more was synced, something was corrupt: the segment is copied to the
//!   quarantine, and the whole ones are kept. Else the end is a torn write that was never reported.
//! - A segment of which nothing can be read is moved to the quarantine, in a directory whose mark or whose other segments
//!   say that this program made it. Any other directory stays as it is.

mod batch;
mod claim;
pub mod disk;
mod error;
mod format;
mod inspect;
mod lock;
mod mark;
mod names;
mod owned;
mod queue;
mod recovery;
mod segment;
pub mod settings;
mod store;
mod tidy;
mod usage;
mod writer;

#[cfg(test)]
mod kills;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use claim::Claim;
pub use disk::Disk;
pub use error::{OpenError, Refusal};
pub use inspect::{Inspected, Record, SetAside, inspect, locate, quarantine};
pub use names::{DEAD_LETTERS, Name};
pub use queue::{Cursor, Queue, Read};
pub use store::{Found, Sizes, Store};
pub use writer::{Appended, Opened, Spool, Watcher};
