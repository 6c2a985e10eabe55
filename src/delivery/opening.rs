//! How a lane begins: with its place in the spool, its share of its broker's window, and its thread.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::generation::CurrentGeneration;
use super::health::BrokerHealth;
use super::kept::KeptDeadLetters;
use super::lane::{Backlog, Bounds, Lane};
use super::lane_spool::LaneSpool;
use super::limits::EventLimits;
use super::owner::{Owner, Turn};
use super::running::LaneHandle;
use super::settings;
use super::ticket::Ticket;
use super::window::BrokerWindow;
use crate::backoff::Backoff;
use crate::metrics::{DestinationMetrics, Metrics};
use crate::publish::{Publisher, Wakeup};
use crate::route::{Broker, Destination};
use crate::spool::{Name, Spool};

/// Makes a publisher, on its lane's thread.
pub type Maker = Box<dyn FnOnce(Wakeup) -> Box<dyn Publisher> + Send>;

/// What every lane is made with.
pub(super) struct Ground {
    pub(super) settings: settings::Settings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) kept: Option<KeptDeadLetters>,
    pub(super) spool: Option<Spool>,
}

/// What the lanes of one broker share.
#[derive(Clone)]
pub(super) struct BrokerSide {
    broker: Broker,
    window: Arc<BrokerWindow>,
    health: Arc<BrokerHealth>,
}

/// A lane that has not begun.
pub(super) struct NewLane {
    pub(super) place: usize,
    pub(super) destination: Destination,
    lane: Lane<Ticket>,
    side: BrokerSide,
    lane_spool: Option<LaneSpool>,
    metrics: DestinationMetrics,
    pub(super) handle: LaneHandle,
}

/// What a destination's queue in the spool is called; none if its name is too long for that.
pub fn queue_name(destination: &Destination) -> Option<Name> {
    Name::new(destination.to_stored())
}

impl Ground {
    /// A lane for this destination, at this place, with what the spool has for it.
    pub(super) fn lane(
        &self,
        place: usize,
        destination: &Destination,
        sides: &mut Vec<BrokerSide>,
    ) -> io::Result<NewLane> {
        let (backlog, lane_spool) = self.backlog(destination)?.unzip();
        let metrics = self
            .metrics
            .destination(destination.broker, &destination.name());
        let handle = LaneHandle::new();
        if let Some(Backlog { first, next }) = backlog {
            let left = next - first;
            metrics.found_in_spool(left);
            let pending = usize::try_from(left).unwrap_or(usize::MAX);
            handle.status.holds(pending, left);
        }
        let seed = u64::from(std::process::id()) << 16 | place as u64;
        Ok(NewLane {
            place,
            destination: destination.clone(),
            lane: Lane::new(self.bounds(backlog), Backoff::new(seed)),
            side: self.side(destination.broker, sides),
            lane_spool,
            metrics,
            handle,
        })
    }

    /// How large an event may be.
    pub(super) fn limits(&self) -> EventLimits {
        let spool = self.spool.as_ref().map(Spool::max_size);
        EventLimits::new(self.settings.window, spool)
    }

    fn bounds(&self, backlog: Option<Backlog>) -> Bounds {
        Bounds {
            deadline: self.settings.deadline,
            spool_after: self.settings.spool_after,
            window: self.settings.window / 2,
            arrivals: self.settings.window / 4,
            backlog,
        }
    }

    /// What the spool has for a destination that had no lane since the start, and the way there;
    /// none while the spool is off.
    fn backlog(&self, destination: &Destination) -> io::Result<Option<(Backlog, LaneSpool)>> {
        let Some(spool) = &self.spool else {
            return Ok(None);
        };
        let name = queue_name(destination).ok_or_else(|| {
            io::Error::other(format!("{destination}: too long a name for the spool"))
        })?;
        let found = spool.found().iter().find(|found| found.name == name);
        let backlog = found.map_or_else(Backlog::default, |found| Backlog {
            first: found.first,
            next: found.next,
        });
        let queue = spool.queue(&name)?;
        let lane_spool = LaneSpool::new(spool.clone(), queue, backlog.first);
        Ok(Some((backlog, lane_spool)))
    }

    /// What the lanes of a broker share, which the first of them makes.
    fn side(&self, broker: Broker, sides: &mut Vec<BrokerSide>) -> BrokerSide {
        if let Some(side) = sides.iter().find(|side| side.broker == broker) {
            return side.clone();
        }
        let side = BrokerSide {
            broker,
            window: Arc::new(BrokerWindow::new(self.settings.window)),
            health: Arc::new(BrokerHealth::new(broker, self.metrics.broker(broker))),
        };
        sides.push(side.clone());
        side
    }
}

impl NewLane {
    /// Starts its thread.
    pub(super) fn start(
        self,
        generation: CurrentGeneration,
        kept: Option<KeptDeadLetters>,
        publisher: Maker,
    ) -> io::Result<JoinHandle<usize>> {
        let thread = std::thread::Builder::new()
            .name(format!("lane-{}", self.place))
            .stack_size(512 * 1024);
        thread.spawn(move || {
            let handle = self.handle;
            let mailbox = Arc::clone(&handle.mailbox);
            let woken = Arc::clone(&mailbox);
            let publisher = publisher(Arc::new(move || woken.wake()));
            handle.run(Owner {
                destination: self.destination,
                lane: self.lane,
                mailbox,
                status: Arc::clone(&handle.status),
                publisher,
                window: self.side.window,
                health: self.side.health,
                metrics: self.metrics,
                kept,
                lane_spool: self.lane_spool,
                generation,
                turn: Turn::default(),
            })
        })
    }
}
