//! A queue as its writer has it: the segment that is written to, those before it, and the mark on disk.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile, Identity};
use super::error::Refusal;
use super::format::HEADER;
use super::mark::{self, MarkFile};
use super::queue::Queue;

/// How long a queue rests after the disk failed, so that a sick disk is not worked to death.
const REST: Duration = Duration::from_secs(1);

/// A queue with what is needed to write to it.
pub(super) struct Owned {
    pub(super) queue: Arc<Queue>,
    pub(super) dir: PathBuf,
    /// Its directory is there.
    pub(super) exists: bool,
    pub(super) active: Option<Active>,
    /// What the segments before the active one take up, in bytes.
    pub(super) sealed: VecDeque<(PathBuf, u64)>,
    pub(super) mark_file: Option<MarkFile>,
    /// The mark that is on disk.
    pub(super) persisted: u64,
    /// All that was appended, synced or not, is below this number.
    pub(super) next: u64,
    /// Until then what failed is not tried again.
    pub(super) rests: Option<(Instant, Refusal)>,
    pub(super) appended_lately: bool,
}

/// The segment that is written to.
pub(super) struct Active {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) identity: Identity,
    pub(super) salt: u64,
    pub(super) synced: u64,
    pub(super) written: u64,
    pub(super) allocated: u64,
    pub(super) synced_next: u64,
    pub(super) written_next: u64,
}

impl Owned {
    /// A queue of which there is nothing on disk.
    pub(super) fn new(queue: Arc<Queue>, dir: PathBuf) -> Self {
        Owned {
            queue,
            dir,
            exists: false,
            active: None,
            sealed: VecDeque::new(),
            mark_file: None,
            persisted: 0,
            next: 0,
            rests: None,
            appended_lately: false,
        }
    }

    /// Persists the mark, in a file that is made if there is none that is open and has its name.
    pub(super) fn write_mark(&mut self, disk: &dyn Disk, mark: u64) -> io::Result<()> {
        let there = disk.identity(&self.dir.join(mark::FILE)).ok();
        let is_there = |file: &MarkFile| file.identity().is_ok_and(|ours| Some(ours) == there);
        match &mut self.mark_file {
            Some(file) if is_there(file) => file.write(mark)?,
            none => {
                *none = None;
                match disk.list(&self.dir) {
                    // Somebody removed the directory: there is nothing that a mark could be about.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    names => {
                        if names?.iter().any(|name| name == mark::FILE) {
                            disk.remove(&self.dir.join(mark::FILE))?;
                        }
                        *none = Some(MarkFile::create(disk, &self.dir, mark)?);
                    }
                }
            }
        }
        self.persisted = mark;
        Ok(())
    }

    /// Writes zeros up to `ahead`, from where the records will end.
    pub(super) fn grow(&mut self, end: u64, ahead: u64) -> io::Result<()> {
        let active = self
            .active
            .as_mut()
            .expect("it grows while it is written to");
        if ahead > end {
            let zeros = vec![0; (ahead - end) as usize];
            active.file.write_at(&zeros, end)?;
        }
        active.allocated = ahead.max(end);
        self.count();
        Ok(())
    }

    /// Syncs what was written, and believes it only if the file still has its name.
    pub(super) fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Some(active) = self.active.as_mut() else {
            return Ok(());
        };
        if active.written > active.synced {
            active.file.sync()?;
            if disk.identity(&active.path).ok() != Some(active.identity) {
                return Err(io::Error::other(format!(
                    "{} was removed, renamed or replaced while it was written to",
                    active.path.display()
                )));
            }
            active.synced = active.written;
            active.synced_next = active.written_next;
            if let Some(view) = self.queue.index().back_mut() {
                view.end = active.synced;
                view.next = active.synced_next;
            }
            if let Some(mark_file) = &self.mark_file {
                // Without it nothing is lost: less is known after a crash.
                let _ = mark_file.reaches(active.synced_next);
            }
        }
        Ok(())
    }

    /// Writes no more to the active segment.
    pub(super) fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            self.sealed.push_back((active.path, active.allocated));
        }
    }

    /// The disk failed: the segment ends where the last good sync ended. Nobody was told of what is behind it.
    pub(super) fn failed(&mut self, disk: &dyn Disk, now: Instant, error: &io::Error) -> Refusal {
        if let Some(mut active) = self.active.take() {
            if active.synced == HEADER as u64 {
                // It holds nothing. If it can't be removed now, the segment that takes its number
                // moves it away.
                if disk.identity(&active.path).ok() == Some(active.identity) {
                    let _ = disk.remove(&active.path);
                }
                self.queue.index().pop_back();
            } else {
                if active.file.cut(active.synced).is_ok() {
                    active.allocated = active.synced;
                }
                self.sealed.push_back((active.path, active.allocated));
            }
            self.count();
        }
        let refusal = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Refusal::Full(error.to_string())
            }
            _ => Refusal::Disk(error.to_string()),
        };
        self.rests = Some((now + REST, refusal.clone()));
        refusal
    }

    pub(super) fn count(&self) {
        let sealed: u64 = self.sealed.iter().map(|(_, bytes)| bytes).sum();
        let active = self.active.as_ref().map_or(0, |active| active.allocated);
        self.queue.occupies(sealed + active);
    }
}
