//! A broker that does what a test says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minchat_bridge::publish::{Class, Failure, Handover, Publisher, Reason, Report, Reporter};

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
    reporters: Vec<Reporter>,
}

impl Scripted {
    /// What to do from now on.
    pub fn script(&self, script: Script) {
        let mut shared = self.locked();
        shared.script = script;
        for reporter in &shared.reporters {
            reporter(match script {
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
    pub fn publisher(&self, reporter: Reporter) -> Box<dyn Publisher> {
        reporter(Report::Up);
        self.locked().reporters.push(reporter.clone());
        Box::new(OneDestination {
            broker: self.clone(),
            reporter,
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
    reporter: Reporter,
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
            let reporter = self.reporter.clone();
            match script {
                Script::Confirm => reporter(Report::Confirmed { seq, attempt }),
                Script::Away => reporter(Report::Failed {
                    seq,
                    attempt,
                    failure: away(),
                }),
                Script::ConfirmAfter(wait) => {
                    std::thread::spawn(move || {
                        std::thread::sleep(wait);
                        reporter(Report::Confirmed { seq, attempt });
                    });
                }
            }
        }
    }

    fn rebuild(&mut self) {
        (self.reporter)(Report::Up);
    }

    fn close(&mut self, _within: Duration) {}
}
