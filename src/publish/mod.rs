//! Handing events to a broker, one file a broker.
//!
//! Guarantees: every event that was handed over is reported on exactly once, confirmed or failed,
//! as long as its client lives; a confirm means what the broker's strongest acknowledgement means.
//! A publisher comes back by itself after its broker was away. A broker or a disk that does not answer never blocks
//! the lane.
//! Leaves to others: what happens after a failure, order across failures, and when to hand over
//! at all (`delivery`).

pub mod amqp;
pub mod file;
pub mod kafka;
mod reason;
mod report;

use std::sync::Arc;
use std::time::Duration;

pub use reason::Reason;
pub use report::{Class, Failure, Report, ReportSender, Wakeup, channel, nobody};

use crate::envelope::Event;

/// One destination's way to its broker. One thread at a time calls it, the one that runs the lane; only the lane's own
/// thread calls [`Self::poll`] and [`Self::close`]. No call but [`Self::close`] blocks.
pub trait Publisher: Send {
    /// Hands these events over, in this order. [`Self::poll`] reports on each.
    ///
    /// Called only between a [`Report::Up`] and the next [`Report::Down`] or [`Self::rebuild`].
    /// A report that crosses such a call is still made.
    fn publish(&mut self, events: &[Handover]);

    /// Adds what there is to report to `reports`, and says how the lane goes on.
    fn poll(&mut self, reports: &mut Vec<Report>) -> Polled;

    /// Gives up the client and makes another. What the old one still held is never reported;
    /// [`Report::Up`] follows when the new one is ready. Called once nothing is outstanding, or
    /// when what is outstanding is of no interest any more.
    fn rebuild(&mut self);

    /// Lets go of the broker within this time. Nothing is handed over afterwards.
    fn close(&mut self, within: Duration);
}

/// What a publisher tells its lane when it is polled, besides its reports.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polled {
    /// How soon the lane has to poll again. `None`: whenever the publisher wakes it, which it does as soon as there is
    /// something to report.
    pub poll_within: Option<Duration>,
    /// The largest envelope that the destination takes, in bytes. `None` while that is not known.
    pub max_envelope: Option<usize>,
    /// How many events of one ordering key may be on their way to the broker at a time.
    pub per_key: PerKey,
}

/// How many events of one ordering key may be on their way to the broker at a time, so that none overtakes another
/// whatever fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PerKey {
    /// Any number: the publisher keeps their order.
    #[default]
    Any,
    /// No event behind one that the bridge has answered for: the first can fail while the second is confirmed.
    /// Between events that were not answered, no order is promised.
    NoneBehindAnswered,
    /// One.
    One,
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

impl Handover {
    /// The report that the broker has it.
    pub fn confirmed(&self) -> Report {
        Report::Confirmed {
            seq: self.seq,
            attempt: self.attempt,
        }
    }

    /// The report that it was not published, or may not have been.
    pub fn failed(&self, failure: Failure) -> Report {
        Report::Failed {
            seq: self.seq,
            attempt: self.attempt,
            failure,
        }
    }
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
