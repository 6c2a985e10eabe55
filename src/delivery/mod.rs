//! The policy between an event and its destinations: one ordered lane a destination, and the receipt.
//!
//! Guarantees: an event is answered as accepted only when each of its destinations has confirmed it;
//! each lane has one owner, the only one that hands events to its broker; what the lanes hold is
//! bounded by the window; every event that a lane took is confirmed, dead-lettered, or pending.
//! Leaves to others: the brokers' protocols (`publish`), and what an answer looks like (`http`).

mod backoff;
mod health;
mod keeping;
mod kept;
mod lane;
mod mailbox;
mod owner;
mod port;
mod receipt;
pub mod settings;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod slow_disk;
mod status;
mod ticket;
mod window;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backoff::Backoff;
use health::BrokerHealth;
use keeping::Keeping;
pub use kept::KeptDeadLetters;
use lane::{Backlog, Bounds, Lane};
use mailbox::Mailbox;
use owner::{Message, Owner};
pub use port::{Delivering, Port};
pub use receipt::Receipt;
use status::LaneStatus;
use ticket::Ticket;
use window::BrokerWindow;

use crate::envelope::{Event, Sealer};
use crate::metrics::Metrics;
use crate::publish::{Publisher, Reporter};
use crate::route::{Broker, Destination, Route, Table};
use crate::spool::{Name, Spool};

/// Why an event was not accepted. It promises nothing: the event may still be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A destination can't take it now, or did not confirm it in time.
    #[error("a destination did not confirm the event in time")]
    Unavailable,
    /// The bridge is stopping.
    #[error("the bridge is stopping")]
    Stopping,
}

/// Whether a destination takes events now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// As in logs: `kafka:minchat.message.sent.v1`.
    pub destination: String,
    /// It does.
    pub ready: bool,
    /// Why not, if it doesn't.
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

/// Makes the publisher of a destination, on its owner's thread.
pub type MakePublisher<'a> =
    &'a dyn Fn(&Destination) -> Box<dyn FnOnce(Reporter) -> Box<dyn Publisher> + Send>;

/// What delivery works with.
pub struct Parts {
    /// The section `publish`.
    pub settings: settings::Settings,
    /// Where events go.
    pub table: Table,
    /// Seals dead letters.
    pub sealer: Arc<Sealer>,
    /// What it moves.
    pub metrics: Arc<Metrics>,
    /// Where dead letters go that nothing else takes; none while the spool is off.
    pub kept: Option<KeptDeadLetters>,
    /// Where events wait for their destination, with a queue for each destination of the table, at
    /// the same place; none while the spool is off.
    pub spool: Option<Spool>,
}

/// All lanes. A clone is the same delivery.
#[derive(Clone)]
pub struct Delivery(Arc<Shared>);

struct Shared {
    table: Table,
    sealer: Arc<Sealer>,
    lanes: Vec<LaneHandle>,
    spool: Option<Spool>,
    owners: Mutex<Vec<JoinHandle<usize>>>,
}

struct LaneHandle {
    mailbox: Arc<Mailbox<Message>>,
    status: Arc<LaneStatus>,
}

