//! The spool against a plain queue, on a disk that does its worst.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::disk::Disk;
use super::queue::{Cursor, Name, Queue};
use super::recovery::QUARANTINE;
use super::settings::Settings;
use super::simulated::{Faults, SimulatedDisk};
use super::store::{Sizes, Store};
use super::{Batch, Refusal};
use crate::units::Percent;

const RUNS: u64 = 10_000;
const SIZES: Sizes = Sizes {
    segment: 16 * 1024,
    ahead: 2 * 1024,
};
const QUEUES: [&str; 2] = ["kafka\0minchat.message.sent.v1", "file\0events"];

/// Seeds that once failed.
const KEPT: &[u64] = &[];

/// What a queue should hold.
#[derive(Default)]
struct Expected {
    /// Every body that was tried under a number, since the queue began.
    tried: BTreeMap<u64, Vec<Vec<u8>>>,
    /// What was reported as appended, and was not lost to flipped bits.
    there: BTreeSet<u64>,
    /// What came back and had never been reported: it may be there the next time, or not.
    unreported: BTreeSet<u64>,
    /// The number behind the last.
    upto: u64,
    mark: u64,
    /// The highest mark that was ever set: a mark that seemed lost may come back.
    done: u64,
}

struct Scene {
    rng: Rng,
    disk: SimulatedDisk,
    store: Option<Store>,
    now: Instant,
    queues: [Expected; 2],
    /// Bits were flipped: what is lost by that has to be counted.
    flipped: bool,
    corrupt: u64,
}

fn settings() -> Settings {
    Settings {
        dir: PathBuf::from("/spool"),
        max_size: 512 * 1024,
        keep_free: Percent::new(0),
    }
}

fn name(place: usize) -> Name {
    Name::new(QUEUES[place]).expect("a name is short")
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut scene = Scene {
            rng: Rng::with_seed(seed),
            disk: SimulatedDisk::new(seed ^ 0x5eed, u64::MAX / 4),
            store: None,
            now: Instant::now(),
            queues: Default::default(),
            flipped: false,
            corrupt: 0,
        };
        scene.open();
        scene
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("it is open between the steps")
    }

    fn queue(&mut self, place: usize) -> Arc<Queue> {
        self.store().queue(&name(place)).1
    }

    /// Opens what is there, and holds it against what should be.
    fn open(&mut self) {
        self.disk.fail(Faults::default());
        self.disk.resize(u64::MAX / 4);
        let salt = self.rng.u64(..);
        let opened = Store::open(Arc::new(self.disk.clone()), &settings(), SIZES, salt);
        let (store, found) = opened.expect("recovery always starts");
        let found_corrupt = store.corrupt();
        self.corrupt += found_corrupt;
        self.store = Some(store);
        for place in 0..QUEUES.len() {
            let found = found.iter().find(|found| found.name == name(place));
            let (first, next) = found.map_or((0, 0), |found| (found.first, found.next));
            let numbers = self.read(place, first, next);
            let expected = &mut self.queues[place];
            let mut undone = expected.there.range(expected.done..);
            let missing: Vec<u64> = undone
                .by_ref()
                .copied()
                .filter(|number| !numbers.contains(number))
                .collect();
            let tail = numbers.last().map_or(0, |last| last + 1);
            let told =
                self.flipped && (found_corrupt > 0 || missing.iter().all(|number| *number >= tail));
            assert!(
                missing.is_empty() || told,
                "{missing:?} are lost of {}..{}",
                expected.mark,
                expected.upto
            );
            assert!(
                self.corrupt > 0 || first <= expected.done,
                "a mark that nobody set"
            );
            if found.is_none() {
                expected.tried.clear();
                expected.done = 0;
            }
            let (there, unreported) = numbers
                .into_iter()
                .partition(|number| expected.there.contains(number));
            (expected.there, expected.unreported) = (there, unreported);
            (expected.mark, expected.upto) = (first, next);
        }
        self.flipped = false;
    }

    /// Reads a queue whole, from a number on: every record is one that was once appended under its number.
    fn read(&mut self, place: usize, from: u64, next: u64) -> Vec<u64> {
        let queue = self.queue(place);
        let mut cursor = Cursor::new(queue, from);
        let mut numbers = Vec::new();
        loop {
            let read = cursor
                .read(self.rng.usize(1..5000), u64::MAX)
                .expect("reads don't fail here");
            assert!(
                read.lost == 0 || self.corrupt > 0 || self.flipped,
                "{} lost",
                read.lost
            );
            if read.records.is_empty() {
                assert!(
                    read.through >= next,
                    "it ends at {}, not {next}",
                    read.through
                );
                return numbers;
            }
            for (number, received, body) in &read.records {
                assert!(
                    numbers.last().is_none_or(|last| last < number),
                    "{number} after {numbers:?}"
                );
                let tried = self.queues[place].tried.get(number);
                assert!(
                    tried.is_some_and(|tried| tried.iter().any(|one| one == body)),
                    "{number} was never appended so"
                );
                assert_eq!(
                    *received,
                    number * 7,
                    "the receipt time goes with its record"
                );
                numbers.push(*number);
            }
        }
    }

    fn append(&mut self) {
        let mut batches = Vec::new();
        let mut ends = Vec::new();
        for place in 0..QUEUES.len() {
            if self.rng.u8(..3) == 0 {
                continue;
            }
            let store_place = self.store().queue(&name(place)).0;
            let mut batch = Batch::new();
            let first = self.queues[place].upto;
            let end = first + self.rng.u64(1..6);
            for number in first..end {
                let most = 1 << self.rng.u32(3..13);
                let mut body = vec![0; self.rng.usize(1..most)];
                self.rng.fill(&mut body);
                batch.push(number, number * 7, |bytes| bytes.extend_from_slice(&body));
                self.queues[place]
                    .tried
                    .entry(number)
                    .or_default()
                    .push(body);
            }
            batches.push((store_place, batch));
            ends.push((place, first, end));
        }
        let now = self.now;
        let outcomes = self.store().append(now, &mut batches);
        for ((place, first, end), (upto, refusal)) in ends.into_iter().zip(outcomes) {
            assert!(upto >= first && upto <= end);
            assert!(
                upto == end || refusal.is_some(),
                "what is not appended is refused"
            );
            assert!(!matches!(&refusal, Some(Refusal::Full(why)) if why.is_empty()));
            self.queues[place].there.extend(first..upto);
            self.queues[place].upto = upto;
        }
    }

    /// Some of what is there is done.
    fn mark(&mut self) {
        let place = self.rng.usize(..QUEUES.len());
        let expected = &mut self.queues[place];
        expected.mark = self.rng.u64(expected.mark..=expected.upto);
        expected.done = expected.done.max(expected.mark);
        let mark = expected.mark;
        self.queue(place).mark(mark);
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(..400));
        match self.rng.u32(..100) {
            0..50 => self.append(),
            50..70 => self.mark(),
            70..80 => {
                let all = self.rng.bool();
                // A disk that fails is tried again at the next tick.
                let _ = self.store().tick(all);
            }
            80..88 => {
                let place = self.rng.usize(..QUEUES.len());
                let (mark, upto) = (self.queues[place].mark, self.queues[place].upto);
                let numbers = self.read(place, mark, upto);
                let Expected {
                    there, unreported, ..
                } = &self.queues[place];
                let reported: Vec<u64> = numbers
                    .iter()
                    .copied()
                    .filter(|number| !unreported.contains(number))
                    .collect();
                assert!(
                    there.range(mark..).eq(&reported),
                    "{mark}..{upto}: {numbers:?}"
                );
            }
            88..91 => {
                let of = |rng: &mut Rng| if rng.bool() { rng.u32(..400) } else { 0 };
                let faults = Faults {
                    writes: of(&mut self.rng),
                    syncs: of(&mut self.rng),
                    others: of(&mut self.rng),
                };
                self.disk.fail(faults);
            }
            91..93 => self.disk.fail(Faults::default()),
            93..95 => {
                let total = self.rng.u64(..200_000);
                self.disk.resize(total);
            }
            95..97 => self.disk.resize(u64::MAX / 4),
            97 => {
                let _ = self.store().tick(true);
                self.store = None;
                self.open();
            }
            98 => {
                self.store = None;
                self.disk.crash();
                self.open();
            }
            _ => {
                self.store = None;
                self.disk.crash();
                self.flipped = self.disk.flip_bits().is_some();
                self.open();
            }
        }
    }

    /// In the end everything is done, and nothing is left.
    fn end(&mut self) {
        self.disk.fail(Faults::default());
        self.disk.resize(u64::MAX / 4);
        for place in 0..QUEUES.len() {
            let upto = self.queues[place].upto;
            self.queue(place).mark(upto);
        }
        self.store().tick(true).expect("the disk is well");
        assert!(self.store().is_empty());
        let left = self
            .disk
            .files_outside(&Path::new("/spool").join(QUARANTINE));
        assert!(left.is_empty(), "{left:?}");
    }
}

