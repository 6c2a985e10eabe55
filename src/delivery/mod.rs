//! The policy between an event and its destinations: one ordered lane a destination, and the receipt.
//!
//! Guarantees: an event is answered as accepted only when each of its destinations has confirmed it;
//! each lane has one owner, the only one that hands events to its broker; what the lanes hold is
//! bounded by the window; every event that a lane took is confirmed, dead-lettered, or pending.
//! Leaves to others: the brokers' protocols (`publish`), and what an answer looks like (`http`).

mod backoff;
mod health;
mod kept;
mod lane;
mod mailbox;
mod owner;
mod port;
mod receipt;
pub mod settings;
mod status;
mod ticket;
mod window;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backoff::Backoff;
use health::BrokerHealth;
pub use kept::KeptDeadLetters;
use lane::{Bounds, Lane};
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
}

/// All lanes. A clone is the same delivery.
#[derive(Clone)]
pub struct Delivery(Arc<Shared>);

struct Shared {
    table: Table,
    sealer: Arc<Sealer>,
    lanes: Vec<LaneHandle>,
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
            let lane = NewLane {
                index,
                destination: destination.clone(),
                lane: Lane::new(
                    side.bounds,
                    Backoff::new(u64::from(std::process::id()) << 16 | index as u64),
                ),
                side,
                kept: kept.clone(),
            };
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

    /// Whether each lane's owner answered lately.
    ///
    /// # Errors
    /// The destination whose owner did not.
    pub fn liveness(&self) -> Result<(), String> {
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

    /// Ends all lanes: waits for the confirms that somebody waits for, within this time, and lets
    /// go of the brokers. Returns how many events were left, which nobody was promised.
    pub fn stop(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        for lane in &self.0.lanes {
            lane.mailbox.push(Message::Stop { until });
        }
        let owners = std::mem::take(&mut *self.owners());
        owners
            .into_iter()
            .map(|owner| owner.join().unwrap_or_default())
            .sum()
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
                patience: settings.spool_after,
                window: settings.window / 2,
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
                delivery,
            }
            .run()
        })
    }
}
