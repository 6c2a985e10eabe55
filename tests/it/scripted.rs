//! A broker that does what a test says.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minchat_bridge::publish::{
    Class, Failure, Handover, Polled, Publisher, Reason, Report, ReportSender, Wakeup, channel,
};

/// What the broker does with events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Script {
    /// Confirms them at once.
    #[default]
    Confirm,
    /// Is out of reach.
    Away,
    /// Confirms them after this long.
    ConfirmAfter(Duration),
}

/// A broker with all its destinations. A clone is the same broker.
#[derive(Clone, Default)]
pub struct Scripted(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    script: Script,
    published: Vec<String>,
    destinations: Vec<ReportSender>,
}

impl Scripted {
    /// What to do from now on.
    pub fn script(&self, script: Script) {
        let mut shared = self.locked();
        shared.script = script;
        for destination in &shared.destinations {
            destination.send(match script {
                Script::Away => Report::Down(away()),
                Script::Confirm | Script::ConfirmAfter(_) => Report::Up,
            });
        }
    }

    /// The envelopes that were handed over, in order.
    pub fn published(&self) -> Vec<String> {
        self.locked().published.clone()
    }

    /// A publisher for one more destination.
    pub fn publisher(&self, wakeup: Wakeup) -> Box<dyn Publisher> {
        let (sender, reports) = channel(wakeup);
        sender.send(Report::Up);
        self.locked().destinations.push(sender.clone());
        Box::new(OneDestination {
            broker: self.clone(),
            sender,
            reports,
        })
    }

    fn locked(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn away() -> Failure {
    Failure {
        class: Class::Retry,
        reason: Reason::Disconnected,
        detail: "away".to_owned(),
    }
}

struct OneDestination {
    broker: Scripted,
    sender: ReportSender,
    reports: Receiver<Report>,
}

impl Publisher for OneDestination {
    fn publish(&mut self, events: &[Handover]) {
        for Handover {
            seq,
            attempt,
            event,
        } in events.iter().cloned()
        {
            let envelope = String::from_utf8_lossy(event.envelope()).into_owned();
            let script = {
                let mut shared = self.broker.locked();
                shared.published.push(envelope);
                shared.script
            };
            let sender = self.sender.clone();
            match script {
                Script::Confirm => sender.send(Report::Confirmed { seq, attempt }),
                Script::Away => sender.send(Report::Failed {
                    seq,
                    attempt,
                    failure: away(),
                }),
                Script::ConfirmAfter(wait) => {
                    std::thread::spawn(move || {
                        std::thread::sleep(wait);
                        sender.send(Report::Confirmed { seq, attempt });
                    });
                }
            }
        }
    }

    fn poll(&mut self, reports: &mut Vec<Report>) -> Polled {
        reports.extend(self.reports.try_iter());
        Polled::default()
    }

    fn rebuild(&mut self) {
        self.sender.send(Report::Up);
    }

    fn close(&mut self, _within: Duration) {}
}
