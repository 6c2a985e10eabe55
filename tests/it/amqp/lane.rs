//! A lane of the tests: events of its own making, and a list of what was reported.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use minchat_bridge::envelope::{self, Event, Received, Sealer};
use minchat_bridge::minchat;
use minchat_bridge::publish::amqp::settings::{AuthMechanism, ContentMode, Settings};
use minchat_bridge::publish::amqp::{Amqp, AmqpPublisher, Destination};
use minchat_bridge::publish::{Class, Failure, Handover, Publisher, Reason, Report};
use minchat_bridge::secret::Secret;
use uuid::Uuid;

use super::client::runtime;

/// Far more than anything takes, also on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

pub struct Lane {
    publisher: Arc<Mutex<AmqpPublisher>>,
    pub reports: Arc<Reports>,
    next: u64,
}

#[derive(Default)]
pub struct Reports {
    list: Mutex<Vec<(Instant, Report)>>,
    more: Condvar,
}

/// How an event was reported.
pub type Fate = Result<(), (Class, Reason)>;

/// Names that no other test has.
pub fn destination() -> Destination {
    let test = Uuid::now_v7().simple();
    Destination {
        exchange: format!("{test}.message.sent.v1"),
        routing_key: "message.sent".to_owned(),
        queue: None,
        unrouted: format!("{test}.unrouted.v1"),
    }
}

pub fn settings(url: &str, declare: bool) -> Settings {
    Settings {
        uris: vec![Secret::new(url)],
        password: None,
        auth_mechanism: AuthMechanism::Plain,
        tls: None,
        declare,
        content_mode: ContentMode::Structured,
        heartbeat: Duration::from_secs(5),
    }
}

pub fn amqp(settings: Settings) -> Amqp {
    Amqp::new(settings, runtime().handle().clone(), |_| {})
}

