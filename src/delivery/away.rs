//! Lanes whose broker is away or comes back, with their threads and a spool on a real disk, which may be slow.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::LocalSet;

use super::{Delivery, Parts, Port, Receipt, settings};
use crate::envelope::sealed::{self, sealer};
use crate::envelope::{Event, Sealer};
use crate::metrics::{Labels, Metrics};
use crate::publish::{Class, Failure, Handover, Polled, Publisher, Reason, Report};
use crate::route::{Broker, Destination, Table};
use crate::spool::disk::{DiskFile, Identity, RealDisk, Space};
use crate::spool::settings::Settings as SpoolSettings;
use crate::spool::{Disk, Spool, Watcher};
use crate::units::Percent;

const SYNC: Duration = Duration::from_millis(500);
const SENDERS: usize = 50;
/// Longer than a test has patience.
const NEVER: Duration = Duration::from_secs(600);
/// Events of each sender, one after the other.
const ROUNDS: usize = 4;

/// The machine's file systems, on a slow disk.
#[derive(Clone, Default)]
struct Slow {
    syncs: Arc<AtomicUsize>,
    /// The thread that recovers the spool, whose reads are as fast as ever.
    recovers: Option<ThreadId>,
    reads: Arc<AtomicUsize>,
    /// Held by whoever lets nobody read.
    may_read: Arc<Mutex<()>>,
}

impl Slow {
    fn sync(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(SYNC);
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SlowFile {
            disk: self.clone(),
            file,
        })
    }
}

impl Disk for Slow {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(RealDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(RealDisk.open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        RealDisk.length(path)
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        RealDisk.identity(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.sync();
        RealDisk.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        RealDisk.space(dir)
    }
}

struct SlowFile {
    disk: Slow,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for SlowFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        if self.disk.recovers != Some(std::thread::current().id()) {
            self.disk.reads.fetch_add(1, Ordering::Relaxed);
            drop(self.disk.may_read.lock());
        }
        self.file.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.file.cut(length)
    }

    fn identity(&self) -> io::Result<Identity> {
        self.file.identity()
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync();
        self.file.sync()
    }
}

/// A broker that is away, or is up and confirms everything, as its publisher reports at first.
struct Steady(Vec<Report>);

impl Publisher for Steady {
    fn publish(&mut self, events: &[Handover]) {
        self.0.extend(events.iter().map(Handover::confirmed));
    }

    fn poll(&mut self, reports: &mut Vec<Report>) -> Polled {
        reports.append(&mut self.0);
        Polled {
            poll_within: Some(Duration::from_millis(1)),
            ..Polled::default()
        }
    }

    fn rebuild(&mut self) {}

    fn close(&mut self, _within: Duration) {}
}

fn is_away() -> Report {
    Report::Down(Failure {
        class: Class::Retry,
        reason: Reason::Disconnected,
        detail: "away".to_owned(),
    })
}

struct Unheard;

impl Watcher for Unheard {
    fn synced(&self, _took: Duration) {}

    fn corrupt(&self, _places: u64) {}
}

fn event(sealer: &Sealer, sender: usize) -> Event {
    let body = format!(r#"{{"sent_by":{{"id":"u"}},"sent_to":[],"chat_id":"{sender}"}}"#);
    sealed::event(sealer, &body)
}

/// A delivery with what its publishers report at first.
fn delivery(
    dir: &Path,
    disk: impl Disk + 'static,
    spool_after: Duration,
    first: fn(&Destination) -> Option<Report>,
) -> Delivery {
    let table = Table::new(["minchat."], &[Broker::Kafka], &Default::default());
    let labels = Labels {
        brokers: vec![Broker::Kafka],
        problems: Vec::new(),
        success_status: 202,
    };
    let settings = SpoolSettings {
        dir: dir.to_owned(),
        max_size: 1 << 30,
        keep_free: Percent::new(0),
    };
    let opened = Spool::open_on(Arc::new(disk), &settings).expect("it is new");
    let spool = opened.start(Arc::new(Unheard));
    let parts = Parts {
        settings: settings::Settings {
            spool_after,
            deadline: NEVER,
            window: 32 << 20,
        },
        table,
        sealer: sealer(),
        metrics: Arc::new(Metrics::new(&labels).expect("the table holds together")),
        kept: None,
        spool: Some(spool.expect("a thread can be started")),
    };
    let delivery = Delivery::start(parts, &|destination| {
        let first = Vec::from_iter(first(destination));
        Box::new(move |_| Box::new(Steady(first)))
    });
    delivery.expect("threads can be started")
}

/// The longest that one of them waited.
async fn send_all(port: &Port, delivery: &Delivery, sealer: &Sealer, sender: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let receipt = port
            .deliver(&delivery.current(), event(sealer, sender))
            .await;
        assert_eq!(receipt, Ok(Receipt::Spooled));
        longest = longest.max(began.elapsed());
    }
    longest
}

/// What arrives during a commit is the next one, whole.
#[tokio::test]
async fn row_31_on_a_slow_disk_commits_grow_and_nothing_piles_up() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let (disk, sealer) = (Slow::default(), sealer());
    let hedge = Duration::from_millis(250);
    let delivery = delivery(dir.path(), disk.clone(), hedge, |_| Some(is_away()));
    let of_this_thread = LocalSet::new();
    let (syncs, longest) = of_this_thread
        .run_until(async {
            let port = delivery.port();
            tokio::task::spawn_local(port.clone().answering());
            // The first makes the queue on disk, which takes syncs of its own.
            send_all(&port, &delivery, &sealer, 0).await;
            let before = disk.syncs.load(Ordering::Relaxed);
            let senders = (0..SENDERS).map(|sender| send_all(&port, &delivery, &sealer, sender));
            let longest = join_all(senders).await.into_iter().max();
            (disk.syncs.load(Ordering::Relaxed) - before, longest)
        })
        .await;
    let longest = longest.expect("there are senders");
    let events = SENDERS * ROUNDS;
    println!("{events} events in {syncs} syncs, the slowest within {longest:?}");
    assert!(syncs <= 3 * ROUNDS, "{syncs} syncs of {events} events");
    // A commit that was under way, and the event's own; with three times the room.
    assert!(longest < 3 * 2 * SYNC, "{longest:?}");
    assert_eq!(delivery.pending(), events + ROUNDS);
    assert_eq!(delivery.spooled(), (events + ROUNDS) as u64);
    assert_eq!(delivery.stop(Duration::ZERO), 0);
}

