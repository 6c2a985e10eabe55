//! A queue as its writer has it: the segment that is written to, those before it, and the mark on disk.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile, Identity};
use super::error::{Refusal, at, located};
use super::format::{HEADER, Header, ReadHeader};
use super::mark::{self, MarkFile};
use super::queue::Queue;
use super::recovery::whole;
use super::segment::{Bounds, scan};

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
    /// What the salts of its segments are made from.
    pub(super) salt: u64,
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

impl Active {
    /// Whether the file is at least this long.
    fn holds(&self, length: u64) -> io::Result<bool> {
        Ok(self.file.length()? >= length)
    }

    /// Whether the file is still the one that has its name, and holds all that was written to it.
    ///
    /// # Errors
    /// When it is not, or does not.
    pub(super) fn check(&self, disk: &dyn Disk) -> io::Result<()> {
        let path = self.path.display();
        let wrong = match disk.identity(&self.path) {
            Ok(there) if there == self.identity => match self.holds(self.written)? {
                true => return Ok(()),
                false => "was cut short",
            },
            Ok(_) => "was replaced",
            Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed or renamed",
            Err(error) => return Err(error),
        };
        let text = format!("{path} {wrong} while it was written to");
        Err(located(io::ErrorKind::Other, text))
    }
}

impl Owned {
    /// A queue of which there is nothing on disk.
    pub(super) fn new(queue: Arc<Queue>, dir: PathBuf, salt: u64) -> Self {
        Owned {
            queue,
            dir,
            exists: false,
            active: None,
            sealed: VecDeque::new(),
            mark_file: None,
            salt,
            persisted: 0,
            next: 0,
            rests: None,
            appended_lately: false,
        }
    }

    /// Persists the mark, in a file that is made if there is none that is open and has its name.
    pub(super) fn write_mark(&mut self, disk: &dyn Disk, mark: u64) -> io::Result<()> {
        let path = self.dir.join(mark::FILE);
        self.try_write_mark(disk, mark)
            .map_err(|error| at(&path, error))?;
        self.persisted = mark;
        Ok(())
    }

    /// Whether the file of its mark is open, and has its name.
    pub(super) fn has_mark(&self, disk: &dyn Disk) -> bool {
        let there = disk.identity(&self.dir.join(mark::FILE)).ok();
        let ours = self.mark_file.as_ref().map(MarkFile::identity);
        ours.is_some_and(|ours| ours.is_ok_and(|ours| Some(ours) == there))
    }

    fn try_write_mark(&mut self, disk: &dyn Disk, mark: u64) -> io::Result<()> {
        let has_mark = self.has_mark(disk);
        match &mut self.mark_file {
            Some(file) if has_mark => file.write(mark)?,
            none => {
                *none = None;
                match disk.list(&self.dir) {
                    // Somebody removed the directory: there is nothing that a mark could be about.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    names => {
                        if names?.iter().any(|name| name == mark::FILE) {
                            disk.remove(&self.dir.join(mark::FILE))?;
                        }
                        let queue = Header {
                            salt: self.salt,
                            first: 0,
                            name: self.queue.name().as_str().to_owned(),
                        };
                        *none = Some(MarkFile::create(disk, &self.dir, mark, &queue)?);
                    }
                }
            }
        }
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

    /// Syncs what was written, and believes it only if the file still has its name, and all that was written to it.
    pub(super) fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Some(active) = self.active.as_mut() else {
            return Ok(());
        };
        if active.written > active.synced {
            active.file.sync()?;
            active.check(disk)?;
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
    pub(super) fn failed(&mut self, disk: &dyn Disk, now: Instant, error: io::Error) -> Refusal {
        let active = self.active.as_ref();
        let error = at(active.map_or(&self.dir, |active| &active.path), error);
        if let Some(mut active) = self.active.take() {
            if active.synced == HEADER as u64 {
                // It holds nothing. If it can't be removed now, the segment that takes its number
                // moves it away.
                if disk.identity(&active.path).ok() == Some(active.identity) {
                    let _ = disk.remove(&active.path);
                }
                self.queue.index().pop_back();
            } else if active.holds(active.synced).is_ok_and(|holds| !holds) {
                self.give_up(active);
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

    /// Somebody cut the segment short: no more is written to it, and what is left of it is read.
    fn give_up(&mut self, active: Active) {
        let bytes = whole(&*active.file).unwrap_or_default();
        let mark = self.queue.marked();
        if let Some(view) = self.queue.index().back_mut() {
            let read = ReadHeader {
                header: Header {
                    salt: active.salt,
                    first: view.first,
                    name: self.queue.name().as_str().to_owned(),
                },
                length: HEADER,
                damaged: false,
            };
            let bounds = Bounds {
                until: Some(active.synced_next),
                synced: 0,
            };
            let scan = scan(&bytes, &read, bounds);
            view.end = scan.end as u64;
            tracing::error!(
                segment = %active.path.display(),
                events = active.synced_next.saturating_sub(scan.next.max(mark)),
                "somebody cut this segment of the spool short: these events were in it, and those that are not in memory \
                 are lost; later ones go to another segment"
            );
        }
        self.queue.found_corrupt();
        self.sealed.push_back((active.path, bytes.len() as u64));
    }

    pub(super) fn count(&self) {
        let sealed: u64 = self.sealed.iter().map(|(_, bytes)| bytes).sum();
        let active = self.active.as_ref().map_or(0, |active| active.allocated);
        self.queue.occupies(sealed + active);
    }
}
