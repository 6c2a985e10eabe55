//! What a reader of a queue gets.

use super::*;

const LARGE: Sizes = Sizes {
    segment: 4 << 20,
    ahead: 64 << 10,
};

/// A queue whose segments are larger than what is read at once.
fn with_large_segments(disk: &SimulatedDisk) -> OneQueue {
    let settings = Settings {
        max_size: 64 << 20,
        ..settings()
    };
    OneQueue::open_with(disk, &settings, LARGE)
}

#[test]
fn records_of_every_length_come_back_however_much_is_read_at_once() {
    let mut run = with_large_segments(&SimulatedDisk::new(1, u64::MAX / 4));
    let mut next = 0;
    for body in [100, 30_000, 65_000, 200_000, 1, 1_000_000, 70_000] {
        run.append(next..next + 3, body);
        next += 3;
    }
    for most in [1, 3000, 64 << 10, 10 << 20] {
        let mut cursor = Cursor::new(Arc::clone(&run.queue), 0);
        let mut numbers = Vec::new();
        loop {
            let read = cursor.read(most, u64::MAX).expect("reads don't fail here");
            assert_eq!(read.lost, 0);
            if read.records.is_empty() {
                break;
            }
            numbers.extend(read.records.iter().map(|record| record.0));
        }
        assert!(numbers.into_iter().eq(0..next), "{most}");
    }
    run.store.tick(false).expect("the disk is well");
    assert_eq!(run.store.corrupt(), 0, "nothing was taken for corrupt");
}

#[test]
fn small_records_are_read_many_at_once() {
    let mut run = with_large_segments(&SimulatedDisk::new(2, u64::MAX / 4));
    run.append(0..2000, 100);
    let mut cursor = Cursor::new(Arc::clone(&run.queue), 0);
    let read = cursor
        .read(64 << 10, u64::MAX)
        .expect("reads don't fail here");
    let records = read.records.len();
    assert!((400..600).contains(&records), "{records}");
}

#[test]
fn asking_when_the_next_event_was_received_passes_over_none() {
    let mut run = OneQueue::open(&SimulatedDisk::new(3, u64::MAX / 4));
    let mut cursor = Cursor::new(Arc::clone(&run.queue), 0);
    let received = |cursor: &mut Cursor| cursor.next_received().expect("reads don't fail here");
    assert_eq!(received(&mut cursor), None);
    let mut batch = Batch::new();
    for number in 0..2 {
        batch.push(number, 70 + number, |bytes| bytes.push(1));
    }
    run.store.append(Instant::now(), &mut [(run.place, batch)]);
    assert_eq!(received(&mut cursor), Some(70));
    assert_eq!(received(&mut cursor), Some(70));
    cursor.skip_to(1);
    assert_eq!(received(&mut cursor), Some(71));
}

#[test]
fn what_is_known_to_be_missing_is_not_counted_again_by_its_reader() {
    let disk = left_behind(2);
    let dir = Path::new(ROOT).join(name(0).directory());
    let names = disk.list(&dir).expect("it is there");
    let (_, path) = segments(&names, &dir).pop().expect("there are some");
    let file = disk.open(&path).expect("it is there");
    file.cut(HEADER as u64 + 600).expect("the disk is well");
    let mut next = OneQueue::open(&disk);
    let corrupt = next.store.corrupt();
    let (_, lost) = next.read(0);
    assert!(lost > 0);
    next.store.tick(false).expect("the disk is well");
    assert_eq!(next.store.corrupt(), corrupt);
}

#[test]
fn a_corrupt_record_is_counted_once_and_a_copy_of_its_segment_is_kept() {
    let disk = SimulatedDisk::new(4, u64::MAX / 4);
    let mut run = OneQueue::open(&disk);
    for first in (0..RECORDS).step_by(4) {
        run.append(first..first + 4, 500);
    }
    let dir = Path::new(ROOT).join(name(0).directory());
    let all = segments(&disk.list(&dir).expect("it is there"), &dir);
    let file = disk.open(&all[1].1).expect("it is there");
    let second = (HEADER + record_len(500)) as u64;
    file.write_at(&[0xaa; 100], second)
        .expect("the disk is well");
    let damaged = whole(&*file).expect("it can be read");
    let (numbers, lost) = run.read(0);
    assert_eq!((numbers.len() as u64, lost), (RECORDS - 1, 1));
    run.store.tick(false).expect("the disk is well");
    assert_eq!(run.store.corrupt(), 1);
    run.queue.mark(RECORDS);
    run.store.tick(true).expect("the disk is well");
    assert_eq!(run.store.corrupt(), 1);
    assert_eq!(set_aside(&disk), [damaged]);
}

#[test]
fn a_segment_that_is_removed_while_the_bridge_runs_is_counted_and_passed_over() {
    let disk = SimulatedDisk::new(5, u64::MAX / 4);
    let mut run = OneQueue::open(&disk);
    for first in (0..RECORDS).step_by(4) {
        run.append(first..first + 4, 500);
    }
    let dir = Path::new(ROOT).join(name(0).directory());
    let all = segments(&disk.list(&dir).expect("it is there"), &dir);
    disk.remove(&all[1].1).expect("the disk is well");
    let mut cursor = Cursor::new(Arc::clone(&run.queue), 0);
    let (mut numbers, mut lost) = (BTreeSet::new(), 0);
    while (numbers.len() as u64 + lost) < RECORDS {
        // A read that finds no file fails until the writer has found out that it is gone.
        let Ok(read) = cursor.read(1, u64::MAX) else {
            run.store.tick(false).expect("the disk is well");
            assert_eq!(run.store.corrupt(), 1);
            continue;
        };
        lost += read.lost;
        numbers.extend(read.records.iter().map(|record| record.0));
    }
    let gone = all[1].0..all[2].0;
    assert!(
        numbers
            .into_iter()
            .eq((0..RECORDS).filter(|it| !gone.contains(it)))
    );
}
