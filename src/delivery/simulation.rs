//! A lane and its queue in the spool, with a broker and a disk that do their worst: what was answered
//! arrives, in order, nothing arrives twice without a reason, and nothing grows without bound.
//!
//! Everything is drawn from a seed: arrivals, reports late and out of order, lost confirms, failures of every class, a
//! disk that is slow, fails and flips a bit, crashes of the process and of the machine, stops in order, and recoveries.
//! The lane is advanced only when a message came or the time came that it asked for, so that a wake-up that it forgets
//! to ask for is found: an answer is late, or the lane stands still.

mod bridge;
mod broker;
mod facts;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::envelope::sealed;
use crate::envelope::{Event, Sealer};
use crate::spool::simulated::{Faults, SimulatedDisk};
use bridge::Bridge;
use broker::Broker;
use facts::Facts;

const RUNS: u64 = 10_000;
/// Seeds that once failed.
const KEPT: &[u64] = &[19_001, 582_263];
/// Ordering keys, and the events that each may see in a run.
const KEYS: usize = 3;
const EVENTS_OF_A_KEY: usize = 40;
/// How many things may happen until a lane has drained once all is well.
const PATIENCE: usize = 5_000;
/// How often a lane may wake at one and the same time.
const WAKES: usize = 20;
const ROOMY: u64 = u64::MAX / 4;

/// An event of a run: its key, and its number among those of its key.
type Which = (usize, usize);

struct World {
    rng: Rng,
    now: Instant,
    disk: SimulatedDisk,
    broker: Broker,
    bridge: Bridge,
    facts: Facts,
    /// How many of 1,000 steps the disk does something.
    disk_speed: u32,
    /// Whether a bit flips in this run. It costs one record, if writes don't fail too and the power stays on: then it is
    /// known what was synced.
    flips: bool,
    has_flipped: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let now = Instant::now();
        let disk = SimulatedDisk::new(rng.u64(..), ROOMY);
        let broker = Broker::new(&mut rng);
        let mut facts = Facts::default();
        let bridge = Bridge::start(&mut rng, &disk, &mut facts);
        let disk_speed = rng.choice([30, 200, 200]).expect("there are some");
        let flips = rng.u8(..3) == 0;
        World {
            rng,
            now,
            disk,
            broker,
            bridge,
            facts,
            disk_speed,
            flips,
            has_flipped: false,
        }
    }

    fn step(&mut self) {
        let passes = match self.rng.u32(..100) {
            0 => Duration::from_secs(self.rng.u64(..10)),
            _ => Duration::from_millis(self.rng.u64(..80)),
        };
        self.pass(passes);
        if self.rng.u32(..1000) < self.disk_speed {
            self.disk_works();
        }
        match self.rng.u32(..1000) {
            0..300 => self.send(),
            300..340 => self.broker.fall_ill(&mut self.rng),
            340..430 => self.broker.recover(),
            430..440 => {
                let faults = self.faults();
                self.disk.fail(faults);
            }
            440..480 => self.disk.fail(Faults::default()),
            480..486 => self.disk.resize(self.rng.u64(..600_000)),
            486..520 => self.disk.resize(ROOMY),
            520..522 => self.restart(Ending::Killed),
            522..524 if !self.flips => self.restart(Ending::PowerLost),
            522..524 => self.restart(Ending::Killed),
            524..526 => self.restart(Ending::InOrder),
            526..560 => self.bridge.tick(),
            560..600 => self.letters_are_answered(),
            600..610 => self.bridge.is_crowded = self.rng.bool(),
            610..614 => self.flip_a_bit(),
            614..750 => self.deliver_reports(),
            _ => self.broker.work(&mut self.rng),
        }
    }

    /// Time passes, and the lane is woken whenever it asked for that.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut wakes = 0;
        while let Some(at) = self.bridge.wakes_at().filter(|at| *at <= until) {
            wakes = if at > self.now { 0 } else { wakes + 1 };
            assert!(
                wakes < WAKES,
                "the lane wakes for nothing: {:?}",
                self.bridge
            );
            self.now = self.now.max(at);
            self.turn();
            if self.bridge.is_finished(self.now) {
                return;
            }
        }
        self.now = until;
        if self.bridge.could_append(self.now) {
            self.facts.assert_none_is_late_for_the_spool(self.now);
        }
    }

    /// The owner does what its lane wants, after a message or at the time that the lane asked for.
    fn turn(&mut self) {
        self.bridge
            .turn(self.now, &mut self.broker, &mut self.facts);
        // A restart may find what a failed sync has not written, and nobody was told of.
        if !self.disk.has_forgotten() {
            self.facts.assert_no_more_is_lost();
        }
    }

    fn send(&mut self) {
        let (key, is_hasty) = (self.rng.usize(..KEYS), self.rng.u8(..4) == 0);
        if let Some(which) = self.facts.next_of(key, is_hasty) {
            self.facts.given(self.now, which);
            self.bridge.give(self.now, which);
            self.turn();
        }
    }

    /// The spool's writer or its reader does something, or the lane's owner is told what it has done.
    fn disk_works(&mut self) {
        if self.bridge.disk_works(&mut self.rng, self.now) {
            self.turn();
        }
    }

    fn letters_are_answered(&mut self) {
        let are_taken = self.rng.u8(..3) > 0;
        if self
            .bridge
            .letters_are_answered(self.now, are_taken, &mut self.facts)
        {
            self.turn();
        }
    }

    /// Some of the reports that were made reach the lane.
    fn deliver_reports(&mut self) {
        let reports = self.broker.take_reports(&mut self.rng);
        if !reports.is_empty() {
            self.bridge.hear(self.now, reports);
            self.turn();
        }
    }

    /// At most one bit of a run flips.
    fn flip_a_bit(&mut self) {
        if self.flips
            && !self.has_flipped
            && !self.disk.files_outside(Path::new("/none")).is_empty()
        {
            self.has_flipped = true;
            self.disk.flip_a_bit();
            self.facts.a_record_may_be_lost();
        }
    }

    fn faults(&mut self) -> Faults {
        let mut of = |fails: bool| match fails && self.rng.bool() {
            true => self.rng.u32(..300),
            false => 0,
        };
        Faults {
            reads: of(true),
            writes: of(!self.flips),
            syncs: of(!self.flips),
            others: of(!self.flips),
        }
    }

    fn restart(&mut self, ending: Ending) {
        if ending == Ending::InOrder {
            self.stop();
        }
        self.broker.lose_the_client(&mut self.rng);
        self.bridge.let_go_of_the_disk();
        if ending == Ending::PowerLost {
            self.disk.crash();
        }
        self.disk.fail(Faults::default());
        self.disk.resize(ROOMY);
        let is_damaged = self.has_flipped || self.disk.has_forgotten();
        let persisted = self.bridge.persisted_mark().filter(|_| !is_damaged);
        self.facts.begin_anew();
        self.bridge = Bridge::start(&mut self.rng, &self.disk, &mut self.facts);
        // A queue that was empty is gone, and its numbers begin anew.
        if let Some(persisted) = persisted.filter(|_| self.bridge.pending() > 0) {
            let mark = self.bridge.mark();
            assert!(mark >= persisted, "from {persisted} back to {mark}");
        }
    }

    fn stop(&mut self) {
        let until = self.now + Duration::from_secs(2);
        self.bridge.stop(until);
        self.turn();
        while !self.bridge.is_finished(self.now) {
            assert!(
                self.now < until + Duration::from_secs(5),
                "it does not stop: {:?}",
                self.bridge
            );
            let passes = Duration::from_millis(self.rng.u64(1..100));
            self.pass(passes);
            self.broker.work(&mut self.rng);
            self.deliver_reports();
            self.disk_works();
            self.letters_are_answered();
        }
        self.bridge.tick();
    }

    /// All is well in the end, and everything arrives, with no wake-up but those that the lane asks for.
    fn end(&mut self) {
        self.disk.fail(Faults::default());
        self.disk.resize(ROOMY);
        self.broker.is_well_from_now_on();
        let mut steps = 0;
        while !self.bridge.is_drained() {
            steps += 1;
            assert!(
                steps < PATIENCE,
                "the lane does not drain: {:?}",
                self.bridge
            );
            self.pass(Duration::from_millis(1));
            self.broker.recover();
            self.broker.work(&mut self.rng);
            let reports = self.broker.take_all_reports();
            let has_reports = !reports.is_empty();
            self.bridge.hear(self.now, reports);
            let was_read = self.bridge.disk_works(&mut self.rng, self.now);
            let were_taken = self
                .bridge
                .letters_are_answered(self.now, true, &mut self.facts);
            if has_reports || was_read || were_taken {
                self.turn();
            } else if self.bridge.waits_for_the_disk() {
                // It does more the next time.
            } else if let Some(at) = self.bridge.wakes_at() {
                self.pass(at.saturating_duration_since(self.now));
            } else if !self.bridge.is_drained() && self.broker.is_idle() {
                panic!("nothing will ever wake the lane: {:?}", self.bridge);
            }
        }
        self.bridge.assert_nothing_is_left();
        self.facts.assert_all_are_answered();
        self.facts.assert_the_accounting_balances(0);
        self.facts
            .assert_all_that_was_answered_arrived(&self.broker.delivered);
        self.facts.assert_the_order(&self.broker.delivered);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Killed,
    PowerLost,
    InOrder,
}

