//! The policy between an event and its destinations: one ordered lane a destination, and the receipt.
//!
//! Guarantees: an event is answered as accepted only when each of its destinations has confirmed it;
//! one thread at a time runs a lane, and nothing else hands events to its broker; what the lanes hold is
//! bounded by the window; every event that a lane took is confirmed, dead-lettered, or pending.
//! Leaves to others: the brokers' protocols (`publish`), and what an answer looks like (`http`).

#[cfg(test)]
mod away;
mod backoff;
mod generation;
mod health;
mod inbox;
mod kept;
mod lane;
mod lane_spool;
mod limits;
mod mailbox;
mod opening;
mod owner;
mod port;
mod running;
pub mod settings;
#[cfg(test)]
mod simulation;
mod status;
mod ticket;
mod window;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use generation::CurrentGeneration;
pub use generation::Generation;
pub use kept::KeptDeadLetters;
pub use limits::EventLimits;
pub use opening::queue_name;
use opening::{BrokerSide, Ground, Maker};
pub use port::{Delivering, Port, Refused};
use ticket::Message;

pub use crate::receipt::Receipt;

use crate::envelope::Sealer;
use crate::metrics::Metrics;
use crate::route::{Destination, Table};
use crate::spool::Spool;

/// Whether a destination takes events now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// As in logs: `kafka:minchat.message.sent.v1`.
    pub destination: String,
    /// It does.
    pub ready: bool,
    /// Why not, if it doesn't; why only by the spool, if so.
    pub detail: String,
}

/// What the spool still has for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// As in logs: `kafka:minchat.message.sent.v1`.
    pub destination: String,
    /// How many events.
    pub events: u64,
    /// Whether its broker takes events, and why not.
    pub detail: String,
}

/// Makes the publisher of a destination, on its lane's thread.
pub type MakePublisher<'a> = &'a dyn Fn(&Destination) -> Maker;

/// What delivery works with.
pub struct Parts {
    /// The section `publish`.
    pub settings: settings::Settings,
    /// Where events go.
    pub table: Table,
    /// Seals payloads and dead letters.
    pub sealer: Sealer,
    /// What it moves.
    pub metrics: Arc<Metrics>,
    /// Where dead letters go that nothing else takes; none while the spool is off.
    pub kept: Option<KeptDeadLetters>,
    /// Where events wait for their destination; none while the spool is off.
    pub spool: Option<Spool>,
}

/// All lanes. A clone is the same delivery.
#[derive(Clone)]
pub struct Delivery(Arc<Shared>);

struct Shared {
    ground: Ground,
    current: CurrentGeneration,
    started: Mutex<Started>,
}

/// What runs. Locked by whoever starts or ends lanes.
#[derive(Default)]
struct Started {
    threads: Vec<JoinHandle<usize>>,
    sides: Vec<BrokerSide>,
    is_stopping: bool,
}

