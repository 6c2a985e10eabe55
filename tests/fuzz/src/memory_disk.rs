//! A disk in memory, on which nothing goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use minchat_bridge::spool::Disk;
use minchat_bridge::spool::disk::{DiskFile, Identity, Space};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files by their paths.
#[derive(Default)]
pub struct MemoryDisk {
    dirs: Mutex<BTreeSet<PathBuf>>,
    files: Mutex<BTreeMap<PathBuf, Bytes>>,
}

impl MemoryDisk {
    /// Puts a file there, in a directory that is made with it.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.locked_dirs().extend(path.parent().map(Path::to_owned));
        let bytes = Arc::new(Mutex::new(bytes));
        self.locked_files().insert(path.to_owned(), bytes);
    }

    fn locked_dirs(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.dirs.lock().expect("nobody panics with it")
    }

    fn locked_files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Bytes>> {
        self.files.lock().expect("nobody panics with it")
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.locked_dirs().insert(dir.to_owned());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let (dirs, files) = (self.locked_dirs(), self.locked_files());
        if !dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = dirs.iter().chain(files.keys());
        let inside = inside.filter(|path| path.parent() == Some(dir));
        let names =
            inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Ok(names.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.locked_files().contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.put(path, Vec::new());
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let files = self.locked_files();
        let bytes = files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile(Arc::clone(bytes))))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.locked_files().remove(path);
        removed.map(drop).ok_or(ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.locked_files();
        let bytes = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.open(path)?.length()
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.open(path)?.identity()
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.locked_dirs().remove(dir);
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let (total, free) = (1 << 40, 1 << 39);
        Ok(Space { total, free })
    }
}

struct MemoryFile(Bytes);

impl MemoryFile {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let count = buffer.len().min(bytes.len() - at);
        buffer[..count].copy_from_slice(&bytes[at..at + count]);
        Ok(count)
    }

    fn write_at(&self, written: &[u8], at: u64) -> io::Result<()> {
        let mut bytes = self.bytes();
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let end = (at + written.len()).max(bytes.len());
        bytes.resize(end, 0);
        bytes[at..at + written.len()].copy_from_slice(written);
        Ok(())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.bytes().resize(length, 0);
        Ok(())
    }

    fn identity(&self) -> io::Result<Identity> {
        // The address of what is shared: another file has another one as long as this is open.
        let inode = Arc::as_ptr(&self.0).addr() as u64;
        Ok(Identity { device: 0, inode })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
