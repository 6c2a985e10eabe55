//! The spool against a plain queue, on a disk that does its worst.

mod reading;
mod recovering;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::disk::{Disk, create_synced};
use super::format::{HEADER, Header, PAGE, record_len};
use super::names::{DEAD_LETTERS, Name, QUARANTINE, segments};
use super::queue::{Cursor, Queue};
use super::recovery::whole;
use super::settings::Settings;
use super::simulated::{Faults, SimulatedDisk};
use super::store::{Found, Sizes, Store};
use super::{Batch, Refusal};
use crate::units::Percent;

/// Not one of its directories is there at first.
const ROOT: &str = "/data/bridge/spool";
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
        dir: PathBuf::from(ROOT),
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

    /// Asks whether a record would be refused, which changes nothing that is there.
    fn ask(&mut self) {
        let place = self.rng.usize(..QUEUES.len());
        let (now, bytes) = (self.now, self.rng.u64(..10_000));
        let place = self.store().queue(&name(place)).0;
        let refusal = self.store().refuses(now, place, bytes);
        assert!(!matches!(&refusal, Some(Refusal::Full(why)) if why.is_empty()));
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(..400));
        match self.rng.u32(..100) {
            0..40 => self.append(),
            40..50 => self.ask(),
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
                    reads: 0,
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
        let left = self.disk.files_outside(&Path::new(ROOT).join(QUARANTINE));
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

/// A spool with one queue, and what it needs to be used.
struct OneQueue {
    disk: SimulatedDisk,
    store: Store,
    place: usize,
    queue: Arc<Queue>,
    found: Option<Found>,
}

impl OneQueue {
    fn open(disk: &SimulatedDisk) -> Self {
        Self::open_with(disk, &settings(), SIZES)
    }

    fn open_with(disk: &SimulatedDisk, settings: &Settings, sizes: Sizes) -> Self {
        let opened = Store::open(Arc::new(disk.clone()), settings, sizes, 7);
        let (mut store, found) = opened.expect("recovery always starts");
        let (place, queue) = store.queue(&name(0));
        OneQueue {
            disk: disk.clone(),
            store,
            place,
            queue,
            found: found.into_iter().next(),
        }
    }

    /// Appends records whose bodies have this length.
    fn append(&mut self, numbers: std::ops::Range<u64>, body: usize) {
        let mut batch = Batch::new();
        for number in numbers.clone() {
            batch.push(number, number, |bytes| bytes.resize(bytes.len() + body, 7));
        }
        let appended = self
            .store
            .append(Instant::now(), &mut [(self.place, batch)]);
        assert_eq!(appended, [(numbers.end, None)]);
    }

    /// The numbers that can be read from this one on, and how many others there should be.
    fn read(&self, from: u64) -> (BTreeSet<u64>, u64) {
        let mut cursor = Cursor::new(Arc::clone(&self.queue), from);
        let (mut numbers, mut lost) = (BTreeSet::new(), 0);
        loop {
            let read = cursor.read(3000, u64::MAX).expect("reads don't fail here");
            lost += read.lost;
            if read.records.is_empty() && read.lost == 0 {
                return (numbers, lost);
            }
            numbers.extend(read.records.iter().map(|record| record.0));
        }
    }
}

/// What the files in the quarantine hold, in the order of their names.
fn set_aside(disk: &SimulatedDisk) -> Vec<Vec<u8>> {
    let dir = Path::new(ROOT).join(QUARANTINE);
    let files = disk.files_outside(&Path::new(ROOT).join(name(0).directory()));
    let files = files.iter().filter(|path| path.starts_with(&dir));
    let opened = files.map(|path| disk.open(path).expect("it is there"));
    opened
        .map(|file| whole(&*file).expect("it can be read"))
        .collect()
}

const RECORDS: u64 = 40;

/// What is left after a run that ended in order.
fn left_behind(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed, u64::MAX / 4);
    let mut run = OneQueue::open(&disk);
    for first in (0..RECORDS).step_by(4) {
        run.append(first..first + 4, 500);
    }
    run.store.tick(true).expect("the disk is well");
    disk
}

