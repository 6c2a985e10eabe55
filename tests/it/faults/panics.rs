//! A bug that makes one of the bridge's threads panic: within delivery that ends the process.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use minchat_bridge::delivery::Delivery;
use minchat_bridge::http::{self, Behind, settings::AdminSettings};
use minchat_bridge::publish::{
    Class, Failure, Handover, Publisher, Reason, Report, Reporter, file,
};
use minchat_bridge::route::{Address, Broker};
use minchat_bridge::spool::{self, Spool, Watcher};
use minchat_bridge::units::Percent;
use tempfile::TempDir;

use super::checker::{Consumed, assert_a_fresh_event_arrives, assert_at_rest, check};
use super::scenes::MESSAGES;
use super::senders::Senders;
use crate::bridge::{parts, settings, source};
use crate::process::{Process, await_some};

/// Says that this process is the bridge of a row, and in which directory.
const BRIDGE: &str = "MINCHAT_BRIDGE_TEST_PANICS_IN";
/// `EX_SOFTWARE` of sysexits.h.
const EX_SOFTWARE: i32 = 70;
/// After so many calls the destination takes nothing more, so that the spool is in use when it happens.
const TAKEN: usize = 100;
const UNTIL_THE_PANIC: usize = 5;
/// What was in flight at the panic.
const AT_MOST_TWICE: usize = 100;

/// Where the bug is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// In a publisher, on the thread of the lane's owner.
    Publisher,
    /// In what the spool calls, on its writer's thread.
    Watcher,
}

/// A publisher to files that soon takes nothing more, and then has a bug.
struct Publishing {
    to: Box<dyn Publisher>,
    reporter: Reporter,
    calls: usize,
    bug: Bug,
}

impl Publisher for Publishing {
    fn publish(&mut self, events: &[Handover]) {
        self.calls += 1;
        if self.calls <= TAKEN {
            return self.to.publish(events);
        }
        assert!(
            self.bug != Bug::Publisher || self.calls < TAKEN + UNTIL_THE_PANIC,
            "a bug, as the test has it"
        );
        for Handover { seq, attempt, .. } in events {
            (self.reporter)(Report::Failed {
                seq: *seq,
                attempt: *attempt,
                failure: Failure {
                    class: Class::Retry,
                    reason: Reason::Io,
                    detail: "as the test has it".to_owned(),
                },
            });
        }
    }

    fn rebuild(&mut self) {
        self.to.rebuild();
    }

    fn close(&mut self, within: Duration) {
        self.to.close(within);
    }
}

/// Has a bug that shows once the spool has synced a few times.
struct Watching {
    bug: Bug,
    syncs: AtomicUsize,
}

impl Watcher for Watching {
    fn synced(&self, _took: Duration) {
        let before = self.syncs.fetch_add(1, Ordering::Relaxed);
        assert!(
            self.bug != Bug::Watcher || before < UNTIL_THE_PANIC,
            "a bug, as the test has it"
        );
    }

    fn corrupt(&self, _places: u64) {}
}

/// A bridge of the real parts with this bug. It listens, and says where, until it ends by itself.
fn be_the_bridge(dir: &Path, bug: Bug) {
    let (settings, sources) = (settings(), [source("minchat", &[], None)]);
    let kept = spool::settings::Settings {
        dir: dir.join("data/spool"),
        max_size: 1 << 30,
        keep_free: Percent::new(0),
    };
    let watching = Arc::new(Watching {
        bug,
        syncs: AtomicUsize::new(0),
    });
    let opened = Spool::open(&kept).expect("it is new");
    let spool = opened.start(watching).expect("a thread can be started");
    let parts = parts(&settings, &sources, Broker::File, Some(spool));
    let metrics = parts.metrics.clone();
    let files = file::settings::Settings {
        dir: dir.join("data/events"),
    };
    let delivery = Delivery::start(parts, &|destination| {
        let Address::File(name) = destination.address.clone() else {
            unreachable!("all go to files");
        };
        let files = files.clone();
        Box::new(move |reporter| {
            Box::new(Publishing {
                to: file::publisher(&files, &name, reporter.clone()),
                reporter,
                calls: 0,
                bug,
            })
        })
    });
    let behind = Behind {
        delivery: delivery.expect("threads can be started"),
        metrics,
    };
    let admin = AdminSettings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    };
    let bound = http::bind(&settings, &admin, &sources, behind).expect("port 0 is always free");
    println!("\nlistens on {}", bound.addresses().webhooks);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let served = runtime.expect("a runtime can be had").block_on(bound.run());
    unreachable!("it ended in order: {served:?}");
}

fn assert_the_process_ends_and_nothing_is_lost(bug: Bug) {
    if let Some(dir) = std::env::var_os(BRIDGE) {
        return be_the_bridge(Path::new(&dir), bug);
    }
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    let thread = std::thread::current();
    let test = thread.name().expect("a test has a thread of its name");
    let program = std::env::current_exe().expect("it is there");
    let mut bridge = Command::new(program)
        .args([test, "--exact", "--nocapture"])
        .env(BRIDGE, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    let lines = BufReader::new(bridge.stdout.take().expect("it is piped")).lines();
    let address = lines.map_while(Result::ok).find_map(|line| {
        let address = line.strip_prefix("listens on ")?;
        address.parse().ok()
    });
    let senders = Senders::start(address.expect("it says so"), 8);
    let ended = await_some("the end of the bridge", || {
        bridge.try_wait().expect("it is a child")
    });
    assert_eq!(ended.code(), Some(EX_SOFTWARE));
    let yaml = "sources: {minchat: {auth: {none: true}}}\nfile: {dir: data/events}\n";
    let again = Process::start_in(dir, yaml);
    senders.turn_to(again.webhooks());
    senders.await_accepted(100);
    let ledger = senders.end();
    assert_eq!(ledger.refused, [0; 0]);
    let spooled = ledger.accepted.iter().filter(|one| one.spooled).count();
    assert!(spooled > 0, "the spool was in use");
    again.await_metric(&["lane_pending_events"], 0.0);
    let file = again.path().join(format!("data/events/{MESSAGES}.ndjson"));
    let events = || std::fs::read_to_string(&file).expect("there are events");
    let consumed: Vec<_> = events()
        .lines()
        .map(|line| Consumed(line.to_owned()))
        .collect();
    check(&ledger, &consumed, AT_MOST_TWICE);
    assert_a_fresh_event_arrives(&again, |id| events().contains(id));
    assert_at_rest(&again);
}

#[test]
fn row_46_a_panic_in_a_lanes_owner_ends_the_process_and_loses_nothing() {
    assert_the_process_ends_and_nothing_is_lost(Bug::Publisher);
}

#[test]
fn row_46_a_panic_in_the_spools_writer_ends_the_process_and_loses_nothing() {
    assert_the_process_ends_and_nothing_is_lost(Bug::Watcher);
}
