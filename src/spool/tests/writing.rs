//! What a writer makes of the disk and of the room that it has.

use super::*;

fn dir(place: usize) -> PathBuf {
    Path::new(ROOT).join(name(place).directory())
}

fn lengths(disk: &SimulatedDisk, place: usize) -> Vec<u64> {
    let names = disk.list(&dir(place)).expect("it is there");
    let segments = segments(&names, &dir(place)).into_iter();
    segments
        .map(|(_, path)| disk.length(&path).expect("it is there"))
        .collect()
}

fn try_to_append(run: &mut OneQueue, now: Instant, number: u64, body: usize) -> Option<Refusal> {
    let mut batch = Batch::new();
    batch.push(number, number, |bytes| bytes.resize(bytes.len() + body, 7));
    run.store.append(now, &mut [(run.place, batch)]).remove(0).1
}

#[test]
fn a_disk_that_failed_is_left_alone_for_a_second() {
    let mut run = OneQueue::open(&SimulatedDisk::new(1, u64::MAX / 4));
    let began = Instant::now();
    run.disk.fail(Faults {
        writes: 1000,
        ..Faults::default()
    });
    let refused = try_to_append(&mut run, began, 0, 1000);
    assert!(matches!(refused, Some(Refusal::Disk(_))), "{refused:?}");
    run.disk.fail(Faults::default());
    let late = began + Duration::from_millis(999);
    assert_eq!(try_to_append(&mut run, late, 0, 1000), refused);
    assert_eq!(run.store.refuses(late, run.place, 1000), refused);
    let later = began + Duration::from_secs(1);
    assert_eq!(run.store.refuses(later, run.place, 1000), None);
    assert!(run.queue.bytes() < 10_000, "{}", run.queue.bytes());
    assert_eq!(try_to_append(&mut run, later, 0, 1000), None);

    let mut run = OneQueue::open(&SimulatedDisk::new(2, u64::MAX / 4));
    run.disk.fail(Faults {
        writes: 1000,
        ..Faults::default()
    });
    assert!(try_to_append(&mut run, began, 0, 1000).is_some());
    run.disk.fail(Faults::default());
    assert_eq!(try_to_append(&mut run, later, 0, 1000), None);
}

#[test]
fn a_destination_takes_half_of_the_size_at_most_and_who_asks_is_told_the_same() {
    for body in [1000, 3000, 20_000] {
        let mut run = OneQueue::open(&SimulatedDisk::new(3, u64::MAX / 4));
        let now = Instant::now();
        let refused = (0..).find_map(|number| {
            let told = run.store.refuses(now, run.place, record_len(body) as u64);
            let refused = try_to_append(&mut run, now, number, body);
            assert_eq!(told, refused, "{number}");
            let on_disk: u64 = lengths(&run.disk, 0).into_iter().sum();
            assert_eq!(run.queue.bytes(), on_disk, "{number}");
            refused
        });
        let full = "this destination holds half of spool.max_size".to_owned();
        assert_eq!(refused, Some(Refusal::Full(full)));
        let most = settings().max_size / 2;
        let least = most - 2 * record_len(body) as u64 - HEADER as u64;
        assert!((least..=most).contains(&run.queue.bytes()), "{body}");
    }
}

#[test]
fn a_batch_that_is_larger_than_a_segment_goes_into_several() {
    let disk = SimulatedDisk::new(4, u64::MAX / 4);
    let mut run = OneQueue::open(&disk);
    run.append(0..40, 1000);
    let lengths = lengths(&disk, 0);
    assert!(lengths.len() > 4);
    assert!(
        lengths.iter().all(|length| *length <= SIZES.segment),
        "{lengths:?}"
    );
    assert_eq!(run.read(0), ((0..40).collect(), 0));
}

/// A record of one queue is then none in another.
#[test]
fn no_two_queues_have_segments_of_the_same_salt() {
    let disk = SimulatedDisk::new(5, u64::MAX / 4);
    let mut run = OneQueue::open(&disk);
    let other = run.store.queue(&name(1)).0;
    let batches = [run.place, other].map(|place| {
        let mut batch = Batch::new();
        batch.push(0, 0, |bytes| bytes.push(1));
        (place, batch)
    });
    run.store
        .append(Instant::now(), &mut batches.into_iter().collect::<Vec<_>>());
    let salts = [0, 1].map(|place| {
        let names = disk.list(&dir(place)).expect("it is there");
        let (_, path) = segments(&names, &dir(place)).remove(0);
        let file = disk.open(&path).expect("it is there");
        let bytes = whole(&*file).expect("it can be read");
        Header::read(&bytes).expect("it is whole").header.salt
    });
    assert_ne!(salts[0], salts[1]);
}

#[test]
fn a_copy_for_the_quarantine_is_kept_only_if_it_leaves_room_for_all_segments() {
    let disk = left_behind(6);
    let names = disk.list(&dir(0)).expect("it is there");
    let (_, path) = segments(&names, &dir(0)).remove(0);
    let file = disk.open(&path).expect("it is there");
    let second = (HEADER + record_len(500)) as u64;
    file.write_at(&[0xaa; 100], second)
        .expect("the disk is well");
    let (all, copy) = (lengths(&disk, 0).iter().sum::<u64>(), lengths(&disk, 0)[0]);
    for (max_size, is_kept) in [(all + copy - 1, false), (all + copy, true)] {
        let settings = Settings {
            max_size,
            ..settings()
        };
        let opened = Store::open(Arc::new(disk.clone()), &settings, SIZES, 7);
        drop(opened.expect("recovery always starts"));
        assert_eq!(!set_aside(&disk).is_empty(), is_kept);
    }
}
