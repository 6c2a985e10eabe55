//! The files that a configuration was read from, and what they were like then.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFile {
    path: PathBuf,
    stamp: Option<Stamp>,
}

/// Which file a path leads to, and when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl ReadFile {
    /// To be called before the file is read, so that no later change goes unseen.
    pub(super) fn about_to_read(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            stamp: Stamp::of(path),
        }
    }

    /// The same file as it is now.
    #[must_use]
    pub fn now(&self) -> Self {
        Self::about_to_read(&self.path)
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_is_swapped_is_a_change_of_what_it_leads_to() {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["..1", "..2"] {
            fs::create_dir(at(name)).expect("it can be made");
            fs::write(at(name).join("token"), "same size").expect("it can be written");
        }
        symlink("..1", at("..data")).expect("it can be made");
        symlink("..data/token", at("token")).expect("it can be made");
        let read = ReadFile::about_to_read(&at("token"));
        assert_eq!(read.now(), read);
        symlink("..2", at("..data_tmp")).expect("it can be made");
        fs::rename(at("..data_tmp"), at("..data")).expect("it can be renamed");
        assert_ne!(read.now(), read);
        let swapped = read.now();
        fs::remove_file(at("..data")).expect("it is there");
        assert_ne!(read.now(), swapped);
    }
}
