//! The last place for a dead letter: a file of its own, for what its destination will never take.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::envelope::Event;

/// A directory of dead letters, one file each, bounded in size.
#[derive(Debug)]
pub struct KeptDeadLetters {
    dir: PathBuf,
    max_size: u64,
}

impl KeptDeadLetters {
    /// Keeps them under `dir`, at most `max_size` bytes together. The directory is made when it is needed.
    pub fn new(dir: PathBuf, max_size: u64) -> Self {
        KeptDeadLetters { dir, max_size }
    }

    /// Whether the dead letter is on disk now, synced.
    pub(super) fn keep(&self, dead_letter: &Event) -> bool {
        let path = self.dir.join(format!("{}.json", dead_letter.id()));
        match self.write(&path, dead_letter.envelope()) {
            Ok(()) => {
                tracing::error!(path = %path.display(), "no destination takes this dead letter: it is kept as a file");
                true
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a dead letter can't be kept as a file; trying again");
                false
            }
        }
    }

    fn write(&self, path: &Path, envelope: &[u8]) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        let taken: u64 = fs::read_dir(&self.dir)?
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .map(|m| m.len())
            .sum();
        if taken + envelope.len() as u64 > self.max_size {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "spool.max_size is reached",
            ));
        }
        let draft = path.with_extension("tmp");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(envelope)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(&self.dir)?.sync_all()
    }
}
