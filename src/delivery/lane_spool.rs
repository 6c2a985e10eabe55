//! A lane's place in the spool: brings events there and back, and shows how much is there. No call waits for the disk.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::lane::{Lane, Loaded};
use super::status::SpoolState;
use crate::envelope::{Event, Sealer};
use crate::metrics::DestinationMetrics;
use crate::spool::{Appended, Batch, Cursor, Queue, Refusal, Spool};

/// How often is shown what only a look at the disk tells.
const LOOK: Duration = Duration::from_secs(1);
/// How often the spool is asked whether it takes events.
const ASK: Duration = Duration::from_secs(1);
/// How long a disk is left alone from which nothing can be read.
const REST: Duration = Duration::from_secs(1);
/// An event takes up about so many times as much memory as its record takes up on disk.
const MEMORY_OF_RECORD: usize = 2;

pub(super) struct LaneSpool {
    spool: Spool,
    queue: Arc<Queue>,
    /// `None` while the spool's reading thread has it: one thing is read at a time.
    cursor: Option<Cursor>,
    /// Bytes of memory for what is being read.
    reading: usize,
    rests_until: Option<Instant>,
    looked: Option<Instant>,
    state: SpoolState,
    /// The most bytes that a record of the last append took.
    largest: u64,
    /// When the spool is asked again whether it takes events. `None` while its answer is awaited.
    asks_at: Option<Instant>,
}

/// What the reading thread gives back to the lane's thread.
pub(super) struct ReadBack {
    cursor: Cursor,
    found: io::Result<Found>,
}

enum Found {
    Events(Loaded),
    /// When the first event was received that is on disk alone, in microseconds since 1970.
    Oldest(Option<u64>),
}

impl LaneSpool {
    /// A queue of this spool; the first number that is not done is `first`.
    pub(super) fn new(spool: Spool, queue: Arc<Queue>, first: u64) -> Self {
        LaneSpool {
            spool,
            cursor: Some(Cursor::new(Arc::clone(&queue), first)),
            queue,
            reading: 0,
            rests_until: None,
            looked: None,
            state: SpoolState::Takes,
            largest: 0,
            asks_at: Some(Instant::now()),
        }
    }

    /// Whether the spool takes this lane's events.
    pub(super) fn state(&self) -> &SpoolState {
        &self.state
    }

    /// The spool has taken an append, or would have, or this is why not.
    pub(super) fn answered(&mut self, now: Instant, refusal: Option<&Refusal>) {
        self.state = match refusal {
            Some(refusal) => SpoolState::Refuses(refusal.to_string()),
            None => SpoolState::Takes,
        };
        self.asks_at = Some(now + ASK);
    }

    /// Asks the spool from time to time whether it takes events, while the destination needs it or it refuses. While
    /// nobody posts, because this destination is not ready, no append would show that it takes them again.
    pub(super) fn ask<D>(&mut self, now: Instant, is_needed: bool, done: impl FnOnce() -> D)
    where
        D: FnOnce(Option<Refusal>) + Send + 'static,
    {
        let is_due = self.asks_at.is_some_and(|at| at <= now);
        if is_due && (is_needed || self.state != SpoolState::Takes) {
            self.asks_at = None;
            self.spool.ask(&self.queue, self.largest, done());
        }
    }

    /// Appends these events under their numbers. `done` is told how that went, on another thread.
    pub(super) fn append(
        &mut self,
        sealer: &Sealer,
        events: &[(u64, Arc<Event>)],
        done: impl FnOnce(Appended) + Send + 'static,
    ) {
        let mut batch = Batch::new();
        for (number, event) in events {
            batch.push(*number, event.received_micros(), |bytes| {
                sealer.write_stored(event, bytes);
            });
        }
        self.largest = batch.largest();
        self.spool.append(&self.queue, batch, done);
    }

