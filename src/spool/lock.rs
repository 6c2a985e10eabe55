//! One owner for a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::OpenError;
use super::disk::{Disk, RealDisk};

/// Held as long as it lives; the system lets go of it when the process ends, however that is.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    /// Makes the directory its own, and the lock. A directory may belong to another user, as that
    /// of a mounted volume does; a lock may not: what lies beside it is that user's.
    pub(super) fn take(dir: &Path) -> Result<Lock, OpenError> {
        RealDisk
            .create_dir(dir)
            .map_err(|error| OpenError::io(dir, error))?;
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let mut file = options
            .open(&path)
            .map_err(|error| OpenError::io(&path, error))?;
        if let Ok(about) = file.metadata()
            && let Some(refusal) = OpenError::owner(dir, &about)
            && owner_of_new_files(dir).is_ok_and(|owner| owner != about.uid())
        {
            return Err(refusal);
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let by = file
                    .read_to_string(&mut by)
                    .ok()
                    .and_then(|_| by.trim().parse().ok());
                return Err(OpenError::InUse {
                    dir: dir.to_owned(),
                    by,
                });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::io(&path, error)),
        }
        // For whoever is refused. That it could not be written costs them the number alone.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Lock(file))
    }
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
