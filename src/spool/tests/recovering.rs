//! What a start makes of what is there.

use super::*;
use crate::spool::disk::RealDisk;
use crate::spool::format::VERSION;
use crate::spool::mark::{self, MarkFile};
use crate::spool::{OpenError, names};

fn dir() -> PathBuf {
    Path::new(ROOT).join(name(0).directory())
}

/// The segments of the queue, by the numbers of their first records.
fn left(disk: &SimulatedDisk) -> Vec<(u64, PathBuf)> {
    segments(&disk.list(&dir()).unwrap_or_default(), &dir())
}

fn bytes_of(disk: &SimulatedDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).expect("it is there");
    whole(&*file).expect("it can be read")
}

/// Writes over what is in a file, or makes it.
fn put(disk: &SimulatedDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path).or_else(|_| disk.create(path));
    let file = file.expect("the disk is well");
    file.cut(0).expect("the disk is well");
    file.write_at(bytes, 0).expect("the disk is well");
}

fn all_files(disk: &SimulatedDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = disk.files_outside(Path::new("/none"));
    let files = paths.into_iter().map(|path| {
        let bytes = bytes_of(disk, &path);
        (path, bytes)
    });
    files.collect()
}

/// The mark on disk, as a process leaves it that ends before it removes what the mark makes needless.
fn persist_mark(disk: &SimulatedDisk, mark: u64) {
    let (mut file, _) = MarkFile::open(disk, &dir()).expect("it is there");
    file.write(mark).expect("the disk is well");
}

#[test]
fn a_start_on_a_disk_that_fails_reads_fails_or_finds_everything() {
    let (mut fails, mut finds) = (0, 0);
    for seed in 0..400 {
        let disk = left_behind(seed);
        disk.fail(Faults {
            reads: 60,
            ..Faults::default()
        });
        disk.fail_opens(60);
        let opened = Store::open(Arc::new(disk.clone()), &settings(), SIZES, 7);
        disk.fail(Faults::default());
        disk.fail_opens(0);
        match opened {
            Ok((store, found)) => {
                finds += 1;
                assert_eq!(store.corrupt(), 0, "seed {seed}");
                let next = found.first().map(|found| found.next);
                assert_eq!(next, Some(RECORDS), "seed {seed}");
            }
            Err(_) => fails += 1,
        }
        let next = OneQueue::open(&disk);
        assert_eq!(next.store.corrupt(), 0, "seed {seed}");
        assert_eq!(next.read(0), ((0..RECORDS).collect(), 0), "seed {seed}");
        assert!(set_aside(&disk).is_empty(), "seed {seed}");
    }
    assert!(fails > 50 && finds > 50, "{fails} fail, {finds} don't");
}

#[test]
fn a_segment_of_which_nothing_can_be_read_is_moved_aside_and_the_others_are_read() {
    let disk = left_behind(1);
    let all = left(&disk);
    let garbage = vec![0xaa; 3000];
    put(&disk, &all[1].1, &garbage);
    let next = OneQueue::open(&disk);
    let gone = all[1].0..all[2].0;
    let expected = (0..RECORDS).filter(|number| !gone.contains(number));
    assert_eq!(next.read(0).0, expected.collect());
    // Of the one before it a copy is kept too: the records that are missing may have been in it.
    let kept = set_aside(&disk);
    assert!(kept.len() == 2 && kept.contains(&garbage), "{}", kept.len());
    assert_eq!(left(&disk).len(), all.len() - 1);
    // One place for the segment, and one for the records that are missing before the next.
    assert_eq!(next.store.corrupt(), 2);
}

#[test]
fn a_queue_of_which_no_segment_can_be_read_is_moved_aside_whole() {
    let disk = left_behind(2);
    let all = left(&disk);
    for (_, path) in &all {
        put(&disk, path, &[0xaa; 3000]);
    }
    let mut next = OneQueue::open(&disk);
    assert!(next.found.is_none() && next.store.is_empty());
    assert_eq!(next.store.corrupt(), all.len() as u64);
    assert_eq!(set_aside(&disk).len(), all.len());
    assert!(disk.list(&dir()).is_err(), "nothing is left of it");
    next.append(0..3, 500);
    assert_eq!(OneQueue::open(&disk).read(0), ((0..3).collect(), 0));
}