    /// Reads about so many bytes of events, each by `read_stored`, from the first of these numbers on and below the other. `done` is called on another
    /// thread, and what it is given goes to [`Self::read_back`]. Nothing is read while something else is, or for a moment
    /// after the disk could not be read.
    pub(super) fn load(
        &mut self,
        read_stored: impl Fn(&[u8]) -> Option<Event> + Send + 'static,
        numbers: Range<u64>,
        bytes: usize,
        done: impl FnOnce(ReadBack) + Send + 'static,
    ) {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.read(numbers.start, done, move |cursor| {
            load(cursor, read_stored, bytes, numbers.end).map(Found::Events)
        });
        self.reading = bytes.saturating_mul(MEMORY_OF_RECORD);
    }

    fn read(
        &mut self,
        from: u64,
        done: impl FnOnce(ReadBack) + Send + 'static,
        read: impl FnOnce(&mut Cursor) -> io::Result<Found> + Send + 'static,
    ) {
        let Some(mut cursor) = self.cursor.take() else {
            return;
        };
        self.spool.read_on_thread(move || {
            cursor.skip_to(from);
            let found = read(&mut cursor);
            done(ReadBack { cursor, found });
        });
    }

    /// Bytes of memory for what is being read.
    pub(super) fn reading(&self) -> usize {
        self.reading
    }

    /// Takes what was read, and gives the events if it was that. If the disk can't be read now, it is tried again a
    /// moment later.
    pub(super) fn read_back(
        &mut self,
        read: ReadBack,
        metrics: &DestinationMetrics,
    ) -> Option<Loaded> {
        self.cursor = Some(read.cursor);
        self.reading = 0;
        match read.found {
            Ok(Found::Events(loaded)) => {
                self.rests_until = None;
                return Some(loaded);
            }
            Ok(Found::Oldest(oldest)) if self.looked.is_some() => metrics.spool().oldest(oldest),
            Ok(Found::Oldest(_)) => {}
            Err(error) => {
                if self.rests_until.is_none() {
                    tracing::error!(queue = %self.queue.name(), %error, "the spool can't be read; trying again");
                }
                self.rests_until = Some(Instant::now() + REST);
            }
        }
        None
    }

    /// All records below this number are done.
    pub(super) fn mark(&self, number: u64) {
        self.queue.mark(number);
    }

    /// Shows how much is there. What only a look at the disk tells is looked up once a second; `done` is as in
    /// [`Self::load`].
    pub(super) fn show<T>(
        &mut self,
        now: Instant,
        lane: &Lane<T>,
        metrics: &DestinationMetrics,
        done: impl FnOnce(ReadBack) + Send + 'static,
    ) {
        let kept = lane.kept();
        metrics.spool().holds(kept, self.queue.bytes());
        if kept == 0 {
            if self.looked.take().is_some() {
                metrics.spool().oldest(None);
            }
            return;
        }
        if self.looked.is_some_and(|at| now < at + LOOK) {
            return;
        }
        self.looked = Some(now);
        match lane.oldest_kept() {
            Some(event) => metrics.spool().oldest(Some(event.received_micros())),
            None if lane.on_disk() > 0 => {
                self.read(lane.on_disk_alone().start, done, |cursor| {
                    // What can't be read now is told when it is loaded.
                    Ok(Found::Oldest(cursor.next_received().ok().flatten()))
                });
            }
            None => metrics.spool().oldest(None),
        }
    }
}

fn load(
    cursor: &mut Cursor,
    read_stored: impl Fn(&[u8]) -> Option<Event>,
    bytes: usize,
    below: u64,
) -> io::Result<Loaded> {
    let read = cursor.read(bytes, below)?;
    let now = SystemTime::now();
    let mut loaded = Loaded {
        events: Vec::with_capacity(read.records.len()),
        lost: read.lost,
        through: read.through,
    };
    for (number, _, body) in read.records {
        match read_stored(body) {
            Some(event) => {
                let before = now.duration_since(event.received_at()).unwrap_or_default();
                loaded.events.push((number, Arc::new(event), before));
            }
            None => loaded.lost += 1,
        }
    }
    Ok(loaded)
}
