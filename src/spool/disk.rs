//! The disk, as far as the spool needs one: small, so that tests can bring another that tears, loses and fails.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::regular_file;

/// Files in directories. What is not synced may be lost, torn or out of order after a crash.
pub trait Disk: Send + Sync {
    /// Makes a directory (0700), and those above it. One that is there is no error. Nothing is synced: see [`create_synced`].
    ///
    /// # Errors
    /// As of the file system; so are those of all that follow.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    ///
    /// # Errors
    /// When there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a file (0600) that must not be there yet.
    ///
    /// # Errors
    /// When it is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file, to read and to write.
    ///
    /// # Errors
    /// When it is not there, or is no regular file: then the error's kind is `InvalidInput`.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Unlinks a file.
    ///
    /// # Errors
    /// When it is not there.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name on the same file system, in one step. A file that had this name is gone.
    ///
    /// # Errors
    /// When the file is not there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The length of the file of this name.
    ///
    /// # Errors
    /// When there is none.
    fn length(&self, path: &Path) -> io::Result<u64>;
    /// Which file has this name now.
    ///
    /// # Errors
    /// When there is none.
    fn identity(&self, path: &Path) -> io::Result<Identity>;
    /// Removes an empty directory.
    ///
    /// # Errors
    /// When it is not empty.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Syncs the entries of a directory.
    ///
    /// # Errors
    /// When it can't.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The disk that a directory is on.
    ///
    /// # Errors
    /// When it can't be asked.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// Tells one file from all others. While a file is open, no other file has its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file system that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl From<&Metadata> for Identity {
    fn from(about: &Metadata) -> Self {
        Identity {
            device: about.dev(),
            inode: about.ino(),
        }
    }
}

/// Makes a directory with all those above it, and syncs the entry of each, so that a loss of power takes none of them.
///
/// The directories above are synced also when they were there already: a crash may have come between making and
/// syncing. Those that this process may not open, or whose file system can't sync a directory, were made by somebody else.
///
/// # Errors
/// When a directory can't be made or synced.
pub fn create_synced(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.create_dir(dir)?;
    for above in dir.ancestors().skip(1) {
        let above = match above.as_os_str().is_empty() {
            true => Path::new("."),
            false => above,
        };
        match disk.sync_dir(above) {
            Err(error) if is_somebody_elses(error.kind()) => {}
            synced => synced?,
        }
    }
    Ok(())
}

fn is_somebody_elses(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// How large a disk is, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// What others than root may still take.
    pub free: u64,
}

/// Whether a file could not be opened since there is none: nothing has its name, or something that is no regular file.
pub(super) fn is_no_file(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
    )
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As of the file system; so are those of all that follow.
    fn length(&self) -> io::Result<u64>;
    /// Reads until the buffer is full or the file ends; gives how many bytes that were.
    ///
    /// # Errors
    /// When a read fails.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of it.
    ///
    /// # Errors
    /// When a write fails; some of it may be written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// When it can't.
    fn cut(&self, length: u64) -> io::Result<()>;
    /// Which file it is.
    ///
    /// # Errors
    /// When it can't be asked.
    fn identity(&self) -> io::Result<Identity>;
    /// Syncs content and length.
    ///
    /// # Errors
    /// When it can't. What was not synced before may be lost then.
    fn sync(&self) -> io::Result<()>;
}

/// The machine's file systems.
#[derive(Clone, Copy, Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(options.open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        Ok(Arc::new(regular_file::open_with(
            options.read(true).write(true),
            path,
        )?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(path.metadata()?.len())
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        Ok(Identity::from(&path.metadata()?))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // A FIFO that has the name of a directory is refused, and not waited for.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        File::from(rustix::fs::open(dir, flags, Mode::empty())?).sync_all()
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let about = rustix::fs::statvfs(dir)?;
        Ok(Space {
            total: about.f_blocks.saturating_mul(about.f_frsize),
            free: about.f_bavail.saturating_mul(about.f_frsize),
        })
    }
}

/// The machine's file systems, without writing to them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadOnlyDisk;

impl ReadOnlyDisk {
    pub(super) fn open(path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(regular_file::open(path)?))
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match FileExt::read_at(self, &mut buffer[read..], at + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn identity(&self) -> io::Result<Identity> {
        Ok(Identity::from(&self.metadata()?))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
