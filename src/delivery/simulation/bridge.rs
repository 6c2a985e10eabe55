//! What lives in one process: the lane, and its queue in the spool. It does what the owner and the
//! spool's threads do, when the run says so.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::super::lane::{Backlog, Bounds, Condemned, Lane, Loaded, Steps};
use super::broker::Broker;
use super::facts::{DEADLINE, Facts, SPOOL_AFTER};
use super::{Which, event, sealer, which};
use crate::backoff::Backoff;
use crate::envelope::Event;
use crate::publish::Report;
use crate::spool::settings::Settings;
use crate::spool::simulated::SimulatedDisk;
use crate::spool::{Batch, Cursor, Name, Refusal, Sizes, Store};
use crate::units::Percent;

const WINDOW: usize = 300_000;
const ARRIVALS: usize = 90_000;
/// What a lane may hold besides its window: a piece that it reads back however full that is.
const A_PIECE: usize = 200_000;
/// How long the owner leaves a disk alone from which nothing could be read.
const REST: Duration = Duration::from_secs(1);
const SIZES: Sizes = Sizes {
    segment: 64 * 1024,
    ahead: 8 * 1024,
};

/// See the module.
pub(super) struct Bridge {
    lane: Lane<Which>,
    steps: Steps<Which>,
    store: Option<Store>,
    place: usize,
    cursor: Cursor,
    /// What the spool's writer was asked for and has not done yet; nothing if that is nothing.
    appending: Vec<(u64, Arc<Event>)>,
    /// How the append ended that the spool's writer did, and that the owner has not heard of yet.
    appended: Option<(u64, Option<Refusal>)>,
    /// What the spool's reader was asked for and has not done yet: numbers, and bytes.
    reading: Option<(Range<u64>, usize)>,
    /// What it read, and the owner has not heard of yet.
    read: Option<io::Result<Loaded>>,
    reads_again_at: Option<Instant>,
    /// What the dead letters were asked to take.
    letters: Vec<Condemned>,
    /// Other lanes fill the broker's window.
    pub(super) is_crowded: bool,
    /// The mark that is on disk, if that is known.
    persisted: Option<u64>,
    /// The number behind the last record that an earlier process left.
    left: u64,
    /// Events that an earlier process left, and that were read back since the last turn.
    left_events: Vec<Which>,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the events' bytes.
        let lane = format!("{:?}", self.lane);
        let mut parts = lane.split("bytes: [");
        let first = parts.next().unwrap_or_default().to_owned();
        let lane = parts.fold(first, |lane, part| {
            lane + part.split_once(']').map_or("", |(_, rest)| rest)
        });
        write!(f, "wakes at {:?}, {lane}", self.wakes_at())
    }
}

impl Bridge {
    pub(super) fn start(rng: &mut Rng, disk: &SimulatedDisk, facts: &mut Facts) -> Self {
        let settings = Settings {
            dir: PathBuf::from("/var/lib/bridge/spool"),
            max_size: 1 << 20,
            keep_free: Percent::new(0),
        };
        let opened = Store::open(Arc::new(disk.clone()), &settings, SIZES, rng.u64(..));
        let (mut store, found) = opened.expect("recovery always starts");
        assert!(
            store.corrupt() == 0 || disk.has_forgotten() || facts.may_lose_a_record(),
            "no bits were flipped"
        );
        let name = Name::new("kafka\0topic").expect("it is short");
        let (place, queue) = store.queue(&name);
        let backlog = found
            .first()
            .map_or_else(Backlog::default, |found| Backlog {
                first: found.first,
                next: found.next,
            });
        facts.found(backlog.next - backlog.first);
        let bounds = Bounds {
            deadline: DEADLINE,
            spool_after: SPOOL_AFTER,
            window: WINDOW,
            arrivals: ARRIVALS,
            backlog: Some(backlog),
        };
        Bridge {
            lane: Lane::new(bounds, Backoff::new(rng.u64(..))),
            steps: Steps::default(),
            store: Some(store),
            place,
            cursor: Cursor::new(queue, backlog.first),
            appending: Vec::new(),
            appended: None,
            reading: None,
            read: None,
            reads_again_at: None,
            letters: Vec::new(),
            is_crowded: false,
            persisted: None,
            left: backlog.next,
            left_events: Vec::new(),
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store
            .as_mut()
            .expect("it is open while the bridge lives")
    }

    fn room(&self) -> usize {
        match self.is_crowded {
            true => 0,
            false => WINDOW.saturating_sub(self.lane.size()),
        }
    }

    pub(super) fn give(&mut self, now: Instant, which: Which) {
        let room = self.room();
        self.lane
            .give(now, event(which), which, room, &mut self.steps);
    }

    pub(super) fn hear(&mut self, now: Instant, reports: Vec<Report>) {
        for report in reports {
            self.lane.report(now, report, &mut self.steps);
        }
    }

    /// The owner sleeps until then, if it gets no message.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let times = [self.lane.wakes_at(), self.reads_again_at];
        times.into_iter().flatten().min()
    }

    pub(super) fn stop(&mut self, until: Instant) {
        self.lane.stop(until);
    }

    pub(super) fn is_finished(&self, now: Instant) -> bool {
        self.lane.is_finished(now)
    }

    pub(super) fn let_go_of_the_disk(&mut self) {
        self.store = None;
    }

    pub(super) fn pending(&self) -> usize {
        self.lane.pending()
    }

    pub(super) fn mark(&self) -> u64 {
        self.lane.mark()
    }

