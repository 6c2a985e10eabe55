//! Handing events to a broker, one file a broker.
//!
//! Guarantees: every event that was handed over is reported on exactly once, confirmed or failed,
//! as long as its client lives; a confirm means what the broker's strongest acknowledgement means.
//! A publisher comes back by itself after its broker was away.
//! Leaves to others: what happens after a failure, order across failures, and when to hand over
//! at all (`delivery`).

pub mod amqp;
pub mod file;
pub mod kafka;
mod reason;

use std::sync::Arc;
use std::time::Duration;

pub use reason::Reason;

use crate::envelope::Event;

/// One destination's way to its broker. Only its lane's owner calls it.
pub trait Publisher: Send {
    /// Hands these events over, in this order, and returns without waiting for their reports,
    /// unless the destination is a file: then they are reported before it returns.
    ///
    /// Called only between a [`Report::Up`] and the next [`Report::Down`] or [`Self::rebuild`].
    /// A report that crosses such a call is still made.
    fn publish(&mut self, events: &[Handover]);

    /// Gives up the client and makes another. What the old one still held is never reported;
    /// [`Report::Up`] follows when the new one is ready. Called once nothing is outstanding, or
    /// when what is outstanding is of no interest any more.
    fn rebuild(&mut self);

    /// The largest envelope that the destination takes, in bytes, as far as that is known by now.
    fn max_envelope(&self) -> Option<usize> {
        None
    }

    /// The senders of all events numbered below `upto` were told, or are about to be told, that the
    /// bridge has them: from now on no event with the same ordering key may overtake one of these.
    /// Publishers that hand on in order whatever fails ignore it.
    fn answered(&mut self, _upto: u64) {}

    /// Makes the reports there are, on the thread that calls. Publishers that report by themselves ignore it.
    fn hear(&mut self) {}

    /// How soon [`Self::hear`] has to be called again, where these reports are awaited, or none is. None: never.
    fn hears_within(&self, _awaited: Option<Awaited>) -> Option<Duration> {
        None
    }

    /// So many events that wait for their reports make it wise to gather new ones until these are
    /// reported. Publishers that take any number as well at once as gathered don't say so.
    fn gathers_from(&self) -> usize {
        usize::MAX
    }

    /// Whether only one event of an ordering key may be on its way at a time. It can change whenever the lane
    /// waits for no report.
    fn takes_one_of_a_key(&self) -> bool {
        false
    }

    /// Opens again what was opened by name, after a rotation. Publishers that open no file ignore it.
    fn reopen(&mut self) {}

    /// Lets go of the broker within this time. Nothing is handed over afterwards.
    fn close(&mut self, within: Duration);
}

/// An event on its way to a broker.
#[derive(Clone, Debug)]
pub struct Handover {
    /// The lane's number for it: given back in its report.
    pub seq: u64,
    /// How often the lane had begun again by then, wrapping: tells a late report of an earlier hand-over.
    pub attempt: u16,
    /// What to publish.
    pub event: Arc<Event>,
}

/// The reports that a lane waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// How many events were handed over and are not reported on.
    pub events: usize,
    /// For how long no confirm has come, though events were handed over.
    pub silence: Duration,
}

/// What a publisher tells its lane, from any thread.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The broker has it: for Kafka all in-sync replicas, for AMQP a queue, for a file the disk.
    Confirmed {
        /// As in [`Handover::seq`].
        seq: u64,
        /// As in [`Handover::attempt`].
        attempt: u16,
    },
    /// It was not published, or may not have been.
    Failed {
        /// As in [`Handover::seq`].
        seq: u64,
        /// As in [`Handover::attempt`].
        attempt: u16,
        /// Why.
        failure: Failure,
    },
    /// The broker was reached, and events can be handed over.
    Up,
    /// The broker can't be reached, or takes nothing now. Events that are handed over may still
    /// be confirmed once it is back. Of class [`Class::Rebuild`]: there is no coming back before
    /// [`Publisher::rebuild`].
    Down(Failure),
}

/// What becomes of a dead letter that was read where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays.
    Keep,
    /// It is of no use any more: it goes where one can be taken out, from a RabbitMQ queue.
    Remove,
    /// It stays, and no other is read.
    Stop,
}

/// Where a publisher's reports go. It never blocks.
pub type Reporter = Arc<dyn Fn(Report) + Send + Sync>;

/// Why an event was not published.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// For graphs.
    pub reason: Reason,
    /// For people: the broker's own words, without the event's content.
    pub detail: String,
}

/// What a broker's error asks for. Each broker has one table that sorts its errors into these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It passes by itself: hand over again.
    Retry,
    /// Somebody has to do something (a topic, a right, a password): hand over again, patiently,
    /// and say so loudly.
    Operator,
    /// The event's own fault, if it was handed over alone: a dead letter.
    DeadLetter,
    /// Another event is to blame, and nobody has to wait: hand over again at once.
    Requeue,
    /// The client is of no use any more: rebuild it, then hand over again.
    Rebuild,
}
