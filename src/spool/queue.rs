//! One queue, as those see it who do not write to it: how far it is, and what it holds.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, is_no_file};
use super::error::at;
use super::format::{Parsed, next_record, parse};
use super::names::{Name, segment_name};
use super::usage::Usage;

/// A queue of the spool. Its writer and its reader share it.
pub struct Queue {
    name: Name,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    index: Mutex<VecDeque<View>>,
    mark: AtomicU64,
    bytes: AtomicU64,
    usage: Arc<Usage>,
    corrupt: AtomicU64,
}

/// A segment as far as it is synced. Who reads it opens it, so that a long queue does not hold thousands of files open.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) first: u64,
    pub(super) salt: u64,
    /// Where the first record stands.
    pub(super) start: u64,
    /// A reader found a corrupt place in it.
    pub(super) corrupt: bool,
    /// A reader found no file of its name.
    pub(super) missing: bool,
    /// Where the last synced record ends.
    pub(super) end: u64,
    /// The number behind the last synced record.
    pub(super) next: u64,
}

impl Queue {
    pub(super) fn new(
        name: Name,
        mark: u64,
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        usage: Arc<Usage>,
    ) -> Arc<Self> {
        Arc::new(Queue {
            name,
            disk,
            dir,
            index: Mutex::default(),
            mark: AtomicU64::new(mark),
            bytes: AtomicU64::new(0),
            usage,
            corrupt: AtomicU64::new(0),
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

    /// Only its writer calls this.
    pub(super) fn occupies(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        self.usage.changed(before, bytes);
    }

    /// How many corrupt places were found in it since this was asked before.
    pub(super) fn take_corrupt(&self) -> u64 {
        self.corrupt.swap(0, Ordering::Relaxed)
    }

    /// One more corrupt place was found.
    pub(super) fn found_corrupt(&self) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes something about a segment that a reader found.
    fn note(&self, segment: u64, note: impl FnOnce(&mut View)) {
        if let Some(view) = self.index().iter_mut().find(|view| view.first == segment) {
            note(view);
        }
    }

    fn path_of(&self, view: &View) -> PathBuf {
        self.dir.join(segment_name(view.first))
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
    /// The segment that was read last, while there is more to read.
    open: Option<(u64, Arc<dyn DiskFile>)>,
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
            open: None,
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
        let begun = (self.from, self.place);
        let found = match self.find(most, below) {
            Ok(found) => found,
            Err(error) => {
                (self.from, self.place) = begun;
                return Err(error);
            }
        };
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

    fn find(&mut self, most: usize, below: u64) -> io::Result<Found> {
        let mut found = Found::default();
        while found.records.is_empty() && self.from < below {
            let Some((view, at)) = self.place() else {
                break;
            };
            let at = match at < view.end {
                true => {
                    let file = self.file(&view)?;
                    self.fill(&*file, &view, at, most)?;
                    self.take(&*file, &view, at, below, &mut found)?
                }
                false => view.end,
            };
            self.place = Some(Place {
                segment: view.first,
                at,
            });
            // At the end with records still to come: what should be here can't be read.
            let reached = view.next.min(below);
            if at >= view.end && self.from < reached {
                found.lost += reached - self.from;
                self.from = reached;
            }
        }
        if self.place().is_none() {
            // Everything was given: the writer can remove the file, and its space is free then.
            self.open = None;
        }
        Ok(found)
    }

    /// The segment that the next record is in, and where to go on there.
    fn place(&self) -> Option<(View, u64)> {
        let index = self.queue.index();
        let view = *index.iter().find(|view| view.next > self.from)?;
        drop(index);
        let at = match self.place {
            Some(place) if place.segment == view.first => place.at,
            _ => view.start,
        };
        Some((view, at))
    }

    /// The file of a segment, which stays open until another one is read.
    fn file(&mut self, view: &View) -> io::Result<Arc<dyn DiskFile>> {
        if let Some((first, file)) = &self.open
            && *first == view.first
        {
            return Ok(Arc::clone(file));
        }
        let path = self.queue.path_of(view);
        let file = self.queue.disk.open(&path).map_err(|error| {
            if is_no_file(&error) {
                // The writer finds out whether it is gone for good.
                self.queue.note(view.first, |view| view.missing = true);
            }
            at(&path, error)
        })?;
        self.open = Some((view.first, Arc::clone(&file)));
        Ok(file)
    }

    fn fill(&mut self, file: &dyn DiskFile, view: &View, at: u64, most: usize) -> io::Result<()> {
        let rest = usize::try_from(view.end.saturating_sub(at)).unwrap_or(usize::MAX);
        self.buffer.resize(rest.min(most.max(64 * 1024)), 0);
        let read = file.read_at(&mut self.buffer, at)?;
        self.buffer.truncate(read);
        if let Parsed::Cut(whole) = parse(&self.buffer, 0, view.salt)
            && whole > self.buffer.len()
            && whole <= rest
        {
            self.buffer.resize(whole, 0);
            let read = file.read_at(&mut self.buffer, at)?;
            self.buffer.truncate(read);
        }
        Ok(())
    }

    /// Takes the records out of the buffer, which begins at `start` in the file. Gives where to go on: further on than
    /// `start`, or with `self.from` further on than before, so that reading always ends.
    fn take(
        &mut self,
        file: &dyn DiskFile,
        view: &View,
        start: u64,
        below: u64,
        found: &mut Found,
    ) -> io::Result<u64> {
        let mut at = 0;
        loop {
            match parse(&self.buffer, at, view.salt) {
                Parsed::Record(record) if record.number >= below => {
                    // What should stand before it can't be read.
                    found.lost += below.saturating_sub(self.from);
                    self.from = self.from.max(below);
                    return Ok(start + at as u64);
                }
                Parsed::Record(record) => {
                    if record.number >= self.from {
                        found.lost += record.number - self.from;
                        self.from = record.number + 1;
                        let body = record.body..record.end;
                        found.records.push((record.number, record.received, body));
                    }
                    at = record.next;
                }
                Parsed::Cut(_) if at > 0 => return Ok(start + at as u64),
                // Nothing that holds, or the file ends. The rest of the segment is read whole, to find what does.
                _ => {
                    let rest = usize::try_from(view.end.saturating_sub(start + at as u64));
                    let mut bytes = vec![0; rest.unwrap_or(0)];
                    let read = file.read_at(&mut bytes, start + at as u64)?;
                    bytes.truncate(read);
                    let next = next_record(&bytes, 8, view.salt, self.from, view.next);
                    let on = next.map(|record| record.start());
                    self.queue.found_corrupt();
                    self.queue.note(view.first, |view| view.corrupt = true);
                    let behind = next.map_or(view.next, |record| record.number);
                    tracing::error!(
                        queue = %self.queue.name,
                        segment = %self.queue.path_of(view).display(),
                        at = start + at as u64,
                        events = behind.saturating_sub(self.from),
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
