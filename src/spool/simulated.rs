//! A disk in memory that does what real ones do at their worst: it loses, tears and reorders what
//! was not synced when the power goes, it fills up, fails, forgets what a failed sync should have
//! written, and its bits flip.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;

use super::disk::{Disk, DiskFile, Identity, Space};

/// The least that a disk writes whole, in bytes.
const SECTOR: usize = 512;

/// See the module. A clone is the same disk.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    open_files: AtomicUsize,
}

struct State {
    rng: Rng,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    live: Names,
    durable: Names,
    /// Entries of directories that were made or removed since these were synced.
    unsynced: Vec<(PathBuf, Entry)>,
    faults: Faults,
    /// How many of a thousand files can't be opened, and directories not be listed.
    opens_that_fail: u32,
    has_forgotten: bool,
    total: u64,
}

#[derive(Clone, Default)]
struct Names {
    dirs: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, u64>,
}

#[derive(Clone)]
enum Entry {
    Dir(PathBuf),
    NoDir(PathBuf),
    File(PathBuf, u64),
    NoFile(PathBuf),
    /// In one step: both names change, or neither.
    Renamed(PathBuf, PathBuf, u64),
}

#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    live: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

/// What goes wrong: how many of a thousand calls fail.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) reads: u32,
    pub(crate) writes: u32,
    pub(crate) syncs: u32,
    pub(crate) others: u32,
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64, total: u64) -> Self {
        let state = Mutex::new(State {
            rng: Rng::with_seed(seed),
            files: BTreeMap::new(),
            next_file: 0,
            live: Names::default(),
            durable: Names::default(),
            unsynced: Vec::new(),
            faults: Faults::default(),
            opens_that_fail: 0,
            has_forgotten: false,
            total,
        });
        SimulatedDisk(Arc::new(Shared {
            state,
            open_files: AtomicUsize::new(0),
        }))
    }

    /// How many files are open now.
    pub(crate) fn open_files(&self) -> usize {
        self.0.open_files.load(Ordering::Relaxed)
    }

    pub(crate) fn fail(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// How many of a thousand files can't be opened from now on, and directories not be listed.
    pub(crate) fn fail_opens(&self, of_a_thousand: u32) {
        self.lock().opens_that_fail = of_a_thousand;
    }

    /// How large the disk is from now on.
    pub(crate) fn resize(&self, total: u64) {
        self.lock().total = total;
    }

    /// The power goes, and comes back.
    pub(crate) fn crash(&self) {
        self.lock().crash();
    }

    /// Flips some bits of some file; none if there is no file with something in it.
    pub(crate) fn flip_bits(&self) -> Option<PathBuf> {
        self.lock().flip_bits()
    }

    /// Flips one bit of some file. Which file, and which of its bytes.
    pub(crate) fn flip_a_bit(&self) -> (PathBuf, usize) {
        self.lock().flip_a_bit()
    }

    /// Whether a sync has failed: what it should have written may be read, and be gone after a crash
    /// all the same.
    pub(crate) fn has_forgotten(&self) -> bool {
        self.lock().has_forgotten
    }

    /// The files that are there, but for those in this directory.
    pub(crate) fn files_outside(&self, dir: &Path) -> Vec<PathBuf> {
        let state = self.lock();
        let files = state.live.files.keys();
        files
            .filter(|path| !path.starts_with(dir))
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics with it")
    }
}

impl State {
    fn breaks(&mut self, of_a_thousand: u32) -> bool {
        of_a_thousand > 0 && self.rng.u32(..1000) < of_a_thousand
    }

    fn others_break(&mut self) -> io::Result<()> {
        let of_a_thousand = self.faults.others;
        match self.breaks(of_a_thousand) {
            true => Err(io::Error::other("simulated")),
            false => Ok(()),
        }
    }

    fn opens_break(&mut self) -> io::Result<()> {
        let of_a_thousand = self.opens_that_fail;
        match self.breaks(of_a_thousand) {
            true => Err(io::Error::other("simulated")),
            false => Ok(()),
        }
    }

    fn free(&self) -> u64 {
        let used: usize = self
            .live
            .files
            .values()
            .map(|file| self.files[file].live.len())
            .sum();
        self.total.saturating_sub(used as u64)
    }

    fn enter(&mut self, dir: &Path, entry: Entry) {
        self.live.enter(&entry);
        self.unsynced.push((dir.to_owned(), entry));
    }