#[test]
fn a_flipped_bit_costs_at_most_the_record_that_it_hit_and_is_counted() {
    for seed in 0..3000 {
        let disk = left_behind(seed);
        let (path, at) = disk.flip_a_bit();
        let next = OneQueue::open(&disk);
        let (numbers, lost) = next.read(0);
        let missing = RECORDS - numbers.len() as u64;
        let what = format!("seed {seed}, {} at {at}", path.display());
        assert_eq!(lost, missing, "{what}");
        let in_a_record = path.extension().is_some_and(|it| it == "seg") && at >= HEADER;
        assert!(
            missing <= u64::from(in_a_record),
            "{what}: {missing} are missing"
        );
        let is_header = path.extension().is_some_and(|it| it == "seg") && at < HEADER;
        let is_counted = missing > 0 || is_header;
        assert_eq!(next.store.corrupt() > 0, is_counted, "{what}");
        assert_eq!(next.found.map(|found| found.next), Some(RECORDS), "{what}");
    }
}

#[test]
fn a_bit_that_flips_in_a_segment_of_the_first_version_costs_no_more_than_it_must() {
    for seed in 0..1000 {
        let disk = left_behind(seed);
        to_first_version(&disk);
        let dir = Path::new(ROOT).join(name(0).directory());
        let names = disk.list(&dir).expect("it is there");
        let (_, last) = segments(&names, &dir).pop().expect("there are some");
        let (path, at) = disk.flip_a_bit();
        let is_segment = path.extension().is_some_and(|it| it == "seg");
        // Its salt and its name stand nowhere else, and nothing says that the last write was whole.
        let is_last = path == last;
        let is_alone = (16..24).contains(&at) || (32..34 + QUEUES[0].len()).contains(&at);
        if is_segment && is_alone {
            continue;
        }
        let (numbers, _) = OneQueue::open(&disk).read(0);
        let missing = RECORDS - numbers.len() as u64;
        let what = format!("seed {seed}, {} at {at}", path.display());
        let most = if is_last { 4 } else { 1 };
        assert!(missing <= most, "{what}: {missing} are missing");
        assert!(missing == 0 || at >= PAGE, "{what}");
    }
}

/// Makes the segments and marks of a queue what earlier releases wrote.
fn to_first_version(disk: &SimulatedDisk) {
    let dir = Path::new(ROOT).join(name(0).directory());
    for file in disk.list(&dir).expect("it is there") {
        let file = disk.open(&dir.join(&file)).expect("it is there");
        let bytes = whole(&*file).expect("it can be read");
        let bytes = match Header::read(&bytes) {
            Ok(read) => [&read.header.page(1), &bytes[HEADER..]].concat(),
            Err(_) => bytes[..2 * PAGE].to_vec(),
        };
        file.cut(0).expect("the disk is well");
        file.write_at(&bytes, 0).expect("the disk is well");
        file.sync().expect("the disk is well");
    }
}

#[test]
fn a_spool_of_the_first_version_is_read_and_goes_on() {
    let disk = left_behind(1);
    to_first_version(&disk);
    let mut next = OneQueue::open(&disk);
    assert_eq!(next.store.corrupt(), 0);
    assert_eq!(next.read(0), ((0..RECORDS).collect(), 0));
    next.append(RECORDS..RECORDS + 9, 500);
    assert_eq!(next.read(0), ((0..RECORDS + 9).collect(), 0));
    let last = OneQueue::open(&disk);
    assert_eq!(last.store.corrupt(), 0);
    assert_eq!(last.read(7), ((7..RECORDS + 9).collect(), 0));
}

#[test]
fn what_is_cut_off_or_removed_at_the_end_between_two_runs_is_counted_and_read_as_lost() {
    for cut in [false, true] {
        let disk = left_behind(2);
        let dir = Path::new(ROOT).join(name(0).directory());
        let names = disk.list(&dir).expect("it is there");
        let (first, path) = segments(&names, &dir).pop().expect("there are some");
        match cut {
            true => {
                let file = disk.open(&path).expect("it is there");
                file.cut(HEADER as u64 + 600).expect("the disk is well");
            }
            false => disk.remove(&path).expect("the disk is well"),
        }
        let kept = first + u64::from(cut);
        let mut next = OneQueue::open(&disk);
        assert!(next.store.corrupt() > 0, "cut {cut}");
        let found = next.found.clone().expect("most of it is there");
        assert_eq!((found.first, found.next), (0, RECORDS), "cut {cut}");
        assert_eq!(
            next.read(0),
            ((0..kept).collect(), RECORDS - kept),
            "cut {cut}"
        );
        next.append(RECORDS..RECORDS + 1, 500);
        let (numbers, _) = next.read(kept);
        assert_eq!(numbers, BTreeSet::from([RECORDS]), "cut {cut}");
    }
}

