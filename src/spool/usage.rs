//! How much of `spool.max_size` is taken: by the queues, and by the files beside them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::disk::{Disk, create_synced};
use super::error::at;
use super::names::{DEAD_LETTERS, QUARANTINE, set_aside_name};

/// How long a measurement holds. Operators remove files of these directories while the bridge runs.
const MEASURED: Duration = Duration::from_secs(10);

/// What a spool takes up on disk.
pub(super) struct Usage {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    max_size: u64,
    /// The bytes of all queues.
    queues: AtomicU64,
    /// The bytes of the quarantine and of the dead letters, and when they were last measured. Held while one is added.
    beside: Mutex<(u64, Instant)>,
}

impl Usage {
    /// Measures what is there beside the queues.
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf, max_size: u64) -> Arc<Self> {
        let beside = measure(&*disk, &root);
        Arc::new(Usage {
            disk,
            root,
            max_size,
            queues: AtomicU64::new(0),
            beside: Mutex::new((beside, Instant::now())),
        })
    }

    /// A queue takes up another number of bytes than before.
    pub(super) fn changed(&self, before: u64, now: u64) {
        self.queues.fetch_add(now, Ordering::Relaxed);
        self.queues.fetch_sub(before, Ordering::Relaxed);
    }

    /// How many more bytes may be taken up. Files that were removed since count if this would be less than needed.
    pub(super) fn room(&self, needed: u64) -> u64 {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        self.room_beside(&mut beside, needed)
    }

    fn room_beside(&self, beside: &mut (u64, Instant), needed: u64) -> u64 {
        let queues = self.queues.load(Ordering::Relaxed);
        let room = |beside: u64| self.max_size.saturating_sub(queues.saturating_add(beside));
        if room(beside.0) < needed && beside.0 > 0 && beside.1.elapsed() >= MEASURED {
            *beside = (measure(&*self.disk, &self.root), Instant::now());
        }
        room(beside.0)
    }

    /// Puts a file of this name into one of the directories beside the queues, whole and synced, or not at all. One
    /// of this name that is there already is replaced.
    pub(super) fn put(&self, directory: &str, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let length = bytes.len() as u64;
        if self.room_beside(&mut beside, length) < length {
            let full = "spool.max_size is reached";
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, full));
        }
        let (disk, dir) = (&*self.disk, self.root.join(directory));
        create_synced(disk, &dir).map_err(|error| at(&dir, error))?;
        let (path, draft) = (dir.join(name), dir.join(format!("{name}.tmp")));
        let file = match disk.create(&draft) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A crash left it.
                disk.remove(&draft).and_then(|()| disk.create(&draft))
            }
            made => made,
        };
        let file = file.map_err(|error| at(&draft, error))?;
        // Counted before it is known to be whole: what a failure leaves there takes up room too.
        beside.0 += length;
        let written = (|| {
            file.write_at(bytes, 0)?;
            file.sync()?;
            disk.rename(&draft, &path)?;
            disk.sync_dir(&dir)?;
            match disk.identity(&path)? == file.identity()? {
                true => Ok(()),
                false => Err(io::Error::other("the file was removed or replaced")),
            }
        })();
        if written.is_err() && disk.remove(&draft).is_ok() {
            beside.0 -= length;
        }
        written.map_err(|error| at(&path, error)).map(|()| path)
    }

    /// Moves what has the name of a segment from its queue into the quarantine, where it replaces nothing.
    pub(super) fn move_aside(
        &self,
        path: &Path,
        directory: &str,
        salt: u64,
        first: u64,
    ) -> io::Result<PathBuf> {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let (disk, dir) = (&*self.disk, self.root.join(QUARANTINE));
        create_synced(disk, &dir).map_err(|error| at(&dir, error))?;
        let mut salt = salt;
        while self.has(QUARANTINE, &set_aside_name(directory, salt, first)) {
            salt = salt.wrapping_add(1);
        }
        let to = dir.join(set_aside_name(directory, salt, first));
        // What is no file may have none.
        let length = disk.length(path).unwrap_or(0);
        disk.rename(path, &to).map_err(|error| at(&to, error))?;
        beside.0 += length;
        disk.sync_dir(&dir)?;
        path.parent().map_or(Ok(()), |from| disk.sync_dir(from))?;
        Ok(to)
    }

    pub(super) fn has(&self, directory: &str, name: &str) -> bool {
        let path = self.root.join(directory).join(name);
        self.disk.identity(&path).is_ok()
    }
}

/// The bytes of the files beside the queues. What can't be asked counts as nothing.
fn measure(disk: &dyn Disk, root: &Path) -> u64 {
    let directories = [QUARANTINE, DEAD_LETTERS].map(|name| root.join(name));
    let lengths = directories.iter().flat_map(|dir| {
        let names = disk.list(dir).unwrap_or_default();
        names
            .into_iter()
            .map(|name| disk.length(&dir.join(name)).unwrap_or(0))
    });
    lengths.sum()
}