#[test]
fn a_queue_whose_segments_are_all_gone_is_counted_if_events_were_in_it() {
    for (mark, corrupt) in [(0, 1), (RECORDS - 1, 1), (RECORDS, 0)] {
        let disk = left_behind(3);
        persist_mark(&disk, mark);
        for (_, path) in left(&disk) {
            disk.remove(&path).expect("the disk is well");
        }
        let next = OneQueue::open(&disk);
        assert_eq!(next.store.corrupt(), corrupt, "{mark}");
        assert!(next.found.is_none() && next.store.is_empty());
        assert!(disk.list(&dir()).is_err(), "nothing is left of it");
    }
}

#[test]
fn what_this_program_did_not_make_stays_as_it_is() {
    let notes = ("notes", b"mine".to_vec());
    let garbage = ("00000000000000000000.seg", vec![0xaa; 3000]);
    let unused = ("00000000000000000000.seg", vec![0; HEADER]);
    let blank = (mark::FILE, vec![0; 4 * PAGE]);
    let torn = (mark::FILE, vec![0xaa; 4 * PAGE]);
    for (files, corrupt, left) in [
        (vec![&notes], 0, vec!["notes"]),
        (vec![&garbage], 1, vec![garbage.0]),
        (vec![&unused], 0, vec![unused.0]),
        (vec![&torn], 1, vec![torn.0]),
        (vec![&torn, &garbage], 1, vec![garbage.0, torn.0]),
        (vec![&blank, &garbage], 1, vec![garbage.0, blank.0]),
        (vec![&blank, &unused], 0, vec![unused.0, blank.0]),
        // The power went while the mark was made.
        (vec![&blank, &notes], 0, vec!["notes"]),
        (vec![&blank], 0, vec![]),
    ] {
        let disk = SimulatedDisk::new(4, u64::MAX / 4);
        disk.create_dir(&dir()).expect("the disk is well");
        for (name, bytes) in &files {
            put(&disk, &dir().join(name), bytes);
        }
        let next = OneQueue::open(&disk);
        assert_eq!(next.store.corrupt(), corrupt, "{left:?}");
        assert!(next.found.is_none());
        assert_eq!(disk.list(&dir()).unwrap_or_default(), left);
        assert!(set_aside(&disk).is_empty());
    }
}

#[test]
fn what_only_has_the_name_of_a_queue_or_of_a_segment_stops_no_start() {
    let disk = left_behind(5);
    let file = Path::new(ROOT).join("kafka-0123abcd");
    put(&disk, &file, b"mine");
    let directory = dir().join(names::segment_name(RECORDS));
    disk.create_dir(&directory).expect("the disk is well");
    let next = OneQueue::open(&disk);
    assert_eq!(next.read(0), ((0..RECORDS).collect(), 0));
    assert_eq!(bytes_of(&disk, &file), b"mine");
    assert!(disk.list(&directory).is_ok());
}

#[test]
fn a_segment_that_no_record_was_written_to_is_removed_and_not_counted() {
    let disk = left_behind(6);
    let path = dir().join(names::segment_name(RECORDS));
    put(&disk, &path, &[0; HEADER]);
    let next = OneQueue::open(&disk);
    assert_eq!(next.store.corrupt(), 0);
    assert!(left(&disk).iter().all(|(first, _)| *first < RECORDS));
    assert!(set_aside(&disk).is_empty());
}

