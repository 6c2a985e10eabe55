//! A bug that makes one of the bridge's threads panic: anywhere but in the handler of a request, that ends the process.
//! The bugs here are in parts that a test can put in the place of the bridge's own; `panics_of_threads` has the real binary.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use minchat_bridge::delivery::Delivery;
use minchat_bridge::http::{self, Behind, settings::AdminSettings};
use minchat_bridge::publish::{Class, Failure, Handover, Polled, Publisher, Reason, Report, file};
use minchat_bridge::route::{Address, Broker};
use minchat_bridge::spool::{self, Spool, Watcher};
use minchat_bridge::telemetry::panics;
use minchat_bridge::units::Percent;
use tempfile::TempDir;

use super::checker::{Consumed, assert_a_fresh_event_arrives, assert_at_rest, check};
use super::scenes::MESSAGES;
use super::senders::Senders;
use crate::bridge::{parts, settings, source};
use crate::process::{Process, await_some};

/// Says that this process is the one with the bug of a test, and which directory is its own.
const HAS_THE_BUG: &str = "MINCHAT_BRIDGE_TEST_PANICS_IN";
/// `EX_SOFTWARE` of sysexits.h.
pub const EX_SOFTWARE: i32 = 70;
/// After so many calls the destination takes nothing more, so that the spool is in use when it happens.
const TAKEN: usize = 100;
const UNTIL_THE_PANIC: usize = 5;
/// Each has one event in flight at the panic, which may come twice.
const SENDERS: usize = 8;

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
    failed: Vec<Report>,
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
        let failure = Failure {
            class: Class::Retry,
            reason: Reason::Io,
            detail: "as the test has it".to_owned(),
        };
        let failed = events.iter().map(|event| event.failed(failure.clone()));
        self.failed.extend(failed);
    }

    fn poll(&mut self, reports: &mut Vec<Report>) -> Polled {
        reports.append(&mut self.failed);
        Polled {
            poll_within: Some(Duration::from_millis(1)),
            ..self.to.poll(reports)
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
    panics::end_the_process();
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
        Box::new(move |wakeup| {
            Box::new(Publishing {
                to: file::publisher(&files, &name, wakeup),
                failed: Vec::new(),
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

/// The directory of the process with the bug, if this is it.
fn has_the_bug() -> Option<PathBuf> {
    std::env::var_os(HAS_THE_BUG).map(PathBuf::from)
}

/// Starts this test again, as the process with the bug.
fn start_with_the_bug(dir: &Path) -> Child {
    let thread = std::thread::current();
    let test = thread.name().expect("a test has a thread of its name");
    let program = std::env::current_exe().expect("it is there");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--nocapture"]);
    command.env(HAS_THE_BUG, dir);
    let started = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    started.expect("it can be started")
}

fn assert_the_process_ends_and_nothing_is_lost(bug: Bug, thread: &str) {
    if let Some(dir) = has_the_bug() {
        return be_the_bridge(&dir, bug);
    }
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    let mut bridge = start_with_the_bug(dir.path());
    let lines = BufReader::new(bridge.stdout.take().expect("it is piped")).lines();
    let address = lines.map_while(Result::ok).find_map(|line| {
        let address = line.strip_prefix("listens on ")?;
        address.parse().ok()
    });
    let senders = Senders::start(address.expect("it says so"), SENDERS);
    let ended = await_some("the end of the bridge", || {
        bridge.try_wait().expect("it is a child")
    });
    assert_eq!(ended.code(), Some(EX_SOFTWARE));
    assert_names_the_thread(&mut bridge, thread);
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
    check(&ledger, &consumed, SENDERS);
    assert_a_fresh_event_arrives(&again, |id| events().contains(id));
    assert_at_rest(&again);
}

fn assert_names_the_thread(process: &mut Child, thread: &str) {
    let mut log = String::new();
    let stderr = process.stderr.as_mut().expect("it is piped");
    stderr.read_to_string(&mut log).expect("it is UTF-8");
    let line = format!("minchat-bridge: a bug made the thread {thread}");
    assert!(log.contains(&line), "{log}");
}

#[test]
fn row_46_a_panic_in_a_lanes_owner_ends_the_process_and_loses_nothing() {
    assert_the_process_ends_and_nothing_is_lost(Bug::Publisher, "lane-");
}

#[test]
fn row_46_a_panic_in_the_spools_writer_ends_the_process_and_loses_nothing() {
    assert_the_process_ends_and_nothing_is_lost(Bug::Watcher, "spool ");
}

/// Ends, within the patience of a test, as the bug makes it end.
fn assert_ends_with(code: i32, bug: impl FnOnce()) -> Option<Child> {
    if has_the_bug().is_some() {
        panics::end_the_process();
        bug();
        return None;
    }
    let mut process = start_with_the_bug(Path::new(""));
    let ended = await_some("the end of the process", || {
        process.try_wait().expect("it is a child")
    });
    assert_eq!(ended.code(), Some(code));
    Some(process)
}

/// Longer than a test has patience.
fn wait_for_the_end() {
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn row_46_a_panic_in_a_task_that_nobody_waits_for_ends_the_process() {
    let process = assert_ends_with(EX_SOFTWARE, || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
        drop(runtime.spawn(async { panic!("a bug, as the test has it") }));
        wait_for_the_end();
    });
    if let Some(mut process) = process {
        assert_names_the_thread(&mut process, "tokio-");
    }
}

/// There are frames of C between the callback and the thread's start, which no panic may unwind.
#[cfg(feature = "kafka")]
mod callback {
    use rdkafka::ClientContext;
    use rdkafka::config::ClientConfig;
    use rdkafka::message::DeliveryResult;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Partitioner, ProducerContext};

    use super::{EX_SOFTWARE, assert_ends_with, assert_names_the_thread, wait_for_the_end};

    struct HasABug;

    impl ClientContext for HasABug {}

    impl ProducerContext<HasABug> for HasABug {
        type DeliveryOpaque = ();

        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}

        fn get_custom_partitioner(&self) -> Option<&HasABug> {
            Some(self)
        }
    }

    impl Partitioner for HasABug {
        /// Called on a thread of librdkafka as soon as it knows the topic.
        fn partition(&self, _: &str, _: Option<&[u8]>, _: i32, _: impl Fn(i32) -> bool) -> i32 {
            panic!("a bug, as the test has it")
        }
    }

    #[test]
    fn row_46_a_panic_in_a_callback_on_a_thread_of_librdkafka_ends_the_process() {
        let process = assert_ends_with(EX_SOFTWARE, || {
            let mock = MockCluster::new(1).expect("a port is free");
            mock.create_topic("topic", 2, 1).expect("it is new");
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", mock.bootstrap_servers());
            // Without a setting of its topics, a client of rdkafka 0.39 has no place for a partitioner.
            config.set("acks", "1");
            let producer: Result<BaseProducer<HasABug, HasABug>, _> =
                config.create_with_context(HasABug);
            let producer = producer.expect("the client's settings are good");
            let record = BaseRecord::to("topic").key("key").payload("payload");
            assert!(producer.send(record).is_ok(), "it has room");
            wait_for_the_end();
        });
        if let Some(mut process) = process {
            assert_names_the_thread(&mut process, "rdk:");
        }
    }
}

#[test]
fn row_46_a_panic_in_a_handler_ends_nothing() {
    assert_ends_with(0, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let outcome = runtime.expect("a runtime can be had").block_on(async {
            let handler = pin!(async {
                tokio::task::yield_now().await;
                panic!("a bug, as the test has it")
            });
            let outcome: Result<(), _> = panics::contained_future(handler).await;
            outcome
        });
        assert!(outcome.is_err());
        assert!(panics::contained(|| panic!("a bug, as the test has it")).is_err());
    });
}

#[test]
fn row_46_a_panic_while_a_handlers_stack_unwinds_ends_the_process() {
    struct HasABug;
    impl Drop for HasABug {
        fn drop(&mut self) {
            panic!("another bug")
        }
    }
    assert_ends_with(EX_SOFTWARE, || {
        let _ = panics::contained(|| {
            let _held = HasABug;
            panic!("a bug, as the test has it")
        });
    });
}

/// Another thread holds the log's lock, as it does while it waits for a reader that does not read.
#[test]
fn row_46_a_panic_ends_the_process_while_its_log_can_t_be_written() {
    assert_ends_with(EX_SOFTWARE, || {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _writing = std::io::stderr().lock();
            tell.send(()).expect("the test waits for it");
            wait_for_the_end();
        });
        told.recv().expect("the thread runs");
        panic!("a bug, as the test has it")
    });
}
