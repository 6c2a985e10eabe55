//! A backlog of millions, and its end with live traffic on top.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use uuid::Uuid;

use super::checker::{
    Cost, KAFKA_REPEATS, Parsed, assert_a_fresh_event_arrives, assert_at_rest, note,
};
use super::scenes::{CREATE, Kafka, MESSAGES};
use super::senders::payload;
use super::thorough;
use crate::client::{Connection, Request};
use crate::process::{Process, await_some, await_within};

const SENDERS: usize = 32;
/// What each rests after an answer while traffic is live: together they send 500 a second at most.
const REST: Duration = Duration::from_millis(64);
/// What is promised of the end of a backlog, as a multiple of the events that arrive meanwhile.
const FASTER: f64 = 5.0;
/// For what takes minutes with millions.
const LONG: Duration = Duration::from_secs(1800);
/// What the container may have.
const MEMORY: u64 = 256 << 20;

/// Senders that don't rest when they are told so, and note no more than they have to.
struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Answered>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    hurries: AtomicBool,
    accepted: AtomicUsize,
}

/// The event with its number's place among those of its sender.
#[derive(Clone, Copy)]
struct Answered {
    id: u128,
    micros: u64,
}

impl Crowd {
    fn start(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (0..SENDERS).map(|sender| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.send_all(address, sender))
        });
        Crowd {
            threads: threads.collect(),
            shared,
        }
    }

    fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    fn await_accepted(&self, more: usize) {
        let upto = self.accepted() + more;
        await_within(LONG, "more events accepted", || {
            (self.accepted() >= upto).then_some(())
        });
    }

    /// As many events as can be had, up to this many more.
    fn hurries(&self, more: usize) {
        self.shared.hurries.store(true, Ordering::Relaxed);
        self.await_accepted(more);
        self.shared.hurries.store(false, Ordering::Relaxed);
    }

    fn end(self) -> Vec<Vec<Answered>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter();
        threads
            .map(|thread| thread.join().expect("each gets a 202"))
            .collect()
    }
}

impl Shared {
    fn send_all(&self, address: SocketAddr, sender: usize) -> Vec<Answered> {
        let mut connection = Connection::open(address);
        let mut answered = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let body = payload(sender, answered.len() as u64);
            let began = Instant::now();
            connection.send(Request::post("/webhooks/minchat", body).bytes());
            let answer = connection.answer().expect("an answer");
            let took = began.elapsed();
            assert_eq!(answer.status, 202, "{}", answer.text());
            answered.push(Answered {
                id: id(answer.json()["id"].as_str().expect("a 202 has an id")),
                micros: took.as_micros().try_into().expect("it is short"),
            });
            self.accepted.fetch_add(1, Ordering::Relaxed);
            if !self.hurries.load(Ordering::Relaxed) {
                std::thread::sleep(REST);
            }
        }
        answered
    }
}

fn id(text: &str) -> u128 {
    Uuid::parse_str(text).expect("ids are UUIDs").as_u128()
}

/// Checks A to E, as the events come by.
struct Following {
    sent: Vec<Vec<Answered>>,
    seen: Vec<Vec<bool>>,
    /// The number behind the highest that was seen of each sender.
    next: Vec<usize>,
    reordered: usize,
    duplicates: usize,
}

impl Following {
    fn new(sent: Vec<Vec<Answered>>) -> Self {
        Following {
            seen: sent.iter().map(|sent| vec![false; sent.len()]).collect(),
            next: vec![0; sent.len()],
            sent,
            reordered: 0,
            duplicates: 0,
        }
    }

    fn take(&mut self, envelope: &str) {
        let event = Parsed::of(envelope);
        let (sender, number) = (event.sender, event.number as usize);
        let sent = self.sent.get(sender).and_then(|sent| sent.get(number));
        let sent = sent.unwrap_or_else(|| panic!("C: {event:?} was never sent"));
        assert_eq!(id(&event.id), sent.id, "A, C: the id of {event:?}");
        event.assert_is_what_was_sent();
        if std::mem::replace(&mut self.seen[sender][number], true) {
            self.duplicates += 1;
            return;
        }
        if number < self.next[sender] {
            self.reordered += 1;
        }
        self.next[sender] = self.next[sender].max(number + 1);
    }

