//! What has to hold after every fault: the checks A to I.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::senders::{Accepted, Ledger, TOKEN, payload};
use crate::client::Request;
use crate::process::{PATIENCE, Process, await_some};

/// What may come twice where RabbitMQ's confirms are lost with a connection: a lane has one event of each ordering key in
/// flight there, and each of the eight senders of a row has a key of its own.
pub const ONE_OF_EACH_KEY: usize = 8;
/// What may come twice on Kafka. It drops what a client that goes on publishes again, but one that was replaced does not know
/// what the one before had published: at most what the eight senders of a row gave it until its silence of 5 s (the deadline)
/// counted as an outage, each of them one event in 250 ms (the hedge).
pub const KAFKA_REPEATS: usize = 8 * 5000 / 250;
/// The hedge of 250 ms and a sync of 50 ms, with three times the room.
const HEDGE: Duration = Duration::from_millis(900);

/// What a consumer has of an event: its envelope as it came.
#[derive(Clone, Debug)]
pub struct Consumed(pub String);

/// Checks A to E: of what was sent and answered, and of what a consumer read, in its order. Prints what it found.
pub fn check(ledger: &Ledger, consumed: &[Consumed], most_duplicates: usize) {
    let parsed: Vec<Parsed> = consumed.iter().map(|event| Parsed::of(&event.0)).collect();
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (place, event) in parsed.iter().enumerate() {
        first.entry(&event.id).or_insert(place);
    }
    let accepted: HashSet<&str> = ledger.accepted.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(accepted.len(), ledger.accepted.len(), "an id is given once");

    let lost = accepted
        .iter()
        .filter(|id| !first.contains_key(*id))
        .count();
    let overtaken = overtaken(ledger, &first);
    let duplicates = parsed.len() - first.len();
    note(&format!(
        "accepted {}, refused {}, lost {lost}, reordered {}, duplicates {duplicates}, p99 {:?}, slowest {:?}",
        accepted.len(),
        ledger.refused.len(),
        overtaken.len(),
        ledger.percentile(99),
        ledger.percentile(100),
    ));
    assert_eq!(lost, 0, "A: of {} accepted", accepted.len());

    let of_accepted = ledger.accepted.iter();
    let mut ids: HashMap<(usize, u64), &str> = of_accepted
        .map(|one| ((one.sender, one.number), one.id.as_str()))
        .collect();
    for event in &parsed {
        let id = *ids.entry((event.sender, event.number)).or_insert(&event.id);
        assert_eq!(event.id, id, "C: every copy of an event has its id");
        let was_sent = ledger
            .sent
            .get(event.sender)
            .is_some_and(|sent| event.number < *sent);
        assert!(was_sent, "C: {event:?} was never sent");
        event.assert_is_what_was_sent();
    }

    assert_eq!(overtaken, [""; 0], "D");
    assert!(
        duplicates <= most_duplicates,
        "E: {duplicates} duplicates of at most {most_duplicates}"
    );
}

/// No sender was refused, or had to wait for the broker.
pub fn assert_nobody_waited(ledger: &Ledger) {
    assert_eq!(ledger.refused, [0; 0]);
    let waited = ledger.percentile(99);
    assert!(waited < HEDGE, "p99 of {waited:?}");
}

/// Check D: the messages that stand before an earlier one of the same sender.
fn overtaken(ledger: &Ledger, first: &HashMap<&str, usize>) -> Vec<String> {
    let mut last: HashMap<(usize, usize), (u64, usize)> = HashMap::new();
    let mut in_order = ledger.accepted.clone();
    in_order.sort_by_key(|one| (one.sender, one.number));
    let mut overtaken = Vec::new();
    for one in &in_order {
        let Some(place) = first.get(one.id.as_str()) else {
            continue;
        };
        let lane = (one.replica, one.sender);
        if let Some((number, before)) = last.insert(lane, (one.number, *place))
            && before > *place
        {
            let Accepted {
                number: late,
                sender,
                ..
            } = one;
            overtaken.push(format!("{late} of sender {sender} stands before {number}"));
        }
    }
    overtaken
}

