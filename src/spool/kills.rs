//! The spool against a kill, and against a loss of power, before and within each of its calls to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fastrand::Rng;

use super::Batch;
use super::disk::{Disk, DiskFile, Identity, Space};
use super::names::{Name, QUARANTINE};
use super::queue::{Cursor, Queue};
use super::settings::Settings;
use super::simulated::SimulatedDisk;
use super::store::{Found, Sizes, Store};
use crate::units::Percent;

/// Not one of its directories is there at first.
const ROOT: &str = "/data/bridge/spool";

const SIZES: Sizes = Sizes {
    segment: 16 * 1024,
    ahead: 2 * 1024,
};

/// A disk as a process has it that is killed at one of its calls: that one and all later ones change nothing.
#[derive(Clone)]
struct Mortal {
    disk: SimulatedDisk,
    life: Arc<Mutex<Life>>,
}

struct Life {
    /// What the process did to the disk so far.
    steps: Vec<String>,
    /// The step that it does not live to see.
    last: usize,
    /// A write that it is killed in is done in part.
    within: bool,
}

impl Mortal {
    fn new(disk: &SimulatedDisk, last: usize, within: bool) -> Self {
        Mortal {
            disk: disk.clone(),
            life: Arc::new(Mutex::new(Life {
                steps: Vec::new(),
                last,
                within,
            })),
        }
    }

    fn step(&self, what: &str, path: &Path) -> io::Result<()> {
        let mut life = self.life.lock().expect("nobody panics with it");
        let name = path.extension().or(path.file_name()).unwrap_or_default();
        life.steps.push(format!("{what} {}", name.display()));
        match life.steps.len() > life.last {
            true => Err(io::Error::other("killed")),
            false => Ok(()),
        }
    }

    /// Whether this is the write that it is killed in.
    fn dies_within(&self) -> bool {
        let life = self.life.lock().expect("nobody panics with it");
        life.within && life.steps.len() == life.last + 1
    }

    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MortalFile {
            disk: self.clone(),
            path: path.to_owned(),
            file,
        })
    }
}

