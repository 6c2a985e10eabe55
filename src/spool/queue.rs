//! One queue, as those see it who do not write to it: how far it is, and what it holds.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::DiskFile;
use super::format::{HEADER, MAX_NAME, Parsed, parse};
use super::segment::next_record;

/// What a queue is called: not empty, and at most 2,048 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// A name; none if it is empty or too long.
    pub fn new(name: impl Into<String>) -> Option<Name> {
        let name = name.into();
        (!name.is_empty() && name.len() <= MAX_NAME).then_some(Name(name))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that the queue is in: readable, and one of its own for every name.
    pub(super) fn directory(&self) -> String {
        let readable: String = self
            .0
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => c,
                _ => '-',
            })
            .take(80)
            .collect();
        format!("{readable}-{:08x}", crc32c::crc32c(self.0.as_bytes()))
    }
}

/// A queue of the spool. Its writer and its reader share it.
pub struct Queue {
    name: Name,
    index: Mutex<VecDeque<View>>,
    mark: AtomicU64,
    bytes: AtomicU64,
}

/// A segment as far as it is synced.
#[derive(Clone)]
pub(super) struct View {
    pub(super) first: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) salt: u64,
    /// Where the last synced record ends.
    pub(super) end: u64,
    /// The number behind the last synced record.
    pub(super) next: u64,
}

impl Queue {
    pub(super) fn new(name: Name, mark: u64) -> Arc<Self> {
        Arc::new(Queue {
            name,
            index: Mutex::default(),
            mark: AtomicU64::new(mark),
            bytes: AtomicU64::new(0),
        })
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// All records below this number are done. They may come back after a crash, since marks are
    /// persisted every second.
    pub fn mark(&self, number: u64) {
        self.mark.fetch_max(number, Ordering::Release);
    }

    /// What it takes up on disk, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn marked(&self) -> u64 {
        self.mark.load(Ordering::Acquire)
    }

    pub(super) fn occupies(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn index(&self) -> MutexGuard<'_, VecDeque<View>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a queue from a number on, in order. There is one reader for each queue.
pub struct Cursor {
    queue: Arc<Queue>,
    /// The number of the next record to give.
    from: u64,
    place: Option<Place>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    at: u64,
}

/// What a [`Cursor`] read.
#[derive(Debug, Default)]
pub struct Read<'a> {
    /// The records, in order: number, receipt in microseconds since 1970, body.
    pub records: Vec<(u64, u64, &'a [u8])>,
    /// How many records there should have been besides: their place on the disk is corrupt.
    pub lost: u64,
    /// Every record below this number was given, or is lost.
    pub through: u64,
}

/// What was found in the buffer: places, since the buffer can't be lent out while it is filled.
#[derive(Default)]
struct Found {
    records: Vec<(u64, u64, Range<usize>)>,
    lost: u64,
}

impl Cursor {
    /// A cursor that gives the records from this number on.
    pub fn new(queue: Arc<Queue>, from: u64) -> Self {
        Cursor {
            queue,
            from,
            place: None,
            buffer: Vec::new(),
        }
    }

    /// The queue that it reads.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Passes over the records below this number: somebody has them already.
    pub fn skip_to(&mut self, number: u64) {
        self.from = self.from.max(number);
    }

    /// When the next record's event was received, in microseconds since 1970, if there is one.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub fn next_received(&mut self) -> io::Result<Option<u64>> {
        let (from, place) = (self.from, self.place);
        let read = self
            .read(1, u64::MAX)
            .map(|read| read.records.first().map(|record| record.1));
        (self.from, self.place) = (from, place);
        read
    }

    /// Reads about so many bytes of records, all with numbers below `below`, and at least one record
    /// if there is one. Gives none when everything that is synced was given.
    ///
    /// # Errors
    /// When the disk can't be read. Another call begins where this one did.
    pub fn read(&mut self, most: usize, below: u64) -> io::Result<Read<'_>> {
        let mut found = Found::default();
        while found.records.is_empty() && self.from < below {
            let Some((view, at)) = self.place() else {
                break;
            };
            self.fill(&view, at, most)?;
            let at = self.take(&view, at, below, &mut found)?;
            self.place = Some(Place {
                segment: view.first,
                at,
            });
            if at >= view.end && self.from < view.next {
                found.lost += view.next - self.from;
                self.from = view.next;
            }
        }
        let buffer = &self.buffer;
        let records = found.records.into_iter();
        Ok(Read {
            records: records
                .map(|(number, received, body)| (number, received, &buffer[body]))
                .collect(),
            lost: found.lost,
            through: self.from,
        })
    }

    /// The segment that the next record is in, and where to go on there.
    fn place(&self) -> Option<(View, u64)> {
        let index = self.queue.index();
        let view = index.iter().find(|view| view.next > self.from)?.clone();
        drop(index);
        let at = match self.place {
            Some(place) if place.segment == view.first => place.at,
            _ => HEADER as u64,
        };
        // At the end with records still to come: what should be here can't be read.
        Some((view, at))
    }

    fn fill(&mut self, view: &View, at: u64, most: usize) -> io::Result<()> {
        let rest = usize::try_from(view.end.saturating_sub(at)).unwrap_or(usize::MAX);
        self.buffer.resize(rest.min(most.max(64 * 1024)), 0);
        let read = view.file.read_at(&mut self.buffer, at)?;
        self.buffer.truncate(read);
        if let Parsed::Cut(whole) = parse(&self.buffer, 0, view.salt)
            && whole > self.buffer.len()
            && whole <= rest
        {
            self.buffer.resize(whole, 0);
            let read = view.file.read_at(&mut self.buffer, at)?;
            self.buffer.truncate(read);
        }
        Ok(())
    }

    /// Takes the records out of the buffer, which begins at `start` in the file. Gives where to go on.
    fn take(&mut self, view: &View, start: u64, below: u64, found: &mut Found) -> io::Result<u64> {
        let mut at = 0;
        loop {
            match parse(&self.buffer, at, view.salt) {
                Parsed::Record(record) if record.number >= below => return Ok(start + at as u64),
                Parsed::Record(record) => {
                    if record.number >= self.from {
                        found.lost += record.number - self.from;
                        self.from = record.number + 1;
                        let body = record.body..record.end;
                        found.records.push((record.number, record.received, body));
                    }
                    at = record.next;
                }
                Parsed::Cut(_) if self.buffer.is_empty() => return Ok(view.end),
                Parsed::Cut(_) if at > 0 => return Ok(start + at as u64),
                // Nothing that holds. The rest of the segment is read whole, to find what does.
                _ => {
                    let rest = usize::try_from(view.end.saturating_sub(start + at as u64));
                    let mut bytes = vec![0; rest.unwrap_or(0)];
                    let read = view.file.read_at(&mut bytes, start + at as u64)?;
                    bytes.truncate(read);
                    let next = next_record(&bytes, 8, view.salt, self.from, view.next);
                    let on = next.map(|record| record.body - super::format::RECORD_HEAD);
                    tracing::error!(
                        queue = self.queue.name.as_str(),
                        segment = view.first,
                        at = start + at as u64,
                        "the spool is corrupt here: what it held is lost"
                    );
                    return Ok(on.map_or(view.end, |on| start + (at + on) as u64));
                }
            }
            if at >= self.buffer.len() {
                return Ok(start + at as u64);
            }
        }
    }
}