    pub(super) fn persisted_mark(&self) -> Option<u64> {
        self.persisted
    }

    /// As the spool's writer does every second.
    pub(super) fn tick(&mut self) {
        let mark = self.lane.mark();
        // A disk that fails is tried again the next time.
        if self.store().tick(false).is_ok() {
            self.persisted = Some(mark);
        }
    }

    /// The owner's turn, as in `Owner::run`, but that the spool's threads take their time.
    pub(super) fn turn(&mut self, now: Instant, broker: &mut Broker, facts: &mut Facts) {
        for which in self.left_events.drain(..) {
            broker.may_repeat(which);
        }
        self.lane.limit_per_key(broker.per_key());
        let room = self.room();
        self.lane.advance(now, None, room, &mut self.steps);
        self.carry_out(now, broker, facts);
        if self.reads_again_at.is_some_and(|at| at <= now) {
            self.reads_again_at = None;
        }
        let is_reading = self.reading.is_some() || self.read.is_some();
        if let Some(bytes) = self.steps.load.take()
            && !is_reading
            && self.reads_again_at.is_none()
        {
            self.reading = Some((self.lane.on_disk_alone(), bytes));
        }
        self.cursor.queue().mark(self.lane.mark());
        assert!(
            self.lane.size() <= WINDOW + A_PIECE,
            "{} bytes in the line",
            self.lane.size()
        );
        facts.assert_the_accounting_balances(self.lane.pending());
    }

    fn carry_out(&mut self, now: Instant, broker: &mut Broker, facts: &mut Facts) {
        if !self.steps.append.is_empty() {
            assert!(
                self.appending.is_empty() && self.appended.is_none(),
                "one append at a time"
            );
            self.appending = std::mem::take(&mut self.steps.append);
        }
        broker.publish(&self.steps.publish);
        self.steps.publish.clear();
        self.letters.append(&mut self.steps.dead_letters);
        if std::mem::take(&mut self.steps.rebuild) {
            broker.rebuild();
        }
        for notice in self.steps.notices.drain(..) {
            facts.noticed(&notice);
        }
        for (which, answer) in self.steps.answers.drain(..) {
            facts.answered(now, which, answer);
        }
    }

    /// The spool's writer or its reader does one thing, or the owner hears of one that was done. Whether the owner did.
    pub(super) fn disk_works(&mut self, rng: &mut Rng, now: Instant) -> bool {
        if let Some((upto, refusal)) = self.appended.take_if(|_| rng.bool()) {
            self.lane.appended(now, upto, refusal, &mut self.steps);
            return true;
        }
        if let Some(read) = self.read.take_if(|_| rng.bool()) {
            match read {
                Ok(loaded) => self.lane.loaded(now, loaded, &mut self.steps),
                Err(_) => self.reads_again_at = Some(now + REST),
            }
            return true;
        }
        match rng.bool() {
            true => self.write(now),
            false => self.load(),
        }
        false
    }

    fn writes(&self) -> bool {
        !self.appending.is_empty() || self.appended.is_some()
    }

    pub(super) fn waits_for_the_disk(&self) -> bool {
        self.writes() || self.reading.is_some() || self.read.is_some()
    }

    /// Whether the spool would take an append, and none is under way.
    pub(super) fn could_append(&self, now: Instant) -> bool {
        self.lane.spool_takes(now) && !self.writes()
    }

    /// The dead letters took what they were asked to take, or did not. Whether they were asked.
    pub(super) fn letters_are_answered(
        &mut self,
        now: Instant,
        are_taken: bool,
        facts: &mut Facts,
    ) -> bool {
        let letters = std::mem::take(&mut self.letters);
        let were_asked = !letters.is_empty();
        for letter in letters {
            if are_taken {
                facts.dead_lettered(which(&letter.event));
            }
            self.lane
                .dead_lettered(now, letter, are_taken, &mut self.steps);
        }
        were_asked
    }

    fn write(&mut self, now: Instant) {
        let events = std::mem::take(&mut self.appending);
        if events.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        for (number, event) in &events {
            batch.push(*number, event.received_micros(), |bytes| {
                sealer().write_stored(event, bytes)
            });
        }
        let place = self.place;
        let outcome = self.store().append(now, &mut [(place, batch)]).remove(0);
        self.appended = Some(outcome);
    }

    fn load(&mut self) {
        let Some((numbers, bytes)) = self.reading.take() else {
            return;
        };
        self.cursor.skip_to(numbers.start);
        let (left, left_events) = (self.left, &mut self.left_events);
        let read = self.cursor.read(bytes, numbers.end);
        self.read = Some(read.map(|read| {
            let events = read.records.iter().map(|(number, _, body)| {
                let event = sealer().read_stored(body).expect("it was written so");
                left_events.extend((*number < left).then(|| which(&event)));
                (*number, Arc::new(event), Duration::ZERO)
            });
            Loaded {
                events: events.collect(),
                lost: read.lost,
                through: read.through,
            }
        }));
    }

    /// Everything was published, and nobody waits for anything.
    pub(super) fn is_drained(&self) -> bool {
        self.lane.pending() == 0 && !self.waits_for_the_disk() && self.letters.is_empty()
    }

    pub(super) fn assert_nothing_is_left(&mut self) {
        self.cursor.queue().mark(self.lane.mark());
        assert_eq!(
            (self.lane.kept(), self.lane.size(), self.lane.on_disk()),
            (0, 0, 0)
        );
        self.store().tick(true).expect("the disk is well");
        assert!(self.store().is_empty(), "the spool ends empty");
    }
}
