//! A lane's place in the spool: brings events there and back, and shows how much is there.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::lane::{Lane, Loaded};
use super::status::SpoolState;
use super::ticket::Ticket;
use crate::envelope::{Event, Sealer};
use crate::metrics::DestinationMetrics;
use crate::spool::{Appended, Batch, Cursor, Queue, Refusal, Spool};

/// How often is shown what only a look at the disk tells.
const LOOK: Duration = Duration::from_secs(1);
/// How often the spool is asked whether it takes events.
const ASK: Duration = Duration::from_secs(1);
/// How long a disk is left alone from which nothing can be read.
const REST: Duration = Duration::from_secs(1);

pub(super) struct Keeping {
    spool: Spool,
    cursor: Cursor,
    rests_until: Option<Instant>,
    looked: Option<Instant>,
    state: SpoolState,
    /// The most bytes that a record of the last append took.
    largest: u64,
    /// When the spool is asked again whether it takes events. None while its answer is awaited.
    asks_at: Option<Instant>,
}

impl Keeping {
    /// A queue of this spool; the first number that is not done is `first`.
    pub(super) fn new(spool: Spool, queue: Arc<Queue>, first: u64) -> Self {
        Keeping {
            spool,
            cursor: Cursor::new(queue, first),
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
            self.spool.ask(self.cursor.queue(), self.largest, done());
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
        self.spool.append(self.cursor.queue(), batch, done);
    }

    /// Reads about so many bytes, from this number on and below the other. None if the disk can't be read now: a
    /// moment later it is tried again.
    pub(super) fn load(
        &mut self,
        sealer: &Sealer,
        numbers: Range<u64>,
        bytes: usize,
    ) -> Option<Loaded> {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        self.cursor.skip_to(numbers.start);
        let read = match self.cursor.read(bytes, numbers.end) {
            Ok(read) => read,
            Err(error) => {
                if self.rests_until.is_none() {
                    let queue = self.cursor.queue().name().as_str().replace('\0', ":");
                    tracing::error!(queue, %error, "the spool can't be read; trying again");
                }
                self.rests_until = Some(Instant::now() + REST);
                return None;
            }
        };
        self.rests_until = None;
        let now = SystemTime::now();
        let mut loaded = Loaded {
            events: Vec::with_capacity(read.records.len()),
            lost: read.lost,
            through: read.through,
        };
        for (number, _, body) in read.records {
            match sealer.read_stored(body) {
                Some(event) => {
                    let before = now.duration_since(event.received_at()).unwrap_or_default();
                    loaded.events.push((number, Arc::new(event), before));
                }
                None => loaded.lost += 1,
            }
        }
        Some(loaded)
    }

    /// All records below this number are done.
    pub(super) fn mark(&self, number: u64) {
        self.cursor.queue().mark(number);
    }

    /// Shows how much is there. What only a look at the disk tells is looked up once a second.
    pub(super) fn show(&mut self, now: Instant, lane: &Lane<Ticket>, metrics: &DestinationMetrics) {
        let kept = lane.kept();
        metrics.spool().holds(kept, self.cursor.queue().bytes());
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
        let oldest = match lane.oldest_kept() {
            Some(event) => Some(event.received_micros()),
            None if lane.on_disk() > 0 => {
                self.cursor.skip_to(lane.on_disk_alone().start);
                // What can't be read now is told when it is loaded.
                self.cursor.next_received().ok().flatten()
            }
            None => None,
        };
        metrics.spool().oldest(oldest);
    }
}