#[test]
fn a_segment_that_is_removed_between_two_runs_is_counted_wherever_it_stood() {
    for place in 0..3 {
        let disk = left_behind(5);
        let dir = Path::new(ROOT).join(name(0).directory());
        let all = segments(&disk.list(&dir).expect("it is there"), &dir);
        let end = all.get(place + 1).map_or(RECORDS, |(first, _)| *first);
        disk.remove(&all[place].1).expect("the disk is well");
        let next = OneQueue::open(&disk);
        assert!(next.store.corrupt() > 0, "{place}");
        let expected = (0..RECORDS).filter(|number| !(all[place].0..end).contains(number));
        assert_eq!(next.read(0).0, expected.collect(), "{place}");
    }
}

#[test]
fn reading_ends_and_tells_each_lost_record_once_whatever_is_corrupt() {
    for seed in 0..2000 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimulatedDisk::new(seed, u64::MAX / 4);
        let mut run = OneQueue::open(&disk);
        let mut cursor = Cursor::new(Arc::clone(&run.queue), 0);
        let (mut next, mut through, mut read, mut lost) = (0, 0, 0, 0);
        for _ in 0..rng.u32(1..30) {
            let more = rng.u64(0..6);
            run.append(next..next + more, rng.usize(1..900));
            next += more;
            let flips = if next > 0 { rng.u32(0..3) } else { 0 };
            for _ in 0..flips {
                run.disk.flip_a_bit();
            }
            let below = rng.u64(through..=next);
            let reads = if seed % 2 == 0 { 0 } else { 300 };
            disk.fail(Faults {
                reads,
                ..Faults::default()
            });
            let some = cursor.read(rng.usize(1..4000), below);
            disk.fail(Faults::default());
            // A read that fails takes nothing: the next one begins where it did.
            let Ok(some) = some else { continue };
            assert!(
                (through..=below.max(through)).contains(&some.through),
                "seed {seed}"
            );
            let numbers = some.records.iter().map(|record| record.0);
            assert!(numbers.is_sorted(), "seed {seed}");
            through = some.through;
            read += some.records.len() as u64;
            lost += some.lost;
            assert_eq!(read + lost, through, "seed {seed}");
        }
    }
}

#[test]
fn a_reader_that_finds_only_corrupt_records_below_its_bound_goes_on_behind_them() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let disk = SimulatedDisk::new(3, u64::MAX / 4);
        let mut run = OneQueue::open(&disk);
        run.append(0..3, 64);
        let dir = Path::new(ROOT).join(name(0).directory());
        let names = disk.list(&dir).expect("it is there");
        let (_, path) = segments(&names, &dir).pop().expect("there is one");
        let file = disk.open(&path).expect("it is there");
        let second = HEADER + record_len(64);
        file.write_at(&vec![0xaa; 2 * record_len(64)], second as u64)
            .expect("the disk is well");
        // Synced and in the index, and the lane has not heard of it yet.
        run.append(3..4, 64);
        let mut cursor = Cursor::new(Arc::clone(&run.queue), 1);
        let read = cursor.read(4096, 3).expect("reads don't fail here");
        let _ = done.send((read.records.len(), read.lost, read.through));
    });
    let read = ended.recv_timeout(Duration::from_secs(30));
    assert_eq!(read, Ok((0, 2, 3)), "it loops");
}

#[test]
fn a_directory_whose_parents_were_made_with_it_survives_a_loss_of_power() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed, u64::MAX / 4);
        let dir = Path::new("/data/bridge/events");
        create_synced(&disk, dir).expect("the disk is well");
        disk.crash();
        assert!(disk.list(dir).is_ok(), "seed {seed}");
    }
}

