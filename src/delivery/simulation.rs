//! A lane and its queue in the spool, with a broker and a disk that do their worst: what was answered
//! arrives, in order, and nothing grows without bound.
//!
//! Everything is drawn from a seed: arrivals, confirms out of time, failures of every class, crashes of
//! the process and of the machine, stops in order, and recoveries.

mod bridge;
mod broker;
mod facts;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::sealed;
use crate::envelope::{Event, Sealer};
use crate::spool::simulated::{Faults, SimulatedDisk};
use bridge::Bridge;
use broker::Broker;
use facts::Facts;

const RUNS: u64 = 10_000;
/// Seeds that once failed.
const KEPT: &[u64] = &[];
/// Ordering keys, and the events that each may see in a run.
const KEYS: usize = 3;
const EVENTS_OF_A_KEY: usize = 40;
/// How many steps a lane may take to drain once all is well.
const PATIENCE: usize = 5_000;
/// For how many steps nothing may be left before it counts as drained.
const QUIET: usize = 40;

/// An event of a run: its key, and its number among those of its key.
type Which = (usize, usize);

struct World {
    rng: Rng,
    now: Instant,
    disk: SimulatedDisk,
    broker: Broker,
    bridge: Bridge,
    facts: Facts,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let now = Instant::now();
        let disk = SimulatedDisk::new(rng.u64(..), u64::MAX / 4);
        let broker = Broker::new(&mut rng);
        let mut facts = Facts::default();
        let bridge = Bridge::start(&mut rng, &disk, now, &mut facts);
        World {
            rng,
            now,
            disk,
            broker,
            bridge,
            facts,
        }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(..80));
        match self.rng.u32(..1000) {
            0..350 => self.send(),
            350..390 => self
                .broker
                .fall_ill(&mut self.rng, &mut self.bridge.reports),
            390..480 => self.broker.recover(&mut self.bridge.reports),
            480..490 => self.disk.fail(faults(&mut self.rng)),
            490..520 => self.disk.fail(Faults::default()),
            520..526 => self.disk.resize(self.rng.u64(..600_000)),
            526..560 => self.disk.resize(u64::MAX / 4),
            560..562 => self.restart(Ending::Killed),
            562..564 => self.restart(Ending::PowerLost),
            564..566 => self.restart(Ending::InOrder),
            566..600 => self.bridge.tick(),
            _ => self.broker.work(&mut self.rng, &mut self.bridge.reports),
        }
        self.turn();
    }

    /// The owner hears what happened, and does what its lane wants.
    fn turn(&mut self) {
        self.bridge
            .turn(&mut self.rng, self.now, &mut self.broker, &mut self.facts);
    }

    fn send(&mut self) {
        let Some(which) = self
            .facts
            .next_of(self.rng.usize(..KEYS), self.rng.u8(..4) == 0)
        else {
            return;
        };
        self.facts.given(which);
        self.bridge.give(self.now, which, &mut self.facts);
    }

    fn restart(&mut self, ending: Ending) {
        match ending {
            Ending::InOrder => self.stop(),
            Ending::Killed | Ending::PowerLost => {}
        }
        self.broker.lose_the_client(&mut self.rng);
        self.bridge.let_go_of_the_disk();
        if ending == Ending::PowerLost {
            self.disk.crash();
        }
        self.disk.fail(Faults::default());
        self.disk.resize(u64::MAX / 4);
        self.facts.begin_anew();
        self.bridge = Bridge::start(&mut self.rng, &self.disk, self.now, &mut self.facts);
    }

    fn stop(&mut self) {
        let until = self.now + Duration::from_secs(2);
        self.bridge.stop(until);
        while !self.bridge.is_finished(self.now) && self.now < until + Duration::from_secs(5) {
            self.now += Duration::from_millis(self.rng.u64(1..100));
            self.broker.work(&mut self.rng, &mut self.bridge.reports);
            self.turn();
        }
        self.bridge.tick();
    }

    /// All is well in the end, and everything arrives.
    fn end(&mut self) {
        self.disk.fail(Faults::default());
        self.disk.resize(u64::MAX / 4);
        self.broker.is_well_from_now_on();
        let (mut steps, mut quiet) = (0, 0);
        // What is being appended is not pending yet.
        while quiet < QUIET {
            self.now += Duration::from_millis(40);
            self.broker.recover(&mut self.bridge.reports);
            self.broker.work(&mut self.rng, &mut self.bridge.reports);
            self.turn();
            steps += 1;
            quiet = if self.bridge.pending() == 0 {
                quiet + 1
            } else {
                0
            };
            assert!(
                steps < PATIENCE,
                "the lane does not drain: {:?}",
                self.bridge
            );
        }
        self.bridge.assert_nothing_is_left(self.now);
        self.facts.assert_the_books_balance(0);
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

fn faults(rng: &mut Rng) -> Faults {
    let mut of = || if rng.bool() { rng.u32(..300) } else { 0 };
    Faults {
        writes: of(),
        syncs: of(),
        others: of(),
    }
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
