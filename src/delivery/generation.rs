//! Where events go, and how they are sealed: all of one configuration.

use std::sync::{Arc, PoisonError, RwLock};

use super::limits::EventLimits;
use super::running::LaneHandle;
use crate::envelope::{Event, Sealer};
use crate::route::{Destination, Route, Table};

/// See the module. It never changes: another configuration is another generation. The places of
/// sources and of lanes are the same in all generations of a process, and are used for nothing else
/// once their source or their route is gone.
#[derive(Default)]
pub struct Generation {
    pub(super) sealer: Sealer,
    pub(super) table: Table,
    pub(super) limits: EventLimits,
    /// One for each destination of the table, at its place.
    pub(super) lanes: Vec<LaneHandle>,
}

/// The generation of now. A clone is the same.
#[derive(Clone, Default)]
pub(super) struct CurrentGeneration(Arc<RwLock<Arc<Generation>>>);

impl CurrentGeneration {
    pub(super) fn get(&self) -> Arc<Generation> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put(&self, generation: Arc<Generation>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = generation;
    }
}

impl Generation {
    /// One of sources whose events go nowhere.
    #[cfg(fuzzing)]
    pub fn sealing(sealer: Sealer) -> Self {
        Generation {
            sealer,
            ..Generation::default()
        }
    }

    /// Seals the payloads of its sources.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Where their events go.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// How large its events may be.
    pub fn limits(&self) -> EventLimits {
        self.limits
    }

    /// The same with those lanes of another generation that stand before this place, to which
    /// nothing leads here.
    pub(super) fn with_lanes_of(&self, other: &Generation, place: usize) -> Generation {
        let new = &other.table.destinations()[self.lanes.len()..place];
        Generation {
            sealer: self.sealer.clone(),
            limits: self.limits,
            table: self.table.clone().with_unrouted(new.iter().cloned()),
            lanes: other.lanes[..place].to_vec(),
        }
    }

    /// Where an event goes that this generation sealed.
    pub(super) fn route(&self, event: &Event) -> &Route {
        let source = event.source();
        let source = source.expect("an event is sealed for a source that the generation has");
        self.table.of(source, event.event_type())
    }

    /// The destinations of an event that this generation sealed.
    pub fn destinations(&self, event: &Event) -> impl Iterator<Item = &Destination> {
        let lanes = self.route(event).lanes.iter();
        lanes.map(|lane| &self.table.destinations()[*lane])
    }

    /// Where the dead letter of an event goes that this destination refused. None if the event's source is not
    /// configured any more and no destination is for its dead letters.
    pub(super) fn dead_letters_of(&self, event: &Event, refused_by: &Destination) -> Option<Route> {
        match self.sealer.place_of(event) {
            Some(place) => Some(self.table.dead_letters_of(place, refused_by.broker)),
            None => self
                .table
                .dead_letters_of_removed(event.event_type(), refused_by),
        }
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = (&Destination, &LaneHandle)> {
        self.table.destinations().iter().zip(&self.lanes)
    }
}
