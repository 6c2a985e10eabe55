//! Anything as the segments of a queue: what is whole is read, nothing else is, and neither start nor look fails.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use minchat_bridge::spool::settings::Settings;
use minchat_bridge::spool::{Cursor, OpenError, Sizes, Store, inspect};
use minchat_bridge::units::Percent;

use crate::memory_disk::MemoryDisk;
use crate::segment_writer::{self, Part, Whole, Written};

const NAME: &str = "kafka\0minchat.message.sent.v1";
const SALT: u64 = 0x5eed;

/// A queue as it is left on disk.
#[derive(Arbitrary, Debug)]
struct Left {
    first: u64,
    mark: Mark,
    parts: Vec<Part>,
}

#[derive(Arbitrary, Debug)]
enum Mark {
    /// So many records are done.
    Behind(u8),
    Bytes(Vec<u8>),
    Missing,
}

/// Recovers, reads and looks into what the input says; and into the input itself, as one segment.
pub fn check(input: &[u8]) {
    if let Ok(left) = Left::arbitrary(&mut Unstructured::new(input)) {
        let written = segment_writer::write(NAME, SALT, left.first, &left.parts);
        let done = match left.mark {
            Mark::Behind(count) => left.first.saturating_add(u64::from(count)),
            _ => 0,
        };
        let mark = match left.mark {
            Mark::Behind(_) => Some(segment_writer::mark(done)),
            Mark::Bytes(bytes) => Some(bytes),
            Mark::Missing => None,
        };
        let is_told = mark.is_none() || done > 0;
        start(&written, mark.as_deref(), is_told.then_some(done));
        look(&written, mark.as_deref());
    }
    if input.starts_with(b"MCBS") {
        let raw = Written {
            segments: vec![(0, input.to_vec())],
            ..Written::default()
        };
        start(&raw, None, None);
        look(&raw, None);
    }
}

/// Two starts, and what can be read after each. `done` is the mark, where it holds.
fn start(left: &Written, mark: Option<&[u8]>, done: Option<u64>) {
    let disk = Arc::new(MemoryDisk::default());
    let files = files(Path::new("/spool"), left, mark);
    let size: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    files
        .into_iter()
        .for_each(|(path, bytes)| disk.put(&path, bytes));
    let mut starts = Vec::new();
    let cost = allocation_counter::measure(|| starts = vec![recovered(&disk), recovered(&disk)]);
    // The files, their copies in the quarantine, and for each record of 32 bytes or more its place, twice as the list grows.
    let most = 16 * size as u64 + (1 << 20);
    assert!(
        cost.bytes_max <= most,
        "{} bytes for {size}",
        cost.bytes_max
    );

    let [first, second] = &starts[..] else { return };
    let (Ok((records, corrupt)), Ok((again, _))) = (first, second) else {
        return;
    };
    assert_eq!(
        records, again,
        "a second start finds what the first one did"
    );
    stand_there(left, records);
    if let Some(done) = done.filter(|_| left.is_sound) {
        let expected = left.records.iter().filter(|record| record.number >= done);
        assert!(records.iter().eq(expected), "{records:?}");
        assert_eq!(*corrupt, 0);
    }
}

/// What is given stands in a segment, whole, and in the order of its numbers.
fn stand_there(left: &Written, records: &[Whole]) {
    assert!(records.is_sorted_by(|one, next| one.number < next.number));
    let mut there: Vec<Whole> = Vec::new();
    for (_, segment) in &left.segments {
        for copy in [0, segment_writer::PAGE] {
            there.extend(segment_writer::whole_records(segment, salt(segment, copy)));
        }
    }
    there.sort_unstable();
    for record in records {
        assert!(there.binary_search(record).is_ok(), "{record:?} is nowhere");
    }
}

/// The salt that a copy of the header says.
fn salt(segment: &[u8], copy: usize) -> u64 {
    let bytes = segment
        .get(copy + 16..copy + 24)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}

type Start = Result<(Vec<Whole>, u64), OpenError>;

fn recovered(disk: &Arc<MemoryDisk>) -> Start {
    let settings = Settings {
        dir: PathBuf::from("/spool"),
        max_size: 1 << 30,
        keep_free: Percent::new(5),
    };
    let (mut store, found) = Store::open(disk.clone(), &settings, Sizes::USUAL, 1)?;
    let mut records = Vec::new();
    for queue in found {
        let mut cursor = Cursor::new(store.queue(&queue.name).1, queue.first);
        loop {
            let read = cursor.read(1024, u64::MAX).expect("the disk is in memory");
            let is_end = read.records.is_empty() && read.lost == 0;
            records.extend(
                read.records
                    .into_iter()
                    .map(|(number, received, body)| Whole {
                        number,
                        received,
                        body: body.to_vec(),
                    }),
            );
            if is_end {
                break;
            }
        }
    }
    Ok((records, store.corrupt()))
}

/// A look from outside, which has the real disk.
fn look(left: &Written, mark: Option<&[u8]>) {
    let memory = Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let dir = dir.expect("there is room for a directory");
    for (path, bytes) in files(dir.path(), left, mark) {
        fs::create_dir_all(path.parent().expect("it is in a queue's")).expect("there is room");
        fs::write(path, bytes).expect("there is room");
    }
    let mut records = Vec::new();
    let looked = inspect(dir.path(), |record| {
        records.push(Whole {
            number: record.number,
            received: record.received,
            body: record.body.to_vec(),
        });
        ControlFlow::Continue(())
    });
    match looked {
        Ok(queues) => {
            let events: u64 = queues.iter().map(|queue| queue.events).sum();
            assert_eq!(events, records.len() as u64);
        }
        Err(OpenError::Newer { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    records
        .iter()
        .for_each(|record| stand_there(left, std::slice::from_ref(record)));
}

fn files(root: &Path, left: &Written, mark: Option<&[u8]>) -> Vec<(PathBuf, Vec<u8>)> {
    // As the queue's name has it: what is called otherwise is nothing of the spool's.
    let sum = crc32c::crc32c(NAME.as_bytes());
    let dir = root.join(format!("kafka-minchat.message.sent.v1-{sum:08x}"));
    let segments = left.segments.iter();
    let segments =
        segments.map(|(first, bytes)| (dir.join(format!("{first:020}.seg")), bytes.clone()));
    let mark = mark.map(|bytes| (dir.join("mark"), bytes.to_vec()));
    segments.chain(mark).collect()
}