/// A message in this chat.
pub fn event(chat: &str) -> Arc<Event> {
    let body = format!(r#"{{"sent_by":{{"id":"u"}},"sent_to":[],"chat_id":"{chat}","text":"hi"}}"#);
    sealed(body.as_bytes(), None)
}

pub fn sealed(body: &[u8], traceparent: Option<&str>) -> Arc<Event> {
    let settings = envelope::Settings {
        schema_base: "tag:minchat.io,2026:bridge:schema:".to_owned(),
    };
    let sealer = Sealer::new(&settings, [("minchat", "/webhooks/minchat")]);
    let received = Received {
        source: 0,
        said: None,
        content_type: None,
        traceparent,
        tracestate: None,
        webhook_id: None,
        body,
        at: SystemTime::now(),
    };
    let payload = minchat::read(body, None).expect("the tests' bodies are JSON");
    Arc::new(sealer.seal(&received, &payload))
}

impl Lane {
    pub fn new(amqp: &Amqp, destination: &Destination) -> Self {
        let (wakeup, woken) = std::sync::mpsc::channel();
        let wakeup = Arc::new(move || {
            let _ = wakeup.send(());
        });
        let publisher = amqp.publisher(destination.clone(), wakeup);
        let publisher = Arc::new(Mutex::new(publisher));
        let reports = Arc::<Reports>::default();
        let (polled, into) = (Arc::downgrade(&publisher), Arc::clone(&reports));
        std::thread::spawn(move || {
            for () in woken {
                let Some(publisher) = polled.upgrade() else {
                    return;
                };
                into.poll(&mut publisher.lock().expect("nobody panics with it"));
            }
        });
        Lane {
            publisher,
            reports,
            next: 0,
        }
    }

    pub fn publisher(&self) -> MutexGuard<'_, AmqpPublisher> {
        self.publisher.lock().expect("nobody panics with it")
    }

    /// Ends the publisher, with all its reports.
    pub fn close(&self, within: Duration) {
        let mut publisher = self.publisher();
        publisher.close(within);
        self.reports.poll(&mut publisher);
    }

    /// One that the broker has let in.
    pub fn up(amqp: &Amqp, destination: &Destination) -> Self {
        let lane = Lane::new(amqp, destination);
        lane.await_up(1);
        lane
    }

    /// Gives the number of the first.
    pub fn hand_over(&mut self, events: &[Arc<Event>]) -> u64 {
        let first = self.next;
        let numbered = events.iter().zip(first..);
        let handovers: Vec<_> = numbered
            .map(|(event, seq)| Handover {
                seq,
                // None fails for another's failure.
                attempt: seq as u16,
                event: Arc::clone(event),
            })
            .collect();
        self.next += handovers.len() as u64;
        self.publisher().publish(&handovers);
        first
    }

    /// Hands over one event and waits for its report.
    pub fn publish(&mut self, event: &Arc<Event>) -> Fate {
        let seq = self.hand_over(std::slice::from_ref(event));
        self.await_fates((seq + 1) as usize);
        self.fates()[&seq]
    }

    /// Publishes until it is confirmed, as a lane does while somebody mends the broker.
    pub fn publish_until_confirmed(&mut self, event: &Arc<Event>) {
        let deadline = Instant::now() + WITHIN;
        while let Err(fate) = self.publish(event) {
            assert!(Instant::now() < deadline, "still {fate:?}");
            std::thread::yield_now();
        }
    }

    pub fn await_up(&self, times: usize) {
        let ups = |report: &Report| *report == Report::Up;
        self.reports.wait(&format!("up {times} times"), |list| {
            list.iter().filter(|(_, report)| ups(report)).count() >= times
        });
    }

    /// The failure of a `Down` of this reason, and when it came.
    pub fn await_down(&self, reason: Reason) -> (Instant, Failure) {
        let down = |list: &[(Instant, Report)]| {
            list.iter().rev().find_map(|(at, report)| match report {
                Report::Down(failure) if failure.reason == reason => Some((*at, failure.clone())),
                _ => None,
            })
        };
        self.reports
            .wait(&format!("down: {reason:?}"), |list| down(list).is_some());
        down(&self.reports.list()).expect("it was just there")
    }

    pub fn await_fates(&self, count: usize) {
        self.reports
            .wait(&format!("{count} events reported"), |list| {
                fates(list).len() >= count
            });
    }

    /// Each event's report, by its number. An event that is reported twice fails the test.
    pub fn fates(&self) -> HashMap<u64, Fate> {
        fates(&self.reports.list())
    }
}

fn fates(list: &[(Instant, Report)]) -> HashMap<u64, Fate> {
    let mut fates = HashMap::new();
    for (_, report) in list {
        let (seq, fate) = match report {
            Report::Confirmed { seq, .. } => (*seq, Ok(())),
            Report::Failed { seq, failure, .. } => (*seq, Err((failure.class, failure.reason))),
            Report::Up | Report::Down(_) => continue,
        };
        assert_eq!(
            fates.insert(seq, fate),
            None,
            "event {seq} was reported twice"
        );
    }
    fates
}

impl Reports {
    fn poll(&self, publisher: &mut AmqpPublisher) {
        let mut reports = Vec::new();
        publisher.poll(&mut reports);
        let now = Instant::now();
        let mut list = self.list.lock().expect("nobody panics with it");
        list.extend(reports.into_iter().map(|report| (now, report)));
        self.more.notify_all();
    }

    pub fn list(&self) -> Vec<(Instant, Report)> {
        self.list.lock().expect("nobody panics with it").clone()
    }

    pub fn wait(&self, what: &str, there: impl Fn(&[(Instant, Report)]) -> bool) {
        let list = self.list.lock().expect("nobody panics with it");
        let (list, waited) = self
            .more
            .wait_timeout_while(list, WITHIN, |list| !there(list))
            .expect("nobody panics with it");
        let last = &list[list.len().saturating_sub(5)..];
        assert!(
            !waited.timed_out(),
            "never {what}; the last of {} reports: {last:?}",
            list.len()
        );
    }
}