/// Prints what a row came to, and appends it to the file that `make faults` makes its table of.
pub fn note(outcome: &str) {
    println!("{outcome}");
    let Some(file) = std::env::var_os("MINCHAT_BRIDGE_FAULTS") else {
        return;
    };
    let thread = std::thread::current();
    let test = thread.name().expect("a test has a thread of its name");
    let mut file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(file)
        .expect("the file can be written");
    std::io::Write::write_all(&mut file, format!("{test}: {outcome}\n").as_bytes())
        .expect("the file can be written");
}

/// Check F: a fresh event arrives within 10 s, with three times the room.
pub fn assert_a_fresh_event_arrives(bridge: &Process, arrived: impl Fn(&str) -> bool) {
    let began = Instant::now();
    let fresh = r#"{"sent_by":{"id":"u1"},"sent_to":[],"chat_id":"fresh","text":"fresh"}"#;
    let request = Request::post("/webhooks/minchat", fresh);
    let posted = bridge.send(&request.with("authorization", &format!("Bearer {TOKEN}")));
    assert_eq!(posted.status, 202, "F: {:?}", posted.json);
    let id = posted.json["id"]
        .as_str()
        .expect("a 202 has an id")
        .to_owned();
    await_some("F: the fresh event", || arrived(&id).then_some(()));
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "F: after {:?}",
        began.elapsed()
    );
}

/// Checks G and I: everything is published, the spool is empty and its files are gone, the books balance.
pub fn assert_at_rest(bridge: &Process) {
    bridge.await_metric(&["lane_pending_events"], 0.0);
    bridge.await_metric(&["spool_events"], 0.0);
    await_some("G: the spool's files gone", || {
        spool_files(&bridge.path().join("data/spool"))
            .is_empty()
            .then_some(())
    });
    bridge.assert_the_books_balance();
}

/// What a spool keeps, but for its lock.
pub fn spool_files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "lock").collect()
}

/// Check H: what a process costs.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub resident: u64,
    pub descriptors: usize,
}

impl Cost {
    /// Once all clients have their connections: when as many descriptors were open for three seconds.
    pub fn at_rest(bridge: &Process) -> Self {
        let (mut last, mut since) = (Self::of(bridge), Instant::now());
        await_some("descriptors that stay", || {
            let now = Self::of(bridge);
            if now.descriptors != last.descriptors {
                since = Instant::now();
            }
            last = now;
            (since.elapsed() > Duration::from_secs(3)).then_some(now)
        })
    }

    pub fn of(bridge: &Process) -> Self {
        let proc = format!("/proc/{}", bridge.id());
        let status = std::fs::read_to_string(format!("{proc}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        Cost {
            resident: kib.expect("Linux says so") * 1024,
            descriptors: std::fs::read_dir(format!("{proc}/fd"))
                .expect("it runs")
                .count(),
        }
    }

    /// After the fault: memory within 20 % and 10 MiB, descriptors equal.
    pub fn assert_restored(self, bridge: &Process) {
        let most = self.resident + self.resident / 5 + (10 << 20);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Cost::of(bridge);
            if now.resident <= most && now.descriptors <= self.descriptors {
                return;
            }
            assert!(Instant::now() < deadline, "H: {self:?} before, {now:?} now");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What an envelope says.
#[derive(Debug)]
pub struct Parsed {
    pub id: String,
    pub sender: usize,
    pub number: u64,
    data: String,
    sha256: String,
}

impl Parsed {
    /// Check B.
    pub fn assert_is_what_was_sent(&self) {
        let body = payload(self.sender, self.number);
        assert_eq!(self.data, body, "B: the payload token for token");
        assert_eq!(self.sha256, format!("{:x}", Sha256::digest(&body)), "B");
    }

    pub fn of(envelope: &str) -> Self {
        let json: serde_json::Value = serde_json::from_str(envelope).expect("an envelope is JSON");
        let text = |of: &serde_json::Value| of.as_str().expect("it is a string").to_owned();
        let data = envelope
            .split_once(",\"data\":")
            .expect("data is the last member")
            .1;
        let chat = text(&json["data"]["chat_id"]);
        Parsed {
            id: text(&json["id"]),
            sender: chat
                .strip_prefix("chat")
                .and_then(|chat| chat.parse().ok())
                .expect("chats are numbered"),
            number: text(&json["data"]["text"])
                .parse()
                .expect("messages are numbered"),
            data: data
                .strip_suffix('}')
                .expect("the envelope ends")
                .to_owned(),
            sha256: text(&json["payloadsha256"]),
        }
    }
}
