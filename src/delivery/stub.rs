//! Stands in for delivery until it is there: does what a test says.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Receipt;
use crate::envelope::Event;
use crate::route::Table;

/// What the stub does with events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Script {
    /// Confirms them at once.
    #[default]
    Publish,
    /// Refuses them.
    Refuse,
    /// Confirms them after this long.
    Wait(Duration),
    /// Has a bug.
    Panic,
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No destination took it in time.
    Unavailable,
    /// The bridge is about to end.
    Stopping,
}

/// Whether a destination takes events.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// `kafka:minchat.message.sent.v1`
    pub destination: String,
    /// Whether it does.
    pub ready: bool,
    /// In a few words.
    pub detail: String,
}

/// All lanes.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    script: Script,
    delivered: Vec<Vec<u8>>,
}

/// One worker's way to the lanes.
#[derive(Clone, Debug)]
pub struct Port {
    delivery: Rc<Delivery>,
}

impl Delivery {
    /// What to do from now on.
    pub fn script(&self, script: Script) {
        self.locked().script = script;
    }

    /// The envelopes that were given to it.
    pub fn delivered(&self) -> Vec<Vec<u8>> {
        self.locked().delivered.clone()
    }

    /// A port for this worker.
    pub fn port(&self) -> Port {
        Port { delivery: Rc::new(self.clone()) }
    }

    /// Where events go.
    pub fn table(&self) -> Table {
        Table
    }

    /// One for each destination.
    pub fn readiness(&self) -> Vec<Readiness> {
        let ready = self.locked().script != Script::Refuse;
        let detail = if ready { "up" } else { "down" }.to_owned();
        vec![Readiness { destination: "file:minchat.message.sent.v1".to_owned(), ready, detail }]
    }

    /// Whether every lane's owner answered lately.
    pub fn liveness(&self) -> Result<(), String> {
        Ok(())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Port {
    /// Brings the lanes' answers to those who wait, for ever.
    pub async fn answering(self) {}

    /// Gives the event to its lanes at once, and tells what became of it.
    pub fn deliver(&self, event: Event) -> impl Future<Output = Result<Receipt, Refused>> + use<> {
        let mut shared = self.delivery.locked();
        let script = shared.script;
        assert!(script != Script::Panic, "a bug, as the script has it");
        shared.delivered.push(event.envelope().to_vec());
        async move {
            match script {
                Script::Refuse => return Err(Refused::Unavailable),
                Script::Wait(wait) => tokio::time::sleep(wait).await,
                Script::Publish | Script::Panic => {}
            }
            Ok(Receipt::Published)
        }
    }
}
