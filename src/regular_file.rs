//! Opening files that others may have put something else in place of: those that a configuration names, and those of
//! the spool.
//!
//! Guarantees: opening such a file never waits, so that nothing can hang on what somebody put in its place: a
//! FIFO, a device or a directory is an error, of the kind `InvalidInput`.
//! Not responsible for: what is in the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading.
///
/// # Errors
/// When the file can't be opened, or is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true), path)
}

/// Opens a regular file that is there already.
///
/// # Errors
/// When the file can't be opened, or is not a regular file.
pub fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    // Opening a socket fails, and opening a device can have effects: nothing but a file is opened.
    if !path.metadata()?.is_file() {
        return Err(not_regular());
    }
    // It may be replaced meanwhile. Without the flag, opening a FIFO waits until somebody writes to it.
    let flags =
        i32::try_from(OFlags::NONBLOCK.bits()).expect("the flags of open() fit its parameter");
    let file = options.custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(not_regular()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_else_is_waited_for() {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "text").expect("there is room for a file");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("fifo"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .expect("a FIFO can be made");
        let mut text = String::new();
        open(&at("file"))
            .expect("it is a file")
            .read_to_string(&mut text)
            .expect("it can be read");
        assert_eq!(text, "text");
        for path in [at("fifo"), dir.path().to_owned(), "/dev/null".into()] {
            let error = open(&path).expect_err("it is no regular file");
            assert_eq!(error.to_string(), "it is not a regular file", "{path:?}");
        }
        assert_eq!(
            open(&at("none")).expect_err("it is not there").kind(),
            io::ErrorKind::NotFound
        );
    }
}