fn sealer() -> &'static Sealer {
    static SEALER: OnceLock<Sealer> = OnceLock::new();
    SEALER.get_or_init(sealed::sealer)
}

/// The event itself: the same in every run, so that it is sealed once.
fn event(which: Which) -> Arc<Event> {
    static EVENTS: OnceLock<Vec<Arc<Event>>> = OnceLock::new();
    let events = EVENTS.get_or_init(|| {
        (0..KEYS * EVENTS_OF_A_KEY)
            .map(|index| Arc::new(sealed(index / EVENTS_OF_A_KEY, index % EVENTS_OF_A_KEY)))
            .collect()
    });
    Arc::clone(&events[which.0 * EVENTS_OF_A_KEY + which.1])
}

fn sealed(key: usize, number: usize) -> Event {
    // Some are so large that a backlog is read back in pieces.
    let text = "x".repeat(if number.is_multiple_of(4) {
        20_000
    } else {
        100
    });
    let body = format!(
        r#"{{"sent_by":{{"id":"u"}},"sent_to":[],"chat_id":"{key}","text":"{number} {text}"}}"#
    );
    sealed::event(sealer(), &body)
}

/// Which event these bytes are of.
fn which(event: &Event) -> Which {
    static IDS: OnceLock<std::collections::HashMap<String, Which>> = OnceLock::new();
    let ids = IDS.get_or_init(|| {
        let all = (0..KEYS).flat_map(|key| (0..EVENTS_OF_A_KEY).map(move |number| (key, number)));
        all.map(|which| (self::event(which).id().to_string(), which))
            .collect()
    });
    ids[&event.id().to_string()]
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..world.rng.u32(20..400) {
        world.step();
    }
    world.end();
}

#[test]
fn what_was_answered_arrives_in_order_whatever_happens() {
    crate::seeds::each(
        KEPT,
        RUNS,
        "what_was_answered_arrives_in_order_whatever_happens",
        run,
    );
}