#[test]
fn a_dead_letter_that_was_kept_survives_a_loss_of_power_and_counts_in_the_size_of_the_spool() {
    for seed in 0..50 {
        let mut run = OneQueue::open(&SimulatedDisk::new(seed, u64::MAX / 4));
        let kept = run
            .store
            .usage
            .put(DEAD_LETTERS, "one.json", &[b'x'; 400 << 10]);
        let kept = kept.expect("there is room");
        let more = run
            .store
            .usage
            .put(DEAD_LETTERS, "two.json", &[b'x'; 200 << 10]);
        let full = more.map_err(|error| error.kind());
        assert_eq!(full, Err(std::io::ErrorKind::QuotaExceeded));
        let mut batch = Batch::new();
        batch.push(0, 0, |bytes| bytes.resize(bytes.len() + (150 << 10), 1));
        let refused = run.store.append(Instant::now(), &mut [(run.place, batch)]);
        assert!(
            matches!(&refused[..], [(0, Some(Refusal::Full(_)))]),
            "{refused:?}"
        );
        run.disk.crash();
        assert!(
            run.disk
                .length(&kept)
                .is_ok_and(|length| length == 400 << 10)
        );
        let next = OneQueue::open(&run.disk);
        assert!(
            next.store.usage.room(0) < 200 << 10,
            "it is counted at the start too"
        );
    }
}

#[test]
fn who_asks_is_told_what_an_append_would_be_told() {
    for seed in 0..20 {
        let mut run = OneQueue::open(&SimulatedDisk::new(seed, u64::MAX / 4));
        let (place, began) = (run.place, Instant::now());
        let late = began + Duration::from_secs(60);
        let asks = |run: &mut OneQueue, now, bytes| run.store.refuses(now, place, bytes);
        assert_eq!(asks(&mut run, began, 1000), None);
        assert!(run.store.is_empty(), "without a failure nothing is tried");
        run.append(0..3, 1000);
        let too_large = asks(&mut run, began, 256 << 10);
        assert!(matches!(too_large, Some(Refusal::Full(_))), "{too_large:?}");
        let broken = Faults {
            reads: 0,
            writes: 1000,
            syncs: 1000,
            others: 0,
        };
        run.disk.fail(broken);
        let mut batch = Batch::new();
        batch.push(3, 0, |bytes| bytes.resize(bytes.len() + 1000, 1));
        let refused = run.store.append(began, &mut [(place, batch)]);
        assert!(
            matches!(&refused[..], [(3, Some(Refusal::Disk(_)))]),
            "{refused:?}"
        );
        for now in [began, late] {
            let still = asks(&mut run, now, 1000);
            assert!(matches!(still, Some(Refusal::Disk(_))), "{still:?}");
        }
        run.disk.fail(Faults::default());
        assert_eq!(asks(&mut run, late + Duration::from_secs(60), 1000), None);
        run.append(3..5, 1000);
        run.disk.crash();
        let next = OneQueue::open(&run.disk);
        assert_eq!(next.read(0), ((0..5).collect(), 0), "seed {seed}");
    }
}

#[test]
fn segments_that_wait_are_not_held_open() {
    let disk = left_behind(4);
    let next = OneQueue::open(&disk);
    let mut cursor = Cursor::new(Arc::clone(&next.queue), 0);
    cursor.read(1, u64::MAX).expect("reads don't fail here");
    assert!(next.queue.index().len() > 2);
    // The mark, and the segment that is read.
    assert_eq!(disk.open_files(), 2);
    drop((next, cursor));
    assert_eq!(disk.open_files(), 0);
}

#[test]
fn segments_without_any_header_are_read_by_what_the_mark_says() {
    for seed in 0..50 {
        let disk = left_behind(seed);
        let dir = Path::new(ROOT).join(name(0).directory());
        let mut rng = Rng::with_seed(seed);
        let all = segments(&disk.list(&dir).expect("it is there"), &dir);
        for (_, path) in &all {
            let mut garbage = vec![0; HEADER];
            if rng.bool() {
                rng.fill(&mut garbage);
            }
            let file = disk.open(path).expect("it is there");
            file.write_at(&garbage, 0).expect("the disk is well");
        }
        let next = OneQueue::open(&disk);
        assert_eq!(next.read(0), ((0..RECORDS).collect(), 0), "seed {seed}");
        assert_eq!(next.store.corrupt(), all.len() as u64, "seed {seed}");
    }
}

