//! One owner for a directory, which stays where it is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::disk::{Disk, Identity, RealDisk};
use super::error::OpenError;

/// Held as long as it lives; the system lets go of it when the process ends, however that is.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    path: PathBuf,
    /// Open, so that no other directory gets its identity.
    dir: File,
}

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
                let by = match read_pid(&mut file) {
                    Ok(Pid::Of(pid)) => Some(pid),
                    _ => None,
                };
                return Err(OpenError::InUse {
                    dir: dir.to_owned(),
                    by,
                });
            }
            Err(TryLockError::Error(error)) => return Err(OpenError::io(&path, error)),
        }
        let held_before = read_pid(&mut file).map_err(|error| OpenError::io(&path, error))?;
        if held_before == Pid::Foreign {
            return Err(OpenError::Foreign { path });
        }
        // For whoever is refused. That it could not be written costs them the number alone.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        Ok(Lock {
            _file: file,
            path: dir.to_owned(),
            dir: File::open(dir).map_err(|error| OpenError::io(dir, error))?,
        })
    }

    /// Whether the directory still has its name. Nothing that is written into it would be found again otherwise.
    ///
    /// # Errors
    /// When it has not.
    pub(super) fn check_in_place(&self) -> io::Result<()> {
        let ours = Identity::from(&self.dir.metadata()?);
        match RealDisk.identity(&self.path) {
            Ok(there) if there == ours => Ok(()),
            Ok(_) => Err(io::Error::other(format!(
                "{} is another directory than at the start: put the first one back, or restart the bridge",
                self.path.display()
            ))),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!(
                    "{} is gone ({error}): put it back, or restart the bridge",
                    self.path.display()
                ),
            )),
        }
    }
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