    fn sync_dir(&mut self, dir: &Path) {
        for (of, entry) in std::mem::take(&mut self.unsynced) {
            match of == dir {
                true => self.durable.enter(&entry),
                false => self.unsynced.push((of, entry)),
            }
        }
    }

    fn crash(&mut self) {
        for (_, entry) in std::mem::take(&mut self.unsynced) {
            if self.rng.bool() {
                self.durable.enter(&entry);
            }
        }
        // Without its entry in the directory above, nothing below a directory is found again.
        let Names { dirs, files } = &mut self.durable;
        let known = dirs.clone();
        let is_found = |path: &Path| {
            let mut above = path.ancestors().skip(1);
            above.all(|dir| dir == Path::new("/") || known.contains(dir))
        };
        dirs.retain(|dir| is_found(dir));
        files.retain(|path, _| is_found(path));
        self.live = self.durable.clone();
        let named: BTreeSet<u64> = self.live.files.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
        for content in self.files.values_mut() {
            content.lose_power(&mut self.rng);
        }
    }

    fn flip_a_bit(&mut self) -> (PathBuf, usize) {
        let bytes = |file: &u64| self.files[file].live.len();
        let all: usize = self.live.files.values().map(bytes).sum();
        let mut at = self.rng.usize(..all);
        let bit = self.rng.u32(..8);
        for (path, file) in &self.live.files {
            let content = self.files.get_mut(file).expect("it has a name");
            if at < content.live.len() {
                content.live[at] ^= 1 << bit;
                content.durable.clone_from(&content.live);
                content.unsynced.clear();
                return (path.clone(), at);
            }
            at -= content.live.len();
        }
        unreachable!("the place is within all of them")
    }

    fn flip_bits(&mut self) -> Option<PathBuf> {
        let full: Vec<_> = self
            .live
            .files
            .iter()
            .filter(|(_, file)| !self.files[*file].durable.is_empty())
            .collect();
        let (path, file) = self.rng.choice(full)?;
        let (path, file) = (path.clone(), *file);
        let content = self.files.get_mut(&file).expect("it was just found");
        let at = self.rng.usize(..content.durable.len());
        let length = self.rng.usize(1..64).min(content.durable.len() - at);
        for byte in &mut content.durable[at..at + length] {
            *byte ^= 1 << self.rng.u32(..8);
        }
        content.live = content.durable.clone();
        Some(path)
    }

    fn content(&mut self, file: u64) -> &mut Content {
        self.files
            .get_mut(&file)
            .expect("an open file keeps its content")
    }
}

impl Names {
    fn enter(&mut self, entry: &Entry) {
        match entry {
            Entry::Dir(path) => drop(self.dirs.insert(path.clone())),
            Entry::NoDir(path) => drop(self.dirs.remove(path)),
            Entry::File(path, file) => drop(self.files.insert(path.clone(), *file)),
            Entry::NoFile(path) => drop(self.files.remove(path)),
            Entry::Renamed(from, to, file) => {
                self.files.remove(from);
                self.files.insert(to.clone(), *file);
            }
        }
    }
}

impl Content {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Cut(length) => bytes.resize(*length, 0),
            Change::Write(at, written) => {
                if bytes.len() < at + written.len() {
                    bytes.resize(at + written.len(), 0);
                }
                bytes[*at..at + written.len()].copy_from_slice(written);
            }
        }
    }

    fn change(&mut self, change: Change) {
        Self::apply(&mut self.live, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            Self::apply(&mut self.durable, &change);
        }
    }

    /// Each change that was not synced is there, or not, or some of its sectors are.
    fn lose_power(&mut self, rng: &mut Rng) {
        for change in std::mem::take(&mut self.unsynced) {
            match (rng.u32(..3), change) {
                (0, _) => {}
                (1, Change::Write(at, bytes)) => {
                    for (place, sector) in bytes.chunks(SECTOR).enumerate() {
                        if rng.bool() {
                            let torn = Change::Write(at + place * SECTOR, sector.to_vec());
                            Self::apply(&mut self.durable, &torn);
                        }
                    }
                }
                (_, change) => Self::apply(&mut self.durable, &change),
            }
        }
        self.live = self.durable.clone();
    }

    /// A sync failed: what it should have written is written or not, and nobody will try again.
    fn fail_to_sync(&mut self, rng: &mut Rng) {
        let seen = std::mem::take(&mut self.live);
        self.lose_power(rng);
        if rng.bool() {
            self.live = seen;
        }
    }
}

