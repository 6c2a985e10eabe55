//! The files that a configuration is read from, and what they were like then.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::regular_file;

/// More bytes than any configuration or file of credentials has.
const MAX_FILE: u64 = 1 << 20;

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

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same file as it is now.
    #[must_use]
    pub fn now(&self) -> Self {
        Self::about_to_read(&self.path)
    }
}

/// Reads a whole text file. The error says what is wrong, as the end of a sentence that begins with the file's name.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    regular_file::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("can't be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
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
