//! How far a queue is done, and how far it reaches: two numbers in a file of three slots, and a header of the queue.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, Identity};
use super::format::{Header, PAGE, VERSION, u64_at};

/// The name of the file.
pub(super) const FILE: &str = "mark";

const SLOT: usize = PAGE;
const LENGTH: usize = 20;
/// The slot of the number that the queue reaches to. Files of earlier releases end before it.
const REACH: usize = 2 * SLOT;
/// Where the queue's header stands. Files of earlier releases end before it too.
const QUEUE: usize = 3 * SLOT;
/// The length of the file, in bytes.
const WHOLE: usize = 4 * SLOT;

/// What the file of a mark says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// All records below this number are done. None if neither slot holds.
    pub(super) done: Option<u64>,
    /// All records below this number were synced once; there may be more. 0 if that is not known.
    pub(super) synced: u64,
    /// The name of the queue, and the salt that those of its segments are made from.
    pub(super) queue: Option<Header>,
    /// There is such a file.
    is_there: bool,
    /// There is nothing but zeros in its two slots. The power can go when other pages of the first write are on disk.
    is_blank: bool,
}

impl Marks {
    /// Whether the mark is missing or neither of its slots holds, though it was synced before the first segment was made.
    /// Without a segment no mark is needed, and a blank file means that the power went while it was made.
    pub(super) fn is_damaged(&self, has_segments: bool) -> bool {
        self.done.is_none() && (has_segments || self.is_there && !self.is_blank)
    }

    /// Whether the power went while the file was made.
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_there && self.is_blank
    }
}

/// The file of a mark, open for writing.
pub(super) struct MarkFile {
    file: Arc<dyn DiskFile>,
    writes: u64,
}

impl MarkFile {
    /// Makes the file anew. Its content and its entry in the directory are synced.
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        mark: u64,
        queue: &Header,
    ) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file = disk.create(&path)?;
        let made = (|| {
            let mut bytes = vec![0; WHOLE];
            // Both slots, so that no damage of one place takes the mark.
            for (writes, at) in [(1, SLOT), (2, 0)] {
                bytes[at..at + LENGTH].copy_from_slice(&slot(writes, mark));
            }
            bytes[QUEUE..].copy_from_slice(&queue.page(VERSION));
            file.write_at(&bytes, 0)?;
            file.sync()?;
            disk.sync_dir(dir)?;
            Ok(MarkFile { file, writes: 2 })
        })();
        if made.is_err() {
            // Without it nothing is lost: what is done would be read again.
            let _ = disk.remove(&path);
        }
        made
    }

    /// Opens the file, and reads what it says.
    pub(super) fn open(disk: &dyn Disk, dir: &Path) -> io::Result<(Self, Marks)> {
        let file = disk.open(&dir.join(FILE))?;
        let (writes, marks) = read_file(&*file)?;
        Ok((MarkFile { file, writes }, marks))
    }

    /// Writes the mark into the slot that holds the older one, and syncs it. After a failure the same slot is written
    /// again, so that the other one stays whole.
    pub(super) fn write(&mut self, mark: u64) -> io::Result<()> {
        let writes = self.writes + 1;
        let slot = slot(writes, mark);
        self.file.write_at(&slot, writes % 2 * SLOT as u64)?;
        self.file.sync()?;
        self.writes = writes;
        Ok(())
    }

    /// Writes down that all records below this number are synced. This itself is not synced: a loss of power may
    /// take it, and then less is known. A process that is killed does not.
    pub(super) fn reaches(&self, synced: u64) -> io::Result<()> {
        self.file.write_at(&slot(0, synced), REACH as u64)
    }

    /// Syncs what [`Self::reaches`] wrote.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    pub(super) fn identity(&self) -> io::Result<Identity> {
        self.file.identity()
    }
}

/// What a file says that somebody else may be writing.
pub(super) fn read(file: &dyn DiskFile) -> io::Result<Marks> {
    Ok(read_file(file)?.1)
}

fn slot(writes: u64, number: u64) -> [u8; LENGTH] {
    let mut slot = [0; LENGTH];
    slot[..8].copy_from_slice(&writes.to_le_bytes());
    slot[8..16].copy_from_slice(&number.to_le_bytes());
    let sum = crc32c::crc32c(&slot[..16]);
    slot[16..].copy_from_slice(&sum.to_le_bytes());
    slot
}

/// The count of the writes besides.
fn read_file(file: &dyn DiskFile) -> io::Result<(u64, Marks)> {
    let mut bytes = vec![0; WHOLE + 1];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    let newest = slot_at(&bytes, 0).max(slot_at(&bytes, SLOT));
    let (writes, done) = newest.unzip();
    let marks = Marks {
        done,
        synced: slot_at(&bytes, REACH).map_or(0, |(_, synced)| synced),
        queue: Header::read_page(&bytes, QUEUE)
            .ok()
            .map(|(queue, _)| queue),
        is_there: true,
        is_blank: bytes.iter().take(REACH).all(|byte| *byte == 0),
    };
    Ok((writes.unwrap_or(0), marks))
}

/// The count and the number in a slot, if it holds.
fn slot_at(bytes: &[u8], at: usize) -> Option<(u64, u64)> {
    let slot = bytes.get(at..at + LENGTH)?;
    let sum = crc32c::crc32c(&slot[..16]).to_le_bytes();
    (slot[16..] == sum).then(|| (u64_at(slot, 0), u64_at(slot, 8)))
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Faults, SimulatedDisk};
    use super::*;

    #[test]
    fn a_mark_outlives_any_number_of_writes_that_fail() {
        for seed in 0..200 {
            let (disk, dir) = (SimulatedDisk::new(seed, 1 << 20), Path::new("/spool"));
            disk.create_dir(dir).expect("the disk is well");
            let queue = Header {
                salt: seed,
                first: 7,
                name: "kafka".to_owned(),
            };
            let mut file = MarkFile::create(&disk, dir, 7, &queue).expect("the disk is well");
            let (writes, syncs) = if seed % 2 == 0 { (1000, 0) } else { (0, 1000) };
            disk.fail(Faults {
                writes,
                syncs,
                ..Faults::default()
            });
            for mark in 8..12 {
                file.write(mark).expect_err("the disk fails");
            }
            disk.fail(Faults::default());
            let (_, marks) = MarkFile::open(&disk, dir).expect("the disk is well");
            assert!(
                (7..12).contains(&marks.done.unwrap_or(0)),
                "{seed}: {marks:?}"
            );
        }
    }
}