#[test]
fn a_segment_of_a_later_release_refuses_the_start_and_nothing_is_changed() {
    let disk = left_behind(7);
    let (_, path) = left(&disk).remove(1);
    let mut bytes = bytes_of(&disk, &path);
    let read = Header::read(&bytes).expect("it is whole");
    bytes[..PAGE].copy_from_slice(&read.header.page(VERSION + 1));
    put(&disk, &path, &bytes);
    let before = all_files(&disk);
    let opened = Store::open(Arc::new(disk.clone()), &settings(), SIZES, 7);
    let refused = opened.err().expect("it can't be read");
    assert!(
        matches!(&refused, OpenError::Newer { path: of, version } if (of, *version) == (&path, VERSION + 1)),
        "{refused}"
    );
    assert_eq!(all_files(&disk), before);
}

#[test]
fn a_segment_under_another_number_is_not_believed() {
    let disk = left_behind(8);
    let (first, path) = left(&disk).pop().expect("there are some");
    let bytes = bytes_of(&disk, &path);
    let elsewhere = dir().join(names::segment_name(first + 100));
    put(&disk, &elsewhere, &bytes);
    let next = OneQueue::open(&disk);
    assert!(set_aside(&disk).contains(&bytes));
    assert_eq!(next.read(0).0, (0..RECORDS).collect());
    assert!(next.store.corrupt() > 0);
}

#[test]
fn a_damaged_mark_is_counted_once_and_costs_no_event() {
    for is_removed in [true, false] {
        let disk = left_behind(9);
        let begins = left(&disk)[2].0;
        let run = OneQueue::open(&disk);
        run.queue.mark(begins + 1);
        let mut store = run.store;
        store.tick(true).expect("the disk is well");
        drop(store);
        assert_eq!(left(&disk)[0].0, begins);
        let path = dir().join(mark::FILE);
        match is_removed {
            true => disk.remove(&path).expect("the disk is well"),
            false => {
                let mut bytes = bytes_of(&disk, &path);
                bytes[..2 * PAGE].fill(0xaa);
                put(&disk, &path, &bytes);
            }
        }
        let mut next = OneQueue::open(&disk);
        assert_eq!(next.store.corrupt(), 1, "removed: {is_removed}");
        let found = next.found.clone().expect("its segments are there");
        assert_eq!((found.first, found.next), (begins, RECORDS));
        assert_eq!(next.read(begins), ((begins..RECORDS).collect(), 0));
        next.store.tick(true).expect("the disk is well");
        drop(next);
        let last = OneQueue::open(&disk);
        assert_eq!(last.store.corrupt(), 0, "it was written anew");
        assert_eq!(last.read(begins), ((begins..RECORDS).collect(), 0));
    }
}

#[test]
fn what_a_crash_left_of_what_is_done_is_removed_at_the_next_start() {
    let third = left(&left_behind(10))[2].0;
    for (mark, removed) in [(third, 2), (third - 1, 1), (1, 0)] {
        let disk = left_behind(10);
        persist_mark(&disk, mark);
        let before = left(&disk);
        let next = OneQueue::open(&disk);
        assert_eq!(left(&disk), before[removed..], "{mark}");
        assert_eq!(next.store.corrupt(), 0, "{mark}");
        let found = next.found.as_ref().expect("some is left");
        assert_eq!((found.first, found.oldest), (mark, Some(mark)));
        let lengths = left(&disk).into_iter();
        let lengths = lengths.map(|(_, path)| disk.length(&path).expect("it is there"));
        assert_eq!(next.queue.bytes(), lengths.sum::<u64>(), "{mark}");
    }
}

#[test]
fn nothing_is_removed_by_a_mark_that_is_not_synced() {
    let disk = left_behind(11);
    persist_mark(&disk, RECORDS - 1);
    let before = left(&disk);
    disk.fail(Faults {
        syncs: 1000,
        ..Faults::default()
    });
    // What was written ahead can't be cut off either.
    let opened = Store::open(Arc::new(disk.clone()), &settings(), SIZES, 7);
    assert!(opened.is_err());
    assert_eq!(left(&disk), before);
}

