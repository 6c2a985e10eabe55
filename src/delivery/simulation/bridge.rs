//! What lives in one process: the lane, and its queue in the spool. It does what the owner and the
//! spool's writer do, when the run says so.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::super::lane::{Backlog, Bounds, Lane, Loaded, Steps};
use super::broker::Broker;
use super::facts::Facts;
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
    /// How the append ended that the spool's writer did, and the owner has not heard of yet.
    appended: Option<(u64, Option<Refusal>)>,
    /// What the publisher reported and the owner has not heard yet.
    pub(super) reports: VecDeque<Report>,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.lane)
    }
}

impl Bridge {
    pub(super) fn start(
        rng: &mut Rng,
        disk: &SimulatedDisk,
        _now: Instant,
        facts: &mut Facts,
    ) -> Self {
        let settings = Settings {
            dir: PathBuf::from("/spool"),
            max_size: 1 << 20,
            keep_free: Percent::new(0),
        };
        let opened = Store::open(Arc::new(disk.clone()), &settings, SIZES, rng.u64(..));
        let (mut store, found) = opened.expect("recovery always starts");
        assert!(
            store.corrupt() == 0 || disk.has_forgotten(),
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
            deadline: Duration::from_secs(5),
            spool_after: Duration::from_millis(250),
            window: WINDOW,
            arrivals: ARRIVALS,
            backlog: Some(backlog),
        };
        let seed = rng.u64(..);
        let mut lane = Lane::new(bounds, Backoff::new(seed));
        if seed.is_multiple_of(2) {
            lane.gather_from(1 + (seed >> 1) as usize % 8);
        }
        Bridge {
            lane,
            steps: Steps::default(),
            store: Some(store),
            place,
            cursor: Cursor::new(queue, backlog.first),
            appending: Vec::new(),
            appended: None,
            reports: VecDeque::new(),
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store
            .as_mut()
            .expect("it is open while the bridge lives")
    }

    pub(super) fn give(&mut self, now: Instant, which: Which, facts: &mut Facts) {
        let room = WINDOW.saturating_sub(self.lane.size());
        self.lane
            .give(now, event(which), which, room, &mut self.steps);
        self.answer(facts);
    }

    pub(super) fn pending(&self) -> usize {
        self.lane.pending()
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

    /// As the spool's writer does every second.
    pub(super) fn tick(&mut self) {
        // A disk that fails is tried again the next time.
        let _ = self.store().tick(false);
    }

    pub(super) fn turn(
        &mut self,
        rng: &mut Rng,
        now: Instant,
        broker: &mut Broker,
        facts: &mut Facts,
    ) {
        if rng.u8(..3) > 0 {
            self.hear_of_the_append(now);
        }
        if rng.u8(..3) > 0 {
            self.write(now);
        }
        let heard = rng.usize(..=self.reports.len());
        for report in self.reports.drain(..heard) {
            self.lane.report(now, report, &mut self.steps);
        }
        for _ in 0..8 {
            let room = WINDOW.saturating_sub(self.lane.size());
            self.lane.limit_per_key(broker.per_key());
            self.lane.advance(now, None, room, &mut self.steps);
            self.carry_out(rng, now, broker, facts);
            let Some(bytes) = self.steps.load.take() else {
                break;
            };
            let loaded = self.load(bytes);
            self.lane.loaded(now, loaded, &mut self.steps);
        }
        self.cursor.queue().mark(self.lane.mark());
        self.answer(facts);
        assert!(
            self.lane.size() <= WINDOW + A_PIECE,
            "{} bytes in the line",
            self.lane.size()
        );
        facts.assert_the_books_balance(self.lane.pending());
    }

    fn carry_out(&mut self, rng: &mut Rng, now: Instant, broker: &mut Broker, facts: &mut Facts) {
        if !self.steps.append.is_empty() {
            assert!(
                self.appending.is_empty() && self.appended.is_none(),
                "one append at a time"
            );
            self.appending = std::mem::take(&mut self.steps.append);
        }
        broker.publish(&self.steps.publish, &mut self.reports);
        self.steps.publish.clear();
        for condemned in std::mem::take(&mut self.steps.dead_letters) {
            let taken = rng.u8(..3) > 0;
            if taken {
                facts.dead_lettered(which(&condemned.event));
            }
            self.lane
                .dead_lettered(now, condemned, taken, &mut self.steps);
        }
        if std::mem::take(&mut self.steps.rebuild) {
            broker.rebuild();
            self.reports.clear();
        }
        self.answer(facts);
    }

    fn answer(&mut self, facts: &mut Facts) {
        for notice in self.steps.notices.drain(..) {
            facts.told(&notice);
        }
        for (which, answer) in self.steps.answers.drain(..) {
            facts.answered(which, answer);
        }
    }

    /// The spool's writer does what it was asked for.
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

    fn hear_of_the_append(&mut self, now: Instant) {
        if let Some((upto, refusal)) = self.appended.take() {
            self.lane.appended(now, upto, refusal, &mut self.steps);
        }
    }

    fn load(&mut self, bytes: usize) -> Loaded {
        let numbers = self.lane.on_disk_alone();
        self.cursor.skip_to(numbers.start);
        let read = self
            .cursor
            .read(bytes, numbers.end)
            .expect("reads don't fail here");
        let events = read.records.iter().map(|(number, _, body)| {
            let event = sealer().read_stored(body).expect("it was written so");
            (*number, Arc::new(event), Duration::ZERO)
        });
        Loaded {
            events: events.collect(),
            lost: read.lost,
            through: read.through,
        }
    }

    pub(super) fn assert_nothing_is_left(&mut self, now: Instant) {
        self.hear_of_the_append(now);
        self.write(now);
        self.hear_of_the_append(now);
        self.cursor.queue().mark(self.lane.mark());
        assert_eq!(
            (self.lane.kept(), self.lane.size(), self.lane.on_disk()),
            (0, 0, 0)
        );
        self.store().tick(true).expect("the disk is well");
        assert!(self.store().is_empty(), "the spool ends empty");
    }
}
