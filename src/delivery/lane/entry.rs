//! One event in a lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::{DeadLetterReason, Event};

#[derive(Debug)]
pub(super) struct Entry<T> {
    /// None once it is done.
    event: Option<Arc<Event>>,
    /// What it and the copy that the broker's client may hold cost, in bytes.
    pub(super) size: usize,
    /// When it was given to the lane, or came back from the spool.
    pub(super) since: Instant,
    /// How long ago it was received by then.
    pub(super) before: Duration,
    pub(super) ticket: Option<T>,
    pub(super) state: State,
    pub(super) kept: Kept,
    pub(super) tries: u32,
    /// It was in a batch that was refused for one of its events: to be handed over alone.
    pub(super) suspect: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    HandedOver { at: Instant, attempt: u16 },
    Condemned(DeadLetterReason),
    Done,
}

/// Whether the spool has it, and under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    No,
    Appending(u64),
    Yes(u64),
}

impl Kept {
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Kept::No => None,
            Kept::Appending(number) | Kept::Yes(number) => Some(number),
        }
    }
}

impl<T> Entry<T> {
    pub(super) fn new(now: Instant, event: Arc<Event>, ticket: Option<T>) -> Self {
        Entry {
            size: size(&event),
            event: Some(event),
            since: now,
            before: Duration::ZERO,
            ticket,
            state: State::Waiting,
            kept: Kept::No,
            tries: 0,
            suspect: false,
        }
    }

    /// The event of an entry that is not done.
    pub(super) fn event(&self) -> &Arc<Event> {
        self.event
            .as_ref()
            .expect("who asks has seen that it is not done")
    }

    /// It is done, and keeps its place until all before it are. Gives the bytes that it lets go of.
    pub(super) fn let_go(&mut self) -> usize {
        self.state = State::Done;
        self.event = None;
        let before = self.size;
        self.size = before.min(PLACE);
        before - self.size
    }
}

/// What a place in the line costs without its event, in bytes of memory.
const PLACE: usize = 160;

/// What an event costs a lane, in bytes of memory: itself, and the copy that a client makes of its envelope.
pub(super) fn size(event: &Event) -> usize {
    event.size() + event.envelope().len()
}
