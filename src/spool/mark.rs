//! How far a queue is done: a number in a file of two slots.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::format::u64_at;

/// The name of the file.
pub(super) const FILE: &str = "mark";

const SLOT: u64 = 4096;
const LENGTH: usize = 20;

/// The file of a mark, open for writing.
pub(super) struct MarkFile {
    file: Arc<dyn DiskFile>,
    writes: u64,
}

impl MarkFile {
    /// Makes the file anew. Its content and its entry in the directory are synced.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, mark: u64) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file = disk.create(&path)?;
        let made = (|| {
            file.write_at(&vec![0; 2 * SLOT as usize], 0)?;
            let mut made = MarkFile { file, writes: 0 };
            made.write(mark)?;
            disk.sync_dir(dir)?;
            Ok(made)
        })();
        if made.is_err() {
            // Without it nothing is lost: what is done would be read again.
            let _ = disk.remove(&path);
        }
        made
    }

    /// Opens the file, and reads the mark: none if neither slot holds.
    pub(super) fn open(disk: &dyn Disk, dir: &Path) -> io::Result<(Self, Option<u64>)> {
        let file = disk.open(&dir.join(FILE))?;
        let (writes, mark) = match newest(&*file)? {
            Some((writes, mark)) => (writes, Some(mark)),
            None => (0, None),
        };
        Ok((MarkFile { file, writes }, mark))
    }

    /// Writes the mark into the slot that holds the older one, and syncs it.
    pub(super) fn write(&mut self, mark: u64) -> io::Result<()> {
        self.writes += 1;
        let mut slot = [0; LENGTH];
        slot[..8].copy_from_slice(&self.writes.to_le_bytes());
        slot[8..16].copy_from_slice(&mark.to_le_bytes());
        let sum = crc32c::crc32c(&slot[..16]);
        slot[16..].copy_from_slice(&sum.to_le_bytes());
        self.file.write_at(&slot, self.writes % 2 * SLOT)?;
        self.file.sync()
    }
}

/// The mark in a file that somebody else may be writing.
pub(super) fn read(file: &dyn DiskFile) -> io::Result<Option<u64>> {
    Ok(newest(file)?.map(|(_, mark)| mark))
}

fn newest(file: &dyn DiskFile) -> io::Result<Option<(u64, u64)>> {
    let mut newest = None;
    for place in [0, SLOT] {
        let mut slot = [0; LENGTH];
        if file.read_at(&mut slot, place)? < LENGTH {
            continue;
        }
        let sum = crc32c::crc32c(&slot[..16]).to_le_bytes();
        if slot[16..] == sum {
            newest = newest.max(Some((u64_at(&slot, 0), u64_at(&slot, 8))));
        }
    }
    Ok(newest)
}
