//! One owner for a directory, which stays where it is.
//!
//! Guarantees: as long as a [`Lock`] lives, no other process takes the directory, whatever somebody does to the files in
//! it. The directory itself is locked, and a file in it besides: where a file system has no locks on directories, and
//! for earlier releases, the file's lock alone counts.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use super::disk::{Disk, Identity, RealDisk};
use super::error::{OpenError, at, located};
use super::mark;
use super::names::{LOCK, is_queue, segments};
use crate::regular_file;

/// Held as long as it lives; the system lets go of it when the process ends, however that is.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// Open, so that no other directory gets its identity; and locked.
    dir: File,
    /// The file in it, locked too.
    file: Mutex<File>,
}

impl Lock {
    /// Makes the directory its own, and the lock. A directory may belong to another user, as that
    /// of a mounted volume does; a lock may not: what lies beside it is that user's.
    pub(super) fn take(path: &Path) -> Result<Lock, OpenError> {
        RealDisk
            .create_dir(path)
            .map_err(|error| OpenError::io(path, error))?;
        let dir = File::open(path).map_err(|error| OpenError::io(path, error))?;
        match dir.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(in_use(path)),
            // An error says that this file system has no locks on directories.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let (mut file, held_before) = lock_file(path)?;
        if held_before == Pid::Foreign {
            return Err(foreign(path));
        }
        write_pid(&mut file);
        Ok(Lock {
            path: path.to_owned(),
            dir,
            file: Mutex::new(file),
        })
    }

    /// Whether the directory still has its name, and no other process has locked it. Nothing that is written into it
    /// would be found again, or stay whole, otherwise.
    ///
    /// # Errors
    /// When it has not, or another process has.
    pub(super) fn check_in_place(&self) -> io::Result<()> {
        let ours = Identity::from(&self.dir.metadata()?);
        let path = self.path.display();
        match RealDisk.identity(&self.path) {
            Ok(there) if there == ours => self.check_file(),
            Ok(_) => Err(located(
                io::ErrorKind::Other,
                format!(
                    "{path} is another directory than at the start: put the first one back, or restart the bridge"
                ),
            )),
            Err(error) if is_gone(&error) => Err(located(
                error.kind(),
                format!("{path} is gone ({error}): put it back, or restart the bridge"),
            )),
            Err(error) => Err(at(&self.path, error)),
        }
    }

    /// Makes the file again that somebody removed, or locks the one that somebody put in its place. Where the
    /// directory can't be locked, another process may have been quicker: then this is an error.
    fn check_file(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.join(LOCK);
        match RealDisk.identity(&path) {
            Ok(there) if there == Identity::from(&file.metadata()?) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path, error)),
            _ => {}
        }
        let locked = lock_file(&self.path);
        let (mut again, held_before) =
            locked.map_err(|error| located(io::ErrorKind::Other, error.to_string()))?;
        if held_before != Pid::Foreign {
            write_pid(&mut again);
        }
        *file = again;
        tracing::warn!(
            lock = %path.display(),
            "somebody removed or replaced the spool's lock; it is held again, and no other process gets the spool"
        );
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Opens and locks the file in the directory, which is made if there is none, and reads who had it before.
fn lock_file(dir: &Path) -> Result<(File, Pid), OpenError> {
    let path = dir.join(LOCK);
    let failed = |error| OpenError::io(&path, error);
    if path.metadata().is_ok_and(|about| !about.is_file()) {
        return Err(foreign(dir));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    // A FIFO that took its place meanwhile is not waited for.
    let flags =
        i32::try_from(OFlags::NONBLOCK.bits()).expect("the flags of open() fit its parameter");
    let mut file = options.custom_flags(flags).open(&path).map_err(failed)?;
    if let Ok(about) = file.metadata()
        && let Some(refusal) = OpenError::owner(dir, &about)
        && owner_of_new_files(dir).is_ok_and(|owner| owner != about.uid())
    {
        return Err(refusal);
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(dir)),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let held_before = read_pid(&mut file).map_err(failed)?;
    Ok((file, held_before))
}

/// Another process has the directory. Which one, its file says, if that is there.
fn in_use(dir: &Path) -> OpenError {
    let file = regular_file::open(&dir.join(LOCK));
    let by = match file.and_then(|mut file| read_pid(&mut file)) {
        Ok(Pid::Of(pid)) => Some(pid),
        _ => None,
    };
    OpenError::InUse {
        dir: dir.to_owned(),
        by,
    }
}

/// The file that has the lock's name is none.
fn foreign(dir: &Path) -> OpenError {
    let holds_segments = |name: &String| {
        let queue = dir.join(name);
        let names = RealDisk.list(&queue).unwrap_or_default();
        !segments(&names, &queue).is_empty() || names.iter().any(|name| name == mark::FILE)
    };
    let names = RealDisk.list(dir).unwrap_or_default();
    let mut queues = names.iter().filter(|name| is_queue(name));
    OpenError::Foreign {
        path: dir.join(LOCK),
        has_queues: queues.any(holds_segments),
    }
}

/// Writes this process's number, for whoever is refused. That it could not be written costs them the number alone.
fn write_pid(file: &mut File) {
    let _ = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()));
}

/// What a lock says of the process that took it last.
#[derive(PartialEq, Eq)]
enum Pid {
    Of(u32),
    Unknown,
    /// It says something else: this program did not make it.
    Foreign,
}

fn read_pid(file: &mut File) -> io::Result<Pid> {
    let mut bytes = Vec::new();
    file.take(64).read_to_end(&mut bytes)?;
    // A loss of power may leave zeros.
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Pid::Unknown);
    }
    let pid = std::str::from_utf8(&bytes).ok();
    let pid = pid.and_then(|text| text.trim_end().parse().ok());
    Ok(pid.map_or(Pid::Foreign, Pid::Of))
}

/// Whose the files are that this process makes there: on some file systems always the same user's.
fn owner_of_new_files(dir: &Path) -> io::Result<u32> {
    let path = dir.join(format!("lock.{}", std::process::id()));
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    let owner = made.metadata().map(|about| about.uid());
    std::fs::remove_file(&path)?;
    owner
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in_use(taken: Result<Lock, OpenError>) -> bool {
        matches!(taken, Err(OpenError::InUse { .. }))
    }

    #[test]
    fn a_directory_is_taken_once_whatever_becomes_of_the_file() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let (dir, path) = (dir.path(), dir.path().join(LOCK));
        let lock = Lock::take(dir).expect("nobody has it");
        assert!(is_in_use(Lock::take(dir)));
        std::fs::remove_file(&path).expect("it is there");
        assert!(is_in_use(Lock::take(dir)));
        assert!(!path.exists(), "who is refused makes nothing");
        lock.check_in_place().expect("it is made again");
        assert!(path.exists());
        drop(lock);
        Lock::take(dir).expect("nobody has it any more");
    }

    /// An earlier release locks the file alone, and on some file systems a directory can't be locked.
    #[test]
    fn a_bridge_stops_writing_once_another_process_has_locked_a_file_in_place_of_its_own() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let (dir, path) = (dir.path(), dir.path().join(LOCK));
        let lock = Lock::take(dir).expect("nobody has it");
        std::fs::remove_file(&path).expect("it is there");
        let (other, _) = lock_file(dir).expect("it is another file");
        let refused = lock.check_in_place().expect_err("somebody else has it");
        assert!(refused.to_string().contains("in use by another process"));
        drop(other);
        lock.check_in_place().expect("it is ours again");
        assert!(lock_file(dir).is_err());
    }
}
