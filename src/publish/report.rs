//! What a publisher reports to its lane, and the channel of those whose own thread or task reports: what it reports waits
//! until the lane polls.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::reason::Reason;

/// What a publisher tells its lane.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The broker has it: for Kafka all in-sync replicas, for AMQP a queue, for a file the disk.
    Confirmed {
        /// As in [`super::Handover::seq`].
        seq: u64,
        /// As in [`super::Handover::attempt`].
        attempt: u16,
    },
    /// It was not published, or may not have been.
    Failed {
        /// As in [`super::Handover::seq`].
        seq: u64,
        /// As in [`super::Handover::attempt`].
        attempt: u16,
        /// Why.
        failure: Failure,
    },
    /// The broker was reached, and events can be handed over.
    Up,
    /// The broker can't be reached, or takes nothing now. Events that are handed over may still
    /// be confirmed once it is back. Of class [`Class::Rebuild`]: there is no coming back before
    /// [`super::Publisher::rebuild`].
    Down(Failure),
}

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

/// Wakes the lane, so that it polls its publisher. It never blocks.
pub type Wakeup = Arc<dyn Fn() + Send + Sync>;

/// Wakes nobody: for whoever asks by itself.
pub fn nobody() -> Wakeup {
    Arc::new(|| {})
}

/// The publisher's end. Once the lane's end is dropped, nothing that is sent here is heard.
#[derive(Clone)]
pub struct ReportSender {
    reports: Sender<Report>,
    wakeup: Wakeup,
}

/// A channel from a publisher's thread to [`super::Publisher::poll`].
pub fn channel(wakeup: Wakeup) -> (ReportSender, Receiver<Report>) {
    let (reports, polled) = std::sync::mpsc::channel();
    (ReportSender { reports, wakeup }, polled)
}

impl ReportSender {
    /// Sends one report.
    pub fn send(&self, report: Report) {
        self.send_all([report]);
    }

    /// Sends reports, in this order, and wakes the lane once.
    pub fn send_all(&self, reports: impl IntoIterator<Item = Report>) {
        for report in reports {
            // An error means that the publisher was rebuilt or closed: nobody waits for the report.
            let _ = self.reports.send(report);
        }
        (self.wakeup)();
    }
}
