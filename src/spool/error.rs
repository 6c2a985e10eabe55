//! What can stand in the way: of opening a spool, and of appending to it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::format::VERSION;

/// Why a spool can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory or a file can't be had. The error says which.
    #[error("{0}")]
    Io(io::Error),
    /// There is no such directory, or it holds other things and no spool.
    #[error("there is no spool at {}", dir.display())]
    Absent {
        /// The directory.
        dir: PathBuf,
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
    #[error("{}: this file is no lock of a spool; {}", path.display(), advice(*has_queues))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Queues of a spool lie beside it.
        has_queues: bool,
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
    let by = by.map_or_else(String::new, |pid| format!(" ({pid})"));
    format!(
        "in use by another process{by}: removing the file `lock` does not help, since the directory itself is locked; \
         stop that process, or choose another directory for spool.dir"
    )
}

const fn advice(has_queues: bool) -> &'static str {
    match has_queues {
        true => {
            "queues of a spool lie beside it, whose events were acknowledged: move this file elsewhere and try again; \
             the events stay"
        }
        false => "choose another directory for spool.dir",
    }
}

/// An error whose text says which file or directory it is about.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Located(String);

/// An error of this text, which says which file or directory it is about.
pub(super) fn located(kind: io::ErrorKind, text: String) -> io::Error {
    io::Error::new(kind, Located(text))
}

/// The error with the path before its text, unless it says already what it is about.
pub(super) fn at(path: &Path, error: io::Error) -> io::Error {
    let inner = error.get_ref();
    match inner.is_some_and(|inner| inner.is::<Located>()) {
        true => error,
        false => located(error.kind(), format!("{}: {error}", path.display())),
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
        refusal.unwrap_or_else(|| OpenError::Io(at(path, error)))
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