fn run(seed: u64) {
    let mut scene = Scene::new(seed);
    for _ in 0..scene.rng.u32(10..120) {
        scene.step();
    }
    scene.end();
}

#[test]
fn what_was_appended_comes_back_whatever_the_disk_does() {
    crate::seeds::each(
        KEPT,
        RUNS,
        "what_was_appended_comes_back_whatever_the_disk_does",
        run,
    );
}

#[test]
fn what_is_to_stay_free_of_the_disk_stays_free() {
    let disk = SimulatedDisk::new(1, 1 << 20);
    let settings = Settings {
        keep_free: Percent::new(50),
        max_size: 64 << 20,
        ..settings()
    };
    let opened = Store::open(Arc::new(disk.clone()), &settings, SIZES, 1);
    let (mut store, _) = opened.expect("there is nothing yet");
    let (place, _) = store.queue(&name(0));
    let append = |store: &mut Store, number: u64| {
        let mut batch = Batch::new();
        batch.push(number, 7, |bytes| bytes.extend_from_slice(&[1; 4096]));
        store
            .append(Instant::now(), &mut [(place, batch)])
            .remove(0)
    };
    let mut number = 0;
    let why = loop {
        match append(&mut store, number) {
            (_, None) => number += 1,
            (_, Some(refusal)) => break refusal.to_string(),
        }
    };
    assert!(why.contains("spool.keep_free keeps 524288"), "{why}");
    let free = disk
        .space(Path::new("/spool"))
        .expect("it can be asked")
        .free;
    assert!(
        (512 << 10..600 << 10).contains(&free),
        "{free} bytes are free"
    );
    disk.resize(4 << 20);
    assert_eq!(
        append(&mut store, number),
        (number + 1, None),
        "it goes on by itself"
    );
}
