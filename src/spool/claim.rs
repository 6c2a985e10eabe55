//! A spool that no bridge works in, to take something out of it for good.

use std::path::{Path, PathBuf};

use super::disk::RealDisk;
use super::error::OpenError;
use super::inspect::Inspected;
use super::lock::Lock;
use super::recovery::clear;

/// The directory of a spool, which no bridge can take as long as this lives.
#[derive(Debug)]
pub struct Claim {
    dir: PathBuf,
    _lock: Lock,
}

impl Claim {
    /// Takes the directory. One that is not there is made.
    ///
    /// # Errors
    /// When a bridge works in it, it belongs to another user, or the disk fails.
    pub fn take(dir: &Path) -> Result<Claim, OpenError> {
        Ok(Claim {
            _lock: Lock::take(dir)?,
            dir: dir.to_owned(),
        })
    }

    /// Gives up all that a queue of this spool holds: its directory is removed.
    ///
    /// # Errors
    /// When the disk fails. What is left then is a whole queue that begins later, or none.
    pub fn discard(&self, queue: &Inspected) -> Result<(), OpenError> {
        clear(&RealDisk, &self.dir, &queue.dir).map_err(|error| OpenError::io(&queue.dir, error))
    }
}