    fn end(self) {
        let lost: usize = self.seen.iter().flatten().filter(|seen| !**seen).count();
        let mut micros: Vec<u64> = self.sent.iter().flatten().map(|one| one.micros).collect();
        micros.sort_unstable();
        let within = |percent: usize| {
            let at = (micros.len() * percent / 100).min(micros.len() - 1);
            Duration::from_micros(micros[at])
        };
        let (reordered, duplicates) = (self.reordered, self.duplicates);
        note(&format!(
            "accepted {}, refused 0, lost {lost}, reordered {reordered}, duplicates {duplicates}, p99 {:?}, slowest {:?}",
            micros.len(),
            within(99),
            within(100),
        ));
        assert_eq!((lost, reordered), (0, 0), "A, D");
        assert!(duplicates <= KAFKA_REPEATS, "E: {duplicates}");
    }
}

/// What is drained a second, and what arrives meanwhile.
fn rates(bridge: &Process, crowd: &Crowd, recovers: impl FnOnce()) -> (f64, f64) {
    let drained = || bridge.metric(&["spool_drained_total", MESSAGES]);
    let (before, mut began) = (drained(), Instant::now());
    recovers();
    await_some("the first of the backlog", || {
        let now = Instant::now();
        let draining = drained() > before;
        if !draining {
            began = now;
        }
        draining.then_some(())
    });
    let accepted = crowd.accepted();
    await_within(LONG, "the backlog's end", || {
        (bridge.metric(&["spool_events", MESSAGES]) == 0.0).then_some(())
    });
    let took = began.elapsed().as_secs_f64();
    let arrived = (crowd.accepted() - accepted) as f64;
    ((drained() - before) / took, arrived / took)
}

#[test]
fn row_44_a_long_backlog_is_drained_faster_than_events_arrive() {
    let backlog = thorough(2_000_000, 20_000);
    let scene = Kafka::new();
    let bridge = Process::start(&scene.yaml(CREATE, "spool: {max_size: 32GiB}"));
    bridge.await_ready();
    let crowd = Crowd::start(bridge.webhooks());
    scene.await_published(&bridge);
    crowd.await_accepted(500);
    bridge.await_metric(&["http_connections "], SENDERS as f64);
    let before = Cost::at_rest(&bridge);
    scene.node.kill();
    await_some("an event in the spool", || {
        (bridge.metric(&["spool_events", MESSAGES]) > 0.0).then_some(())
    });
    crowd.hurries(backlog);
    let (drained, arrived) = rates(&bridge, &crowd, || scene.node.start());
    println!("{drained:.0} events a second drained, {arrived:.0} arrived");
    assert!(drained >= FASTER * arrived, "{drained} of {arrived}");
    crowd.await_accepted(500);
    bridge.await_metric(&["spool_events", MESSAGES], 0.0);
    before.assert_restored(&bridge);
    let peak = bridge.peak_memory();
    println!("{} MiB at most", peak >> 20);
    assert!(peak < MEMORY, "{peak} bytes");
    let mut following = Following::new(crowd.end());
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let cluster = scene.cluster();
    cluster.read_each(MESSAGES, i64::MAX, LONG, |message| {
        let payload = message.payload().expect("no value is null");
        following.take(std::str::from_utf8(payload).expect("it is UTF-8"));
    });
    following.end();
    assert_a_fresh_event_arrives(&bridge, |id| {
        let mut last = Vec::new();
        cluster.read_each(MESSAGES, 1, LONG, |message| {
            last.extend_from_slice(message.payload().expect("no value is null"));
        });
        String::from_utf8_lossy(&last).contains(id)
    });
    assert_at_rest(&bridge);
}