#[test]
fn what_is_reported_after_a_segment_was_cut_short_comes_back() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let disk = SimulatedDisk::new(seed, u64::MAX / 4);
        let mut run = OneQueue::open(&disk);
        let before = rng.u64(1..8);
        for number in 0..before {
            run.append(number..number + 1, rng.usize(1..900));
        }
        let path = run.store.queues[run.place].active.as_ref();
        let active = path.expect("it is written to");
        let (path, end) = (active.path.clone(), active.synced);
        let file = disk.open(&path).expect("it is there");
        file.cut(rng.u64(..end)).expect("the disk is well");
        let mut batch = Batch::new();
        let body = rng.usize(1..5000);
        batch.push(before, 0, |bytes| bytes.resize(bytes.len() + body, 7));
        let refused = run.store.append(Instant::now(), &mut [(run.place, batch)]);
        let expected = format!("{} was cut short", path.display());
        let why = refused[0].1.as_ref().map(ToString::to_string);
        assert!(
            why.is_some_and(|why| why.contains(&expected)),
            "{refused:?}"
        );
        // A disk that failed rests for a second.
        let late = Instant::now() + Duration::from_secs(60);
        for number in before..before + 3 {
            let mut batch = Batch::new();
            batch.push(number, 0, |bytes| bytes.resize(bytes.len() + body, 7));
            let appended = run.store.append(late, &mut [(run.place, batch)]);
            assert_eq!(appended, [(number + 1, None)], "seed {seed}");
        }
        run.store.tick(false).expect("the disk is well");
        assert_eq!(run.store.corrupt(), 1, "seed {seed}");
        let (numbers, lost) = run.read(0);
        assert_eq!(numbers.len() as u64 + lost, before + 3, "seed {seed}");
        assert!(
            numbers.is_superset(&(before..before + 3).collect()),
            "seed {seed}"
        );
        let next = OneQueue::open(&disk);
        assert!(next.store.corrupt() > 0, "seed {seed}");
        assert_eq!(next.read(0).0, numbers, "seed {seed}");
    }
}

#[test]
fn a_sealed_segment_that_is_cut_short_is_counted_by_its_reader() {
    let mut run = OneQueue::open(&SimulatedDisk::new(6, u64::MAX / 4));
    for first in (0..RECORDS).step_by(4) {
        run.append(first..first + 4, 500);
    }
    let dir = Path::new(ROOT).join(name(0).directory());
    let all = segments(&run.disk.list(&dir).expect("it is there"), &dir);
    let file = run.disk.open(&all[0].1).expect("it is there");
    file.cut(0).expect("the disk is well");
    let (numbers, lost) = run.read(0);
    assert_eq!((numbers.first(), lost), (Some(&all[1].0), all[1].0));
    run.store.tick(false).expect("the disk is well");
    assert_eq!(run.store.corrupt(), 1);
}

#[test]
fn a_queue_is_called_in_logs_as_its_destination_is() {
    let shown = |name: &str| Name::new(name).expect("it is short").to_string();
    for (broker, address) in [
        ("kafka", "minchat.message.sent.v1"),
        ("amqp", "chat\0message.sent"),
        ("file", "events"),
    ] {
        let stored = format!("{broker}\0{address}");
        assert_eq!(shown(&stored), crate::route::shown(&stored));
    }
}

#[test]
fn a_mark_that_can_t_be_written_again_and_again_stays_as_it_was() {
    for seed in 0..200 {
        let mut run = OneQueue::open(&SimulatedDisk::new(seed, u64::MAX / 4));
        run.append(0..5, 100);
        run.queue.mark(2);
        run.store.tick(false).expect("the disk is well");
        run.disk.fail(Faults {
            writes: 1000,
            ..Faults::default()
        });
        for _ in 0..3 {
            run.queue.mark(3);
            run.store.tick(false).expect_err("every write fails");
        }
        run.disk.fail(Faults::default());
        run.disk.crash();
        let next = OneQueue::open(&run.disk);
        assert_eq!(next.store.corrupt(), 0, "seed {seed}");
        let first = next.found.map(|found| found.first);
        assert!(matches!(first, Some(2 | 3)), "seed {seed}: {first:?}");
    }
}