impl Delivery {
    /// Starts a lane with its thread for each destination of the table.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn start(parts: Parts, publisher: MakePublisher<'_>) -> io::Result<Delivery> {
        let delivery = Delivery(Arc::new(Shared {
            ground: Ground {
                settings: parts.settings,
                metrics: parts.metrics,
                kept: parts.kept,
                spool: parts.spool,
            },
            current: CurrentGeneration::default(),
            started: Mutex::default(),
        }));
        delivery.follow(parts.table, parts.sealer, publisher)?;
        Ok(delivery)
    }

    /// A way into the lanes for the worker thread that calls.
    pub fn port(&self) -> Port {
        Port::new(self.0.current.clone())
    }

    /// The generation of now.
    pub fn current(&self) -> Arc<Generation> {
        self.0.current.get()
    }

    /// Makes the next generation, and starts a lane for each destination that is new in it. `table`
    /// and `sealer` follow those of the generation of now: what has a place there keeps it. A lane
    /// that nothing leads to any more stays, so that what it holds is still published.
    ///
    /// # Errors
    /// When a thread can't be started, or the bridge is stopping. What went before stays then.
    pub fn follow(
        &self,
        table: Table,
        sealer: Sealer,
        publisher: MakePublisher<'_>,
    ) -> io::Result<Arc<Generation>> {
        let mut started = self.started();
        if started.is_stopping {
            return Err(io::Error::other("the bridge is stopping"));
        }
        let before = self.current();
        let new = table.destinations().iter().enumerate();
        let new = new.skip(before.lanes.len()).map(|(place, destination)| {
            let sides = &mut started.sides;
            self.0.ground.lane(place, destination, sides)
        });
        let new = new.collect::<io::Result<Vec<_>>>()?;
        let handles = new.iter().map(|lane| lane.handle.clone());
        let next = Arc::new(Generation {
            lanes: before.lanes.iter().cloned().chain(handles).collect(),
            limits: self.0.ground.limits(),
            sealer,
            table,
        });
        // Before the lanes begin: they read and write events by its sealer.
        self.0.current.put(Arc::clone(&next));
        for lane in new {
            let (place, maker) = (lane.place, publisher(&lane.destination));
            match lane.start(self.0.current.clone(), self.0.ground.kept.clone(), maker) {
                Ok(thread) => started.threads.push(thread),
                Err(error) => {
                    self.0
                        .current
                        .put(Arc::new(before.with_lanes_of(&next, place)));
                    return Err(error);
                }
            }
        }
        Ok(next)
    }

    /// Whether each destination that a route leads to takes events.
    pub fn readiness(&self) -> Vec<Readiness> {
        let current = self.current();
        let lanes = current.lanes().enumerate();
        lanes
            .filter(|(place, _)| current.table.is_routed(*place))
            .map(|(_, (destination, lane))| {
                let (ready, detail) = lane.status.readiness();
                Readiness {
                    destination: destination.to_string(),
                    ready,
                    detail,
                }
            })
            .collect()
    }

    /// Whether each lane and the spool's writer answered lately.
    ///
    /// # Errors
    /// Who did not.
    pub fn liveness(&self) -> Result<(), String> {
        let spool = self.0.ground.spool.as_ref();
        if spool.is_some_and(|spool| !spool.lives()) {
            return Err("the spool's writer does not answer".to_owned());
        }
        match self
            .current()
            .lanes()
            .find(|(_, lane)| !lane.status.lives())
        {
            Some((destination, _)) => Err(format!("the lane of {destination} does not answer")),
            None => Ok(()),
        }
    }

    /// How many events are neither confirmed nor dead-lettered.
    pub fn pending(&self) -> usize {
        let current = self.current();
        current.lanes.iter().map(|lane| lane.status.pending()).sum()
    }

    /// How many events the spool has that are not done.
    pub fn spooled(&self) -> u64 {
        let current = self.current();
        current.lanes.iter().map(|lane| lane.status.spooled()).sum()
    }

    /// The destinations for which the spool has events that are not done.
    pub fn backlogs(&self) -> Vec<Left> {
        let current = self.current();
        let left = current.lanes().map(|(destination, lane)| Left {
            destination: destination.to_string(),
            events: lane.status.spooled(),
            detail: lane.status.broker(),
        });
        left.filter(|left| left.events > 0).collect()
    }

    /// Ends all lanes: waits for the confirms that somebody waits for, within this time, puts what
    /// is not confirmed by then into the spool, and lets go of the brokers and of the spool. Returns
    /// how many events were left that are in neither, which nobody was promised.
    pub fn stop(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        let mut started = self.started();
        started.is_stopping = true;
        let threads = std::mem::take(&mut started.threads);
        drop(started);
        for lane in &self.current().lanes {
            lane.mailbox.push(Message::Stop { until });
        }
        let left = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .sum();
        if let Some(spool) = &self.0.ground.spool {
            spool.close();
        }
        left
    }

    fn started(&self) -> MutexGuard<'_, Started> {
        self.0
            .started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