/// New events stand behind what can't be read back for now, in the spool.
#[tokio::test]
async fn row_52_a_disk_that_is_slow_to_read_delays_no_answer() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let (sealer, hedge, patience) = (sealer(), Duration::from_millis(250), NEVER / 10);
    for first in [is_away(), Report::Up, is_away()] {
        let disk = Slow {
            recovers: Some(std::thread::current().id()),
            ..Slow::default()
        };
        let may_read = disk.may_read.lock();
        let delivery = match first {
            Report::Up => delivery(dir.path(), disk.clone(), hedge, |_| Some(Report::Up)),
            _ => delivery(dir.path(), disk.clone(), hedge, |_| Some(is_away())),
        };
        let found = delivery.spooled();
        let answered = async {
            let port = delivery.port();
            tokio::task::spawn_local(port.clone().answering());
            while found > 0 && disk.reads.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            // The first makes the queue on disk, which takes syncs of its own.
            send_all(&port, &delivery, &sealer, 0).await;
            send_all(&port, &delivery, &sealer, 0).await
        };
        let answered = tokio::time::timeout(patience, answered);
        let longest = LocalSet::new().run_until(answered).await;
        let longest = longest.expect("all are answered");
        println!("{found} events to be read, the slowest answer within {longest:?}");
        assert!(longest < 3 * (hedge + 2 * SYNC), "{longest:?}");
        assert_eq!(delivery.spooled(), found + 2 * ROUNDS as u64);
        drop(may_read);
        let drained = async {
            while first == Report::Up && delivery.spooled() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let drained = tokio::time::timeout(patience, drained).await;
        drained.expect("what can be read again is published");
        assert_eq!(delivery.stop(Duration::ZERO), 0);
    }
}

/// No event waits for its confirm as long as it would before it goes to the spool.
#[tokio::test]
async fn a_lane_that_heard_nothing_takes_what_another_of_its_broker_was_told() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let first = |destination: &Destination| {
        let is_told = destination.name().contains("dead-letter");
        is_told.then(is_away)
    };
    let delivery = delivery(dir.path(), RealDisk, NEVER, first);
    let of_this_thread = LocalSet::new();
    let receipt = of_this_thread
        .run_until(async {
            let port = delivery.port();
            tokio::task::spawn_local(port.clone().answering());
            let known = || {
                delivery
                    .readiness()
                    .iter()
                    .any(|lane| lane.detail.contains("away"))
            };
            while !known() {
                tokio::task::yield_now().await;
            }
            let answer = port.deliver(&delivery.current(), event(&sealer(), 0));
            tokio::time::timeout(Duration::from_secs(30), answer).await
        })
        .await;
    assert_eq!(receipt, Ok(Ok(Receipt::Spooled)));
    assert_eq!(delivery.stop(Duration::ZERO), 0);
}

/// An answer is the last thing that a lane lets out of a turn: whoever has it asks no number, and no status, that does
/// not know of it yet.
#[tokio::test]
async fn what_is_shown_is_never_behind_what_was_answered() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let delivery = delivery(dir.path(), RealDisk, NEVER, |_| Some(is_away()));
    let sealer = sealer();
    let of_this_thread = LocalSet::new();
    of_this_thread
        .run_until(async {
            let port = delivery.port();
            tokio::task::spawn_local(port.clone().answering());
            for events in 1..=500 {
                let answer = port.deliver(&delivery.current(), event(&sealer, 0)).await;
                assert_eq!(answer, Ok(Receipt::Spooled));
                assert_eq!(delivery.pending(), events);
                assert_eq!(delivery.spooled(), events as u64);
                let left = delivery.backlogs();
                let [left] = left.as_slice() else {
                    panic!("{left:?}")
                };
                assert_eq!((left.events, left.detail.as_str()), (events as u64, "away"));
            }
        })
        .await;
    assert_eq!(delivery.stop(Duration::ZERO), 0);
}
