//! Senders as MinChat has them: each posts the messages of one conversation, one after the other, and
//! never again what was refused.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Connection, Request};
use crate::payload::message;
use crate::process::await_some;

/// What all senders show, also to a source that takes everybody.
pub const TOKEN: &str = "kJ8s2LmQ9xTz4VbN7cRw1YpE5hGd3fUa";

/// What a sender rests after each answer, so that a long fault makes no millions of events.
pub const REST: Duration = Duration::from_millis(4);
/// What it rests when nobody answers.
const NOBODY: Duration = Duration::from_millis(20);
/// More than any fault takes.
const MOST: u64 = 200_000;

/// Senders at work.
pub struct Senders {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Of the bridge, and which of several it is.
    address: RwLock<(SocketAddr, usize)>,
    stop: AtomicBool,
    ledger: Mutex<Ledger>,
}

/// What was sent, and how it was answered.
#[derive(Default, Clone)]
pub struct Ledger {
    /// Every 2xx.
    pub accepted: Vec<Accepted>,
    /// Every other status.
    pub refused: Vec<u16>,
    /// How many were sent by each sender, answered or not.
    pub sent: Vec<u64>,
    /// How long each answer took.
    pub times: Vec<Duration>,
}

/// An event that was promised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accepted {
    pub id: String,
    pub sender: usize,
    pub number: u64,
    pub spooled: bool,
    /// Which of several bridges took it.
    pub replica: usize,
    /// When it was sent.
    pub began: Instant,
    /// When it was answered.
    pub answered: Instant,
}

/// The payload of a sender's message.
pub fn payload(sender: usize, number: u64) -> String {
    message(&format!("chat{sender}"), &number.to_string())
}

impl Senders {
    pub fn start(address: SocketAddr, count: usize) -> Self {
        Self::resting(address, &vec![REST; count])
    }

    /// One for each of these rests after an answer.
    pub fn resting(address: SocketAddr, rests: &[Duration]) -> Self {
        let count = rests.len();
        let ledger = Ledger {
            sent: vec![0; count],
            ..Ledger::default()
        };
        let shared = Arc::new(Shared {
            address: RwLock::new((address, 0)),
            stop: AtomicBool::new(false),
            ledger: Mutex::new(ledger),
        });
        let threads = rests.iter().copied().enumerate().map(|(sender, rest)| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.send_all(sender, rest))
        });
        Senders {
            threads: threads.collect(),
            shared,
        }
    }

    /// The bridge is somewhere else now.
    pub fn turn_to(&self, address: SocketAddr) {
        self.turn_to_replica(address, 0);
    }

    /// Another bridge takes what is sent from now on.
    pub fn turn_to_replica(&self, address: SocketAddr, replica: usize) {
        *self.shared.address.write().expect("nobody panics with it") = (address, replica);
    }

    /// Goes on for so long: the length of a fault.
    pub fn keep_on(&self, length: Duration) {
        let began = Instant::now();
        await_some("the end of the fault", || {
            (began.elapsed() >= length).then_some(())
        });
    }

    /// How many were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.ledger().accepted.len()
    }

    /// Waits until so many more are accepted than now.
    pub fn await_accepted(&self, more: usize) {
        let now = self.shared.ledger().accepted.len();
        await_some(&format!("{more} more events accepted"), || {
            (self.shared.ledger().accepted.len() >= now + more).then_some(())
        });
    }

    /// Waits until so many more are answered from the spool than now.
    pub fn await_spooled(&self, more: usize) {
        let count = || {
            let ledger = self.shared.ledger();
            ledger.accepted.iter().filter(|one| one.spooled).count()
        };
        let now = count();
        await_some(&format!("{more} more events spooled"), || {
            (count() >= now + more).then_some(())
        });
    }

    /// Waits until so many more are refused than now.
    pub fn await_refused(&self, more: usize) {
        let now = self.shared.ledger().refused.len();
        await_some(&format!("{more} more events refused"), || {
            (self.shared.ledger().refused.len() >= now + more).then_some(())
        });
    }

    /// Ends them, and gives all that they noted.
    pub fn end(self) -> Ledger {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a sender does not panic");
        }
        std::mem::take(&mut *self.shared.ledger())
    }
}

impl Shared {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics with it")
    }

    fn send_all(&self, sender: usize, rest: Duration) {
        let mut connection = None;
        for number in 0..MOST {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let (address, replica) = *self.address.read().expect("nobody panics with it");
            self.ledger().sent[sender] = number + 1;
            connection = self.send(connection, (address, replica), sender, number);
            if connection.is_some() {
                std::thread::sleep(rest);
            }
        }
    }

    /// Sends one, and gives the connection if it can be used again.
    fn send(
        &self,
        connection: Option<(SocketAddr, Connection)>,
        (address, replica): (SocketAddr, usize),
        sender: usize,
        number: u64,
    ) -> Option<(SocketAddr, Connection)> {
        let open = connection.filter(|(to, _)| *to == address);
        let mut connection = match open {
            Some((_, connection)) => connection,
            None => match Connection::try_open(address) {
                Some(connection) => connection,
                None => {
                    std::thread::sleep(NOBODY);
                    return None;
                }
            },
        };
        let began = Instant::now();
        let request = Request::post("/webhooks/minchat", payload(sender, number))
            .with("authorization", &format!("Bearer {TOKEN}"));
        if !connection.send(request.bytes()) {
            return None;
        }
        let answer = connection.try_answer()?;
        let mut ledger = self.ledger();
        ledger.times.push(began.elapsed());
        if answer.status == 202 {
            let json = answer.json();
            ledger.accepted.push(Accepted {
                id: json["id"].as_str().expect("a 202 has an id").to_owned(),
                sender,
                number,
                spooled: json["receipt"] == "spooled",
                replica,
                began,
                answered: Instant::now(),
            });
        } else {
            ledger.refused.push(answer.status);
        }
        (answer.header("connection") != Some("close")).then_some((address, connection))
    }
}

impl Ledger {
    /// The time within which so many of a hundred were answered.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(at).copied().unwrap_or_default()
    }
}
