//! Load from several connections, and what was answered.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::client::{Connection, Request};
use crate::payload::message;
use crate::process::{Process, await_some};

/// Posts counted messages over several connections until told to stop; every 202 is noted.
pub struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<Mutex<Vec<String>>>,
    refused: Arc<Mutex<Vec<u16>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    pub fn start(bridge: &Process, connections: usize) -> Self {
        let load = Load {
            stop: Arc::default(),
            accepted: Arc::default(),
            refused: Arc::default(),
            threads: Vec::new(),
        };
        let address = bridge.webhooks();
        let threads = (0..connections).map(|chat| {
            let (stop, accepted, refused) = (
                Arc::clone(&load.stop),
                Arc::clone(&load.accepted),
                Arc::clone(&load.refused),
            );
            std::thread::spawn(move || {
                let mut connection = Connection::open(address);
                for number in 0..1_000_000 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let request = Request::post(
                        "/webhooks/minchat",
                        message(&format!("chat{chat}"), &number.to_string()),
                    );
                    connection.send(request.bytes());
                    let Some(answer) = connection.answer() else {
                        return;
                    };
                    match answer.status {
                        202 => {
                            let id = answer.json()["id"]
                                .as_str()
                                .expect("a 202 has an id")
                                .to_owned();
                            accepted.lock().expect("nobody panics with it").push(id);
                        }
                        status => refused.lock().expect("nobody panics with it").push(status),
                    }
                }
            })
        });
        let threads = threads.collect();
        Load { threads, ..load }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.lock().expect("nobody panics with it").len()
    }

    pub fn refused(&self) -> usize {
        self.refused.lock().expect("nobody panics with it").len()
    }

    /// Ends it: the ids of all that was accepted, and the other statuses.
    pub fn end(self) -> (Vec<String>, Vec<u16>) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("the load does not panic");
        }
        let take = |list: Arc<Mutex<Vec<_>>>| {
            std::mem::take(&mut *list.lock().expect("nobody panics with it"))
        };
        let refused = std::mem::take(&mut *self.refused.lock().expect("nobody panics with it"));
        (take(self.accepted), refused)
    }
}

/// Breaks a broker in the middle of load and mends it; gives the ids of all that was accepted
/// before, meanwhile and after. Nothing but a 202 or a 503 is ever answered.
pub fn through_an_outage(
    bridge: &Process,
    breaks: impl FnOnce(),
    mends: impl FnOnce(),
) -> Vec<String> {
    let load = Load::start(bridge, 8);
    await_some("events before", || (load.accepted() > 200).then_some(()));
    breaks();
    await_some("refusals", || (load.refused() > 50).then_some(()));
    mends();
    let at_return = load.accepted();
    await_some("events after", || {
        (load.accepted() > at_return + 200).then_some(())
    });
    let (accepted, refused) = load.end();
    assert!(refused.iter().all(|status| *status == 503), "{refused:?}");
    bridge.await_metric(&["lane_pending_events"], 0.0);
    bridge.assert_the_books_balance();
    accepted
}

/// Asserts that each of these was consumed.
pub fn assert_none_is_lost(accepted: &[String], consumed: impl IntoIterator<Item = String>) {
    let there: HashSet<String> = consumed.into_iter().collect();
    let lost = accepted.iter().filter(|id| !there.contains(*id)).count();
    assert_eq!(lost, 0, "of {}", accepted.len());
}
