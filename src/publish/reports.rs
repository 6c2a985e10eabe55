//! Reports that a publisher's own thread or task makes: they wait until the lane polls.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use super::Report;

/// Wakes the lane, so that it polls its publisher. It never blocks.
pub type Wakeup = Arc<dyn Fn() + Send + Sync>;

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
