//! What can stand in the way: of opening a spool, and of appending to it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::format::VERSION;

/// Why a spool can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory or a file can't be had.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process has it.
    #[error("{}: {}", dir.display(), in_use(*by))]
    InUse {
        /// The directory of the spool.
        dir: PathBuf,
        /// The other process, if it told.
        by: Option<u32>,
    },
    /// Another user has it.
    #[error("{}: belongs to another user (uid {owner}; this process has uid {us})", path.display())]
    Owner {
        /// The directory or file.
        path: PathBuf,
        /// That user.
        owner: u32,
        /// The user of this process.
        us: u32,
    },
    /// A file of the lock's name that this program did not make.
    #[error("{}: this file is no lock of a spool; choose another directory for spool.dir", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later release wrote it.
    #[error("{}: written by a later release, in version {version} of the format; this one reads up to {VERSION}", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

fn in_use(by: Option<u32>) -> String {
    match by {
        Some(pid) => format!("in use by another process ({pid})"),
        None => "in use by another process".to_owned(),
    }
}

impl OpenError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        // What can't be asked, or is not there, is in the hands of the directory above.
        let mut there = path.ancestors().filter_map(|path| path.metadata().ok());
        let refusal = there
            .next()
            .filter(|_| is_denied)
            .and_then(|about| OpenError::owner(path, &about));
        refusal.unwrap_or_else(|| OpenError::Io {
            path: path.to_owned(),
            error,
        })
    }

    /// The refusal, if what this is about is another user's.
    pub(super) fn owner(path: &Path, about: &Metadata) -> Option<Self> {
        let (owner, us) = (about.uid(), rustix::process::geteuid().as_raw());
        (owner != us).then(|| OpenError::Owner {
            path: path.to_owned(),
            owner,
            us,
        })
    }
}

/// Why records were not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room for more.
    Full(String),
    /// The disk fails.
    Disk(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Full(why) => write!(f, "the spool is full: {why}"),
            Refusal::Disk(why) => write!(f, "the spool's disk fails: {why}"),
        }
    }
}