fn not_there() -> io::Error {
    io::Error::from(ErrorKind::NotFound)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.others_break()?;
        let above: Vec<&Path> = dir.ancestors().collect();
        for dir in above.into_iter().rev().skip(1) {
            if !state.live.dirs.contains(dir) {
                state.enter(parent(dir), Entry::Dir(dir.to_owned()));
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.opens_break()?;
        if !state.live.dirs.contains(dir) {
            return Err(not_there());
        }
        let all = state.live.dirs.iter().chain(state.live.files.keys());
        let inside = all.filter(|path| path.parent() == Some(dir));
        let names =
            inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        Ok(names.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.others_break()?;
        if state.live.files.contains_key(path) {
            return Err(io::Error::from(ErrorKind::AlreadyExists));
        }
        if !state.live.dirs.contains(parent(path)) {
            return Err(not_there());
        }
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Content::default());
        state.enter(parent(path), Entry::File(path.to_owned(), file));
        Ok(SimulatedFile::new(self, file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.opens_break()?;
        let file = *state.live.files.get(path).ok_or_else(not_there)?;
        drop(state);
        Ok(SimulatedFile::new(self, file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.others_break()?;
        if !state.live.files.contains_key(path) {
            return Err(not_there());
        }
        state.enter(parent(path), Entry::NoFile(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.others_break()?;
        let file = *state.live.files.get(from).ok_or_else(not_there)?;
        if !state.live.dirs.contains(parent(to)) {
            return Err(not_there());
        }
        let entry = Entry::Renamed(from.to_owned(), to.to_owned(), file);
        state.enter(parent(to), entry);
        Ok(())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.open(path)?.length()
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.open(path)?.identity()
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.others_break()?;
        if state
            .live
            .files
            .keys()
            .any(|path| path.parent() == Some(dir))
        {
            return Err(io::Error::from(ErrorKind::DirectoryNotEmpty));
        }
        state.enter(parent(dir), Entry::NoDir(dir.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.others_break()?;
        state.sync_dir(dir);
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let state = self.lock();
        Ok(Space {
            total: state.total,
            free: state.free(),
        })
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    file: u64,
}

impl SimulatedFile {
    fn new(disk: &SimulatedDisk, file: u64) -> Arc<Self> {
        disk.0.open_files.fetch_add(1, Ordering::Relaxed);
        Arc::new(SimulatedFile {
            disk: disk.clone(),
            file,
        })
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.disk.0.open_files.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.lock().content(self.file).live.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let of_a_thousand = state.faults.reads;
        if state.breaks(of_a_thousand) {
            return Err(io::Error::other("simulated"));
        }
        let live = &state.content(self.file).live;
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(live.len());
        let count = buffer.len().min(live.len() - at);
        buffer[..count].copy_from_slice(&live[at..at + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let at = usize::try_from(at).expect("the disk is small");
        let longer = (at + bytes.len()).saturating_sub(state.content(self.file).live.len());
        let of_a_thousand = state.faults.writes;
        let (full, breaks) = (longer as u64 > state.free(), state.breaks(of_a_thousand));
        if full || breaks {
            let some = state.rng.usize(..=bytes.len());
            if !full {
                state
                    .content(self.file)
                    .change(Change::Write(at, bytes[..some].to_vec()));
            }
            return Err(match full {
                true => io::Error::from(ErrorKind::StorageFull),
                false => io::Error::other("simulated"),
            });
        }
        state
            .content(self.file)
            .change(Change::Write(at, bytes.to_vec()));
        Ok(())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.others_break()?;
        let length = usize::try_from(length).expect("the disk is small");
        state.content(self.file).change(Change::Cut(length));
        Ok(())
    }

    fn identity(&self) -> io::Result<Identity> {
        Ok(Identity {
            device: 0,
            inode: self.file,
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let of_a_thousand = state.faults.syncs;
        if state.breaks(of_a_thousand) {
            state.has_forgotten = true;
            let mut rng = state.rng.fork();
            state.content(self.file).fail_to_sync(&mut rng);
            return Err(io::Error::other("simulated"));
        }
        state.content(self.file).sync();
        Ok(())
    }
}
