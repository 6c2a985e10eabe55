//! A bug that makes a thread of the real binary panic, whichever thread that is. See `tests/faults/panic.c`.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use tempfile::TempDir;

use super::checker::{Consumed, check};
use super::panics::EX_SOFTWARE;
use super::preload;
use super::scenes::MESSAGES;
use super::senders::Senders;
use crate::payload::message;
use crate::process::{Process, await_some};

/// Each webhook is in a file at once, and in the spool for a Kafka that nobody has ever seen.
const YAML: &str = "sources: {minchat: {auth: {none: true}}}\n\
    file: {dir: data/events}\n\
    kafka: {bootstrap_servers: \"127.0.0.1:1\"}\n\
    amqp: {uri: \"amqp://127.0.0.1:1\"}\n\
    routes: {message.sent: {file: {}, kafka: {}}}\n";

/// Each has one event in flight at the panic, which may come twice.
const SENDERS: usize = 4;

/// Calls that fail for ever.
const ALL: i32 = i32::MAX;

/// What makes a thread panic.
struct Bug {
    dir: Arc<TempDir>,
    library: PathBuf,
    left: File,
    call: &'static str,
    thread: &'static str,
}

impl Bug {
    /// In the threads whose name begins so, as the kernel knows it, once [`Self::fails`] is called.
    fn in_thread(thread: &'static str, call: &'static str) -> Self {
        let dir = Arc::new(TempDir::new().expect("a directory can be made"));
        let library = preload::build("panic", dir.path());
        let left = File::create(dir.path().join("left")).expect("it can be made");
        let bug = Bug {
            dir,
            library,
            left,
            call,
            thread,
        };
        bug.fails(0);
        bug
    }

    /// So many calls fail from now on.
    fn fails(&self, calls: i32) {
        let written = self.left.write_all_at(&calls.to_ne_bytes(), 0);
        written.expect("it can be written");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("LD_PRELOAD", &self.library)
            .env("TEST_PANIC_LEFT", self.dir.path().join("left"))
            .env("TEST_PANIC_CALL", self.call)
            .env("TEST_PANIC_THREAD", self.thread);
        command
    }

    fn bridge(&self) -> Process {
        Process::start_by(Arc::clone(&self.dir), YAML, |program| self.command(program))
    }

    /// A command of the program, with the bug from its start.
    fn run(&self, words: &[&str]) -> Output {
        self.fails(ALL);
        let mut command = self.command(env!("CARGO_BIN_EXE_minchat-bridge"));
        let output = command.args(words).current_dir(self.dir.path()).output();
        output.expect("the program can be run")
    }
}

/// A bug in this thread ends the bridge under load, and the next one has all that was accepted. `named` is how the
/// log names it, and `signal` what has it do something, where it would sleep on.
fn assert_it_ends_the_process(thread: &'static str, named: &str, signal: Option<&str>) {
    let bug = Bug::in_thread(thread, "clock");
    let mut bridge = bug.bridge();
    let senders = Senders::start(bridge.webhooks(), SENDERS);
    senders.await_accepted(200);
    bug.fails(ALL);
    if let Some(signal) = signal {
        bridge.signal(signal);
    }
    assert_eq!(bridge.ended().code(), Some(EX_SOFTWARE), "{thread}");
    bridge.await_log(&[
        "ERROR",
        "a bug made a thread panic",
        &format!("\"thread\":\"{named}"),
    ]);
    let again = Process::start_in(bridge.dir(), YAML);
    senders.turn_to(again.webhooks());
    senders.await_accepted(50);
    let ledger = senders.end();
    let refused: BTreeSet<u16> = ledger.refused.iter().copied().collect();
    assert!(
        refused.iter().all(|status| [500, 503].contains(status)),
        "{refused:?}"
    );
    again.await_metric(&["lane_pending_events", "\"file\""], 0.0);
    let in_spool = again.metric(&["spool_events", "\"kafka\"", MESSAGES]);
    assert!(in_spool >= ledger.accepted.len() as f64, "{in_spool}");
    let file = again.path().join(format!("data/events/{MESSAGES}.ndjson"));
    let events = std::fs::read_to_string(&file).expect("there are events");
    let consumed: Vec<_> = events
        .lines()
        .map(|line| Consumed(line.to_owned()))
        .collect();
    check(&ledger, &consumed, SENDERS);
    again.assert_the_books_balance();
}

#[test]
fn row_46_a_panic_in_a_lanes_thread_ends_the_process_and_loses_nothing() {
    assert_it_ends_the_process("lane-", "lane-", None);
}

#[test]
fn row_46_a_panic_in_the_spools_thread_ends_the_process_and_loses_nothing() {
    assert_it_ends_the_process("spool", "spool", None);
}

#[test]
fn row_46_a_panic_in_the_thread_that_reloads_ends_the_process_and_loses_nothing() {
    assert_it_ends_the_process("reload", "reload", None);
}

#[test]
fn row_46_a_panic_in_the_thread_that_asks_about_topics_ends_the_process_and_loses_nothing() {
    assert_it_ends_the_process("kafka-topics", "kafka-topics", None);
}

#[test]
fn row_46_a_panic_in_the_thread_that_writes_a_file_ends_the_process_and_loses_nothing() {
    assert_it_ends_the_process("file", "file", None);
}

/// The tasks of RabbitMQ run there.
#[test]
fn row_46_a_panic_in_a_thread_of_the_runtime_ends_the_process_and_loses_nothing() {
    assert_it_ends_the_process("tokio-", "tokio-", None);
}