#[test]
fn what_was_never_reported_is_cut_off_and_not_set_aside() {
    let disk = left_behind(12);
    let (_, path) = left(&disk).pop().expect("there are some");
    let file = disk.open(&path).expect("it is there");
    let bytes = whole(&*file).expect("it can be read");
    // A write that a crash tore, behind the last record and before the zeros that were written ahead.
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("records");
    let end = (end + 1).next_multiple_of(8) as u64;
    file.write_at(&[0xaa; 100], end).expect("the disk is well");
    let next = OneQueue::open(&disk);
    assert_eq!(next.store.corrupt(), 0);
    assert_eq!(next.read(0), ((0..RECORDS).collect(), 0));
    assert!(set_aside(&disk).is_empty());
    assert_eq!(disk.length(&path).ok(), Some(end));
}

#[test]
fn a_segment_that_was_cut_short_is_set_aside_as_it_was_found_once() {
    let disk = left_behind(13);
    let (_, path) = left(&disk).pop().expect("there are some");
    let file = disk.open(&path).expect("it is there");
    file.cut(HEADER as u64 + 600).expect("the disk is well");
    let found = bytes_of(&disk, &path);
    for _ in 0..2 {
        OneQueue::open(&disk);
        assert_eq!(set_aside(&disk), std::slice::from_ref(&found));
    }
}

#[test]
fn a_foreign_file_in_a_queue_that_is_empty_stays_and_stops_no_start() {
    let disk = left_behind(14);
    for (_, path) in left(&disk) {
        disk.remove(&path).expect("the disk is well");
    }
    let notes = dir().join("notes");
    put(&disk, &notes, b"mine");
    assert!(OneQueue::open(&disk).found.is_none());
    assert_eq!(all_files(&disk), [(notes, b"mine".to_vec())]);
}

#[test]
fn a_start_syncs_the_entries_that_the_process_before_did_not() {
    let mut starts = 0;
    for seed in 0..400 {
        let disk = SimulatedDisk::new(seed, u64::MAX / 4);
        create_synced(&disk, Path::new(ROOT)).expect("the disk is well");
        disk.create_dir(&dir()).expect("the disk is well");
        for (path, bytes) in all_files(&left_behind(seed)) {
            put(&disk, &path, &bytes);
            let file = disk.open(&path).expect("it is there");
            file.sync().expect("the disk is well");
        }
        disk.fail(Faults {
            others: 150,
            ..Faults::default()
        });
        let opened = Store::open(Arc::new(disk.clone()), &settings(), SIZES, 7);
        disk.fail(Faults::default());
        if opened.is_ok() {
            starts += 1;
            disk.crash();
            let next = OneQueue::open(&disk);
            assert_eq!(next.read(0), ((0..RECORDS).collect(), 0), "seed {seed}");
        }
    }
    assert!(starts > 30, "{starts} starts did not fail");
}

/// The simulated disk has no errors for what is no directory or no regular file.
#[test]
fn what_only_has_a_name_of_the_spool_stops_no_start_on_a_real_disk() {
    let root = tempfile::tempdir().expect("there is room");
    let settings = Settings {
        dir: root.path().to_owned(),
        ..settings()
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let open = || Store::open(Arc::clone(&disk), &settings, SIZES, 7).expect("it starts");
    let (mut store, _) = open();
    let (place, _) = store.queue(&name(0));
    let mut batch = Batch::new();
    batch.push(0, 0, |bytes| bytes.push(1));
    store.append(Instant::now(), &mut [(place, batch)]);
    drop(store);
    let file = root.path().join("kafka-0123abcd");
    std::fs::write(&file, "mine").expect("there is room");
    let dir = root.path().join(name(0).directory());
    let directory = dir.join(names::segment_name(1));
    std::fs::create_dir(&directory).expect("there is room");
    let (store, found) = open();
    assert_eq!(found.len(), 1);
    assert_eq!(store.corrupt(), 1, "the directory's place");
    assert_eq!(std::fs::read(&file).ok().as_deref(), Some(&b"mine"[..]));
}