impl Delivery {
    /// Starts a lane with its owner for each destination of the table.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn start(parts: Parts, publisher: MakePublisher<'_>) -> io::Result<Delivery> {
        let lanes = parts.table.destinations().iter().map(|_| LaneHandle {
            mailbox: Arc::new(Mailbox::new()),
            status: Arc::new(LaneStatus::new()),
        });
        let delivery = Delivery(Arc::new(Shared {
            lanes: lanes.collect(),
            table: parts.table,
            sealer: parts.sealer,
            spool: parts.spool,
            owners: Mutex::default(),
        }));
        let brokers =
            Broker::ALL.map(|broker| BrokerSide::new(broker, &parts.settings, &parts.metrics));
        let kept = parts.kept.map(Arc::new);
        for (index, destination) in delivery.table().destinations().iter().enumerate() {
            let side = brokers
                .iter()
                .flatten()
                .find(|side| side.broker == destination.broker);
            let side = side
                .expect("metrics know every broker that a destination is at")
                .clone();
            let backlog = delivery.0.spool.as_ref().map(|spool| backlog(spool, index));
            let bounds = Bounds {
                backlog,
                ..side.bounds
            };
            let seed = u64::from(std::process::id()) << 16 | index as u64;
            let lane = NewLane {
                index,
                destination: destination.clone(),
                lane: Lane::new(bounds, Backoff::new(seed)),
                keeping: backlog
                    .zip(delivery.0.spool.clone())
                    .map(|(backlog, spool)| Keeping::new(spool, index, backlog.first)),
                side,
                kept: kept.clone(),
            };
            if let Some(Backlog { first, next }) = backlog {
                let left = next - first;
                parts.metrics.destination(index).found_in_spool(left);
                let pending = usize::try_from(left).unwrap_or(usize::MAX);
                delivery.0.lanes[index].status.holds(pending, left);
            }
            let owner = lane.start(&delivery, &parts.metrics, publisher(destination))?;
            delivery.owners().push(owner);
        }
        Ok(delivery)
    }

    /// A way into the lanes for the worker thread that calls.
    pub fn port(&self) -> Port {
        Port::new(self.clone())
    }

    /// Where events go.
    pub fn table(&self) -> &Table {
        &self.0.table
    }

    /// Whether each destination takes events.
    pub fn readiness(&self) -> Vec<Readiness> {
        let lanes = self.0.table.destinations().iter().zip(&self.0.lanes);
        lanes
            .map(|(destination, lane)| {
                let (ready, detail) = lane.status.readiness();
                Readiness {
                    destination: destination.to_string(),
                    ready,
                    detail,
                }
            })
            .collect()
    }

    /// Whether each lane's owner and the spool's writer answered lately.
    ///
    /// # Errors
    /// Who did not.
    pub fn liveness(&self) -> Result<(), String> {
        if self.0.spool.as_ref().is_some_and(|spool| !spool.lives()) {
            return Err("the spool's writer does not answer".to_owned());
        }
        let lanes = self.0.table.destinations().iter().zip(&self.0.lanes);
        match lanes.into_iter().find(|(_, lane)| !lane.status.lives()) {
            Some((destination, _)) => Err(format!("the lane of {destination} does not answer")),
            None => Ok(()),
        }
    }

    /// Opens files again that were opened by name.
    pub fn reopen(&self) {
        for lane in &self.0.lanes {
            lane.mailbox.push(Message::Reopen);
        }
    }

    /// How many events are neither confirmed nor dead-lettered.
    pub fn pending(&self) -> usize {
        self.0.lanes.iter().map(|lane| lane.status.pending()).sum()
    }

    /// How many events the spool has that are not done.
    pub fn spooled(&self) -> u64 {
        self.0.lanes.iter().map(|lane| lane.status.spooled()).sum()
    }

    /// The destinations for which the spool has events that are not done.
    pub fn backlogs(&self) -> Vec<Left> {
        let lanes = self.0.table.destinations().iter().zip(&self.0.lanes);
        let left = lanes.map(|(destination, lane)| Left {
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
        for lane in &self.0.lanes {
            lane.mailbox.push(Message::Stop { until });
        }
        let owners = std::mem::take(&mut *self.owners());
        let left = owners
            .into_iter()
            .map(|owner| owner.join().unwrap_or_default())
            .sum();
        if let Some(spool) = &self.0.spool {
            spool.close();
        }
        left
    }

    fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    fn route(&self, event: &Event) -> &Route {
        self.0.table.of(event.source(), event.event_type())
    }

    fn give(&self, lane: usize, event: Arc<Event>, ticket: Ticket) {
        self.0.lanes[lane]
            .mailbox
            .push(Message::Give { event, ticket });
    }

    fn owners(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<usize>>> {
        self.0.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the lanes of one broker share.
#[derive(Clone)]
struct BrokerSide {
    broker: Broker,
    bounds: Bounds,
    window: Arc<BrokerWindow>,
    health: Arc<BrokerHealth>,
}

impl BrokerSide {
    fn new(broker: Broker, settings: &settings::Settings, metrics: &Metrics) -> Option<Self> {
        Some(BrokerSide {
            broker,
            bounds: Bounds {
                deadline: settings.deadline,
                spool_after: settings.spool_after,
                window: settings.window / 2,
                arrivals: settings.window / 4,
                backlog: None,
            },
            window: Arc::new(BrokerWindow::new(settings.window)),
            health: Arc::new(BrokerHealth::new(broker, metrics.broker(broker)?)),
        })
    }
}

struct NewLane {
    index: usize,
    destination: Destination,
    lane: Lane<Ticket>,
    side: BrokerSide,
    kept: Option<Arc<KeptDeadLetters>>,
    keeping: Option<Keeping>,
}

/// What the spool has for a lane at the start.
fn backlog(spool: &Spool, place: usize) -> Backlog {
    let name = spool.queue(place).name();
    let found = spool.found().iter().find(|found| found.name == *name);
    found.map_or_else(Backlog::default, |found| Backlog {
        first: found.first,
        next: found.next,
    })
}

/// What a destination's queue in the spool is called; none if its name is too long for that.
pub fn queue_name(destination: &Destination) -> Option<Name> {
    Name::new(destination.to_stored())
}

impl NewLane {
    fn start(
        self,
        delivery: &Delivery,
        metrics: &Metrics,
        publisher: Box<dyn FnOnce(Reporter) -> Box<dyn Publisher> + Send>,
    ) -> io::Result<JoinHandle<usize>> {
        let handle = &delivery.0.lanes[self.index];
        let (mailbox, status) = (Arc::clone(&handle.mailbox), Arc::clone(&handle.status));
        let (delivery, metrics) = (delivery.clone(), metrics.destination(self.index));
        let thread = std::thread::Builder::new()
            .name(format!("lane-{}", self.index))
            .stack_size(512 * 1024);
        thread.spawn(move || {
            let reports = Arc::clone(&mailbox);
            let publisher = publisher(Arc::new(move |report| {
                reports.push(Message::Report(report))
            }));
            let (window, health) = (self.side.window, self.side.health);
            let (destination, lane, kept) = (self.destination, self.lane, self.kept);
            let keeping = self.keeping;
            Owner {
                destination,
                lane,
                mailbox,
                status,
                publisher,
                window,
                health,
                metrics,
                kept,
                keeping,
                spooled: 0,
                delivery,
            }
            .run()
        })
    }
}