/// What brings the lanes' answers to those who wait runs there, beside the handlers.
#[test]
fn row_46_a_panic_in_a_worker_outside_of_a_handler_ends_the_process_and_loses_nothing() {
    assert_it_ends_the_process("actix-server wo", "actix-server worker", None);
}

#[test]
fn row_46_a_panic_in_the_main_thread_ends_the_process_and_loses_nothing() {
    assert_it_ends_the_process("minchat-bridge", "main", Some("TERM"));
}

#[test]
fn row_46_a_panic_in_the_handler_of_a_webhook_costs_that_webhook_alone() {
    let bug = Bug::in_thread("actix-server wo", "random");
    let bridge = bug.bridge();
    bridge.await_ready();
    bug.fails(1);
    let refused = bridge.post(&message("c1", "one"));
    assert_eq!(
        (refused.status, refused.json["type"].as_str()),
        (500, Some("tag:minchat.io,2026:bridge:problem:internal"))
    );
    bridge.await_log(&["ERROR", "a bug made a thread panic", "actix-server worker"]);
    assert_eq!(bridge.post(&message("c1", "two")).status, 202);
    assert_eq!(bridge.metric(&["webhooks_rejected_total", "internal"]), 1.0);
    assert_eq!(bridge.metric(&["http_requests_in_flight"]), 0.0);
    assert_eq!(bridge.metric(&["http_in_flight_bytes"]), 0.0);
    assert_eq!(bridge.ask("/livez").0, 200);
}

#[test]
fn row_46_a_panic_in_the_handler_of_the_admin_listener_costs_that_request_alone() {
    let bug = Bug::in_thread("actix-server wo", "random");
    let bridge = bug.bridge();
    bridge.await_ready();
    bug.fails(1);
    assert_eq!(bridge.ask("/nothing").0, 500);
    bridge.await_log(&["ERROR", "a bug made a thread panic", "actix-server worker"]);
    assert_eq!(bridge.ask("/nothing").0, 404);
    assert_eq!(bridge.ask("/livez").0, 200);
}

#[test]
fn a_command_that_panics_says_so_and_exits_as_for_a_bug() {
    let url = "http://127.0.0.1:1/webhooks/minchat";
    let drain = &["spool", "drain", "--config", "config.yaml"][..];
    for (thread, named, words) in [
        ("minchat-bridge", "main", &["emit", "--url", url][..]),
        ("emit", "emit", &["emit", "--url", url]),
        ("minchat-bridge", "main", drain),
        ("lane-", "lane-", drain),
        ("spool", "spool", drain),
    ] {
        let bug = Bug::in_thread(thread, "clock");
        if words == drain {
            let mut bridge = bug.bridge();
            bridge.post_spooled();
            bridge.stop();
        }
        let output = bug.run(words);
        let text = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert_eq!(code, Some(EX_SOFTWARE), "{words:?}: {text}");
        assert!(
            text.contains("a bug made") && text.contains(named),
            "{words:?}: {text}"
        );
    }
}

/// So that the log can say in which one a bug was.
#[cfg(all(feature = "amqp", feature = "kafka"))]
#[test]
fn every_thread_has_a_name_of_its_own() {
    const NAMES: [&str; 12] = [
        "lane-",
        "file",
        "log",
        "spool",
        "reload",
        "kafka-",
        "rdk:",
        "admin client",
        "tokio-",
        "lapin-",
        "actix-server wo",
        "actix-server ac",
    ];
    let kafka = crate::cluster::Cluster::shared().servers;
    let amqp = crate::amqp::client::shared_url();
    let prefix = crate::payload::prefix();
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
         file: {{dir: data/events}}\n\
         kafka: {{bootstrap_servers: \"{kafka}\", create_topics: true}}\n\
         amqp: {{uri: \"{amqp}\"}}\n"
    ));
    bridge.await_ready();
    assert_eq!(bridge.post(&message("c1", "one")).status, 202);
    let main = bridge.id().to_string();
    let names = || {
        let threads = std::fs::read_dir(format!("/proc/{main}/task")).expect("it runs");
        let others = threads
            .map(|thread| thread.expect("it runs").path())
            .filter(|thread| !thread.ends_with(&main));
        // A thread may end meanwhile.
        let names = others.filter_map(|thread| std::fs::read_to_string(thread.join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    };
    // That Kafka's topics are there was asked by the admin client, which is gone soon.
    let lasting = || NAMES.iter().filter(|name| **name != "admin client");
    await_some("a thread of each name", || {
        let names = names();
        let is_there = |begins: &&str| names.iter().any(|name| name.starts_with(*begins));
        lasting().all(is_there).then_some(())
    });
    let has_none = |name: &String| !NAMES.iter().any(|begins| name.starts_with(begins));
    let nameless: Vec<_> = names().into_iter().filter(has_none).collect();
    assert_eq!(nameless, [""; 0]);
}

/// A log that nobody reads any more is no bug.
#[test]
fn a_bridge_whose_log_nobody_reads_any_more_goes_on() {
    let bug = Bug::in_thread("none", "none");
    let mut bridge = bug.bridge();
    bridge.let_go_of_the_log();
    for _ in 0..3 {
        bridge.signal("HUP");
        let reloaded = || bridge.metric(&["config_last_reload_successful"]) == 1.0;
        await_some("a reload", || reloaded().then_some(()));
        assert_eq!(bridge.post(&message("c1", "one")).status, 202);
    }
    bridge.signal("TERM");
    assert_eq!(bridge.ended().code(), Some(0));
}
