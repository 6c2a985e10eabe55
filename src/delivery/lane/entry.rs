//! One event in a lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::Event;

/// An event that is neither confirmed nor dead-lettered.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) event: Arc<Event>,
    /// Bytes of memory of the event and of the copy that the broker's client may hold.
    pub(super) size: usize,
    /// When the lane got the event: from its sender, or from the spool.
    pub(super) since: Instant,
    /// How much earlier the bridge received the event.
    pub(super) before: Duration,
    /// Whoever waits for the answer. `None` once the answer was given.
    pub(super) ticket: Option<T>,
    pub(super) state: State,
    pub(super) in_spool: InSpool,
    /// Whether the event was handed over before.
    pub(super) repeated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The event is to be handed over. It goes alone if it was refused together with others, so that the next refusal
    /// tells whether it is to blame.
    Waiting { alone: bool },
    /// The publisher has the event and has not reported on it.
    InFlight { at: Instant, attempt: u16 },
    /// The destination will never take the event. It is on its way to the dead letters.
    Undeliverable,
}

/// Whether the spool has an event, and under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InSpool {
    No,
    Appending(u64),
    Yes(u64),
}

impl<T> Entry<T> {
    pub(super) fn new(now: Instant, event: Arc<Event>, ticket: Option<T>) -> Self {
        Entry {
            // The client makes a copy of the envelope.
            size: event.size() + event.envelope().len(),
            event,
            since: now,
            before: Duration::ZERO,
            ticket,
            state: State::Waiting { alone: false },
            in_spool: InSpool::No,
            repeated: false,
        }
    }

    pub(super) fn is_spooled(&self) -> bool {
        matches!(self.in_spool, InSpool::Yes(_))
    }

    pub(super) fn in_flight_since(&self) -> Option<Instant> {
        match self.state {
            State::InFlight { at, .. } => Some(at),
            State::Waiting { .. } | State::Undeliverable => None,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }
}
