//! Lanes whose broker is away, with their owners and a spool on a real disk, which may be slow.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::LocalSet;

use super::sealed::{self, sealer};
use super::{Delivery, Parts, Port, Receipt, settings};
use crate::envelope::{Event, Sealer};
use crate::metrics::{Labels, Metrics};
use crate::publish::{Class, Failure, Handover, Publisher, Reason, Report};
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

/// A broker that is away.
struct Away;

impl Publisher for Away {
    fn publish(&mut self, _events: &[Handover]) {
        unreachable!("nothing is handed over to who is away");
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

/// A delivery whose `told` destinations know from the start that their broker is away; the others hear nothing of it.
fn delivery(
    dir: &Path,
    disk: impl Disk + 'static,
    spool_after: Duration,
    told: fn(&Destination) -> bool,
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
        let is_told = told(destination);
        Box::new(move |reporter| {
            if is_told {
                reporter(is_away());
            }
            Box::new(Away)
        })
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
    let delivery = delivery(dir.path(), disk.clone(), hedge, |_| true);
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

/// No event waits for its confirm as long as it would before it goes to the spool.
#[tokio::test]
async fn a_lane_that_heard_nothing_takes_what_another_of_its_broker_was_told() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let told = |destination: &Destination| destination.name().contains("dead-letter");
    let delivery = delivery(dir.path(), RealDisk, NEVER, told);
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
    let (delivery, sealer) = (delivery(dir.path(), RealDisk, NEVER, |_| true), sealer());
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