impl Disk for Mortal {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.step("make", Path::new("directory"))?;
        self.disk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.step("make", path)?;
        Ok(self.file(path, self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step("unlink", path)?;
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step("rename", from)?;
        self.disk.rename(from, to)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.disk.length(path)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.disk.identity(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.step("unlink", Path::new("directory"))?;
        self.disk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step("sync", Path::new("directory"))?;
        self.disk.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.disk.space(dir)
    }
}

struct MortalFile {
    disk: Mortal,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for MortalFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let lives = self.disk.step("write", &self.path);
        if lives.is_err() && self.disk.dies_within() {
            self.file.write_at(&bytes[..bytes.len() / 2], at)?;
        }
        lives.and_then(|()| self.file.write_at(bytes, at))
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.disk.step("cut", &self.path)?;
        self.file.cut(length)
    }

    fn identity(&self) -> io::Result<Identity> {
        self.file.identity()
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step("sync", &self.path)?;
        self.file.sync()
    }
}

/// What the spool promised.
#[derive(Default)]
struct Promised {
    /// Reported as appended.
    there: BTreeSet<u64>,
    /// All below were said to be done.
    mark: u64,
}

fn body(number: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(number);
    let length = 1 << rng.u32(3..12);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// A spool in its directory, as its writer has it.
struct Open {
    store: Store,
    place: usize,
    queue: Arc<Queue>,
    next: u64,
}

impl Open {
    /// Opens what is there; none if it was killed meanwhile.
    fn new(disk: &Mortal) -> Option<(Self, Option<Found>)> {
        let settings = Settings {
            dir: PathBuf::from(ROOT),
            max_size: 1 << 20,
            keep_free: Percent::new(0),
        };
        let (mut store, found) = Store::open(Arc::new(disk.clone()), &settings, SIZES, 27).ok()?;
        let name = Name::new("kafka\0minchat.message.sent.v1").expect("it is short");
        let (place, queue) = store.queue(&name);
        let found = found.into_iter().next();
        let next = found.as_ref().map_or(0, |found| found.next);
        let open = Open {
            store,
            place,
            queue,
            next,
        };
        Some((open, found))
    }

    fn append(&mut self, count: u64, promised: &mut Promised) {
        let mut batch = Batch::new();
        let first = self.next;
        for number in first..first + count {
            batch.push(number, number, |bytes| {
                bytes.extend_from_slice(&body(number))
            });
        }
        let batches = &mut [(self.place, batch)];
        let (upto, _) = self.store.append(Instant::now(), batches).remove(0);
        promised.there.extend(first..upto);
        self.next = upto;
    }

    /// The next piece of the backlog is read and published, so that it is done.
    fn drain(&mut self, upto: u64, promised: &mut Promised) {
        let numbers = self.read(promised.mark, upto);
        promised.mark = numbers.last().map_or(promised.mark, |last| last + 1);
        self.queue.mark(promised.mark);
        // The next tick finds what a dead disk left undone.
        let _ = self.store.tick(true);
    }

    /// The numbers from this one on and below the other, each with its own body.
    fn read(&self, from: u64, below: u64) -> Vec<u64> {
        let mut cursor = Cursor::new(Arc::clone(&self.queue), from);
        let mut numbers = Vec::new();
        loop {
            let read = cursor.read(3000, below).expect("reads don't fail here");
            assert_eq!(read.lost, 0);
            if read.records.is_empty() {
                return numbers;
            }
            for (number, _, read) in read.records {
                assert_eq!(read, body(number), "{number}");
                numbers.push(number);
            }
        }
    }
}

/// A life in which everything is done that a spool does.
fn live(disk: &Mortal) -> Promised {
    let mut promised = Promised::default();
    let Some((mut open, _)) = Open::new(disk) else {
        return promised;
    };
    for _ in 0..6 {
        open.append(12, &mut promised);
    }
    open.drain(10, &mut promised);
    open.drain(40, &mut promised);
    open.append(12, &mut promised);
    open.drain(u64::MAX, &mut promised);
    // The queue is gone, and begins anew.
    open.append(12, &mut promised);
    open.drain(90, &mut promised);
    promised
}

/// What is there for the next process.
fn assert_all_is_there(disk: &SimulatedDisk, mut promised: Promised, what: &str) {
    let mortal = Mortal::new(disk, usize::MAX, false);
    let (mut open, found) = Open::new(&mortal).expect("recovery always starts");
    assert_eq!(open.store.corrupt(), 0, "{what}");
    let first = found.map_or(open.next.min(promised.mark), |found| found.first);
    assert!(first <= promised.mark, "{what}: a mark that nobody set");
    let numbers = open.read(first, u64::MAX);
    assert!(
        numbers.is_sorted_by(|before, after| before < after),
        "{what}"
    );
    let there: BTreeSet<u64> = numbers.into_iter().collect();
    let lost: Vec<_> = promised
        .there
        .range(promised.mark..)
        .filter(|number| !there.contains(number))
        .collect();
    assert!(lost.is_empty(), "{what}: {lost:?} are lost");
    // It goes on, and ends empty.
    promised.mark = first;
    open.append(3, &mut promised);
    open.drain(u64::MAX, &mut promised);
    assert!(open.store.is_empty(), "{what}");
    let left = disk.files_outside(&Path::new(ROOT).join(QUARANTINE));
    assert!(left.is_empty(), "{what}: {left:?}");
}

/// The row: a fail point at each step.
#[test]
fn row_27_a_kill_at_any_step_of_the_spool_loses_nothing() {
    let whole = Mortal::new(&SimulatedDisk::new(27, u64::MAX / 4), usize::MAX, false);
    live(&whole);
    let steps = whole
        .life
        .lock()
        .expect("nobody panics with it")
        .steps
        .clone();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for step in &steps {
        *kinds.entry(step).or_default() += 1;
    }
    println!("{kinds:?}");
    // Rotating, compacting marks, unlinking.
    for kind in [
        "make seg",
        "sync seg",
        "write mark",
        "sync mark",
        "unlink seg",
    ] {
        assert!(kinds.get(kind).is_some_and(|count| *count >= 3), "{kind}");
    }
    for kind in [
        "make mark",
        "unlink mark",
        "unlink directory",
        "sync directory",
    ] {
        assert!(kinds.contains_key(kind), "{kind}");
    }
    for (last, step) in steps.iter().enumerate() {
        for (within, seeds) in [(false, 0..1), (true, 0..1), (false, 1..6)] {
            for seed in seeds {
                let what = format!("at {last} ({step}), within {within}, seed {seed}");
                let disk = SimulatedDisk::new(seed, u64::MAX / 4);
                let promised = live(&Mortal::new(&disk, last, within));
                if seed > 0 {
                    disk.crash();
                }
                assert_all_is_there(&disk, promised, &what);
            }
        }
    }
}
