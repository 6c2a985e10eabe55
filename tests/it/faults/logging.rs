//! Standard error that nobody reads, or that can't be written.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Connection, Request};
use crate::payload::message;
use crate::process::{Process, await_some};
use crate::readme::explained;

/// Twice `http.shutdown_timeout`, for a busy machine.
const STOPPED_WITHIN: Duration = Duration::from_secs(24);

/// Each is at least one line at DEBUG: many more than the pipe, the bridge and the test's reader hold together.
const MAX_POSTS: usize = 20_000;

/// Has the bridge write lines until it drops some, while nobody reads its log.
fn drop_lines(bridge: &Process) {
    // Each was a line at ERROR once.
    for _ in 0..500 {
        Connection::open(bridge.webhooks()).send(b"\0\r\n\r\n");
    }
    let mut sender = Connection::open(bridge.webhooks());
    let request = Request::post("/webhooks/minchat", message("c1", "hello")).bytes();
    for _ in 0..MAX_POSTS / 100 {
        for _ in 0..100 {
            sender.send(&request);
            assert_eq!(sender.answer().expect("an answer").status, 202);
        }
        if dropped_lines(bridge) > 0.0 {
            return;
        }
    }
    panic!("no line was dropped");
}

fn dropped_lines(bridge: &Process) -> f64 {
    bridge.metric(&["log_lines_dropped_total"])
}

fn start(section: &str) -> Process {
    let yaml = "sources: {minchat: {auth: {none: true}}}\nlog: {level: debug}\n";
    let bridge = Process::start(&format!("{yaml}{section}"));
    bridge.await_ready();
    bridge
}

fn a_log_that_nobody_reads_stops_nothing(section: &str) {
    let mut bridge = start(section);
    let log = bridge.log_handle();
    let unread = log.lock().expect("nobody panics with it");
    drop_lines(&bridge);
    assert_eq!(bridge.ask("/livez").0, 200);
    assert_eq!(bridge.ask("/readyz").0, 200);
    assert_eq!(bridge.post(&message("c1", "hello")).status, 202);
    let asked = Instant::now();
    bridge.signal("TERM");
    assert_eq!(bridge.ended().code(), Some(0));
    let took = asked.elapsed();
    assert!(took < STOPPED_WITHIN, "it took {took:?}");
    drop(unread);
}

#[test]
fn row_53_a_log_that_nobody_reads_stops_nothing_with_files() {
    a_log_that_nobody_reads_stops_nothing("file: {dir: data/events}\n");
}

#[cfg(feature = "kafka")]
#[test]
fn row_53_a_log_that_nobody_reads_stops_nothing_with_kafka_away() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
    let address = nobody.local_addr().expect("it listens");
    drop(nobody);
    a_log_that_nobody_reads_stops_nothing(&format!("kafka: {{bootstrap_servers: '{address}'}}\n"));
}

#[test]
fn row_53_once_the_log_is_read_again_it_says_how_many_lines_were_dropped() {
    let mut bridge = start("file: {dir: data/events}\n");
    let log = bridge.log_handle();
    let unread = log.lock().expect("nobody panics with it");
    drop_lines(&bridge);
    drop(unread);
    let message = "lines of the log were dropped: stderr was not read, or could not be written";
    let line = bridge.await_log(&["WARN", explained(message)]);
    let line: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
    assert_eq!(line["lines"].as_f64(), Some(dropped_lines(&bridge)));
    bridge.stop();
    // The last line before the end.
    bridge.await_log(&["stopped; every accepted event is published"]);
    let log = bridge.log();
    for line in log.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "{line}"
        );
    }
}

/// A bridge whose standard error is not the test's to read.
struct Unread {
    child: Child,
    ports: [u16; 2],
    _dir: TempDir,
}

impl Unread {
    fn start(stderr: Stdio) -> Self {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("port 0 is free"));
        let ports = listeners.each_ref().map(|listener| {
            let address = listener.local_addr().expect("it listens");
            address.port()
        });
        drop(listeners);
        let dir = TempDir::new().expect("a directory can be made");
        let child = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
            .args(["serve", "--set", "spool.keep_free=0%"])
            .args(["--set", &format!("http.listen=127.0.0.1:{}", ports[0])])
            .args(["--set", &format!("admin.listen=127.0.0.1:{}", ports[1])])
            .current_dir(dir.path())
            .stderr(stderr)
            .spawn()
            .expect("the bridge can be started");
        Self {
            child,
            ports,
            _dir: dir,
        }
    }

    /// The status and the text of the answer to a request, once the bridge listens.
    fn exchange(&self, port: u16, request: &Request) -> (u16, String) {
        let mut connection = await_some("a listener", || {
            Connection::try_open(([127, 0, 0, 1], port).into())
        });
        connection.send(request.bytes());
        let answer = connection.answer_to(request.method).expect("an answer");
        (answer.status, answer.text())
    }

    fn ask(&self, path: &str) -> (u16, String) {
        let mut request = Request::post(path, "");
        request.method = "GET";
        self.exchange(self.ports[1], &request)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_log_that_cannot_be_written_ends_nothing(stderr: Stdio) {
    let mut bridge = Unread::start(stderr);
    await_some("readiness", || {
        (bridge.ask("/readyz").0 == 200).then_some(())
    });
    let webhook = Request::post("/webhooks/minchat", message("c1", "hello"));
    assert_eq!(bridge.exchange(bridge.ports[0], &webhook).0, 202);
    let (_, metrics) = bridge.ask("/metrics");
    let dropped = metrics.lines().find_map(|line| {
        let value = line.strip_prefix("minchat_bridge_log_lines_dropped_total ")?;
        value.parse::<u64>().ok()
    });
    assert!(dropped.expect("it is shown") > 0);
    let term = ["-s", "TERM", &bridge.child.id().to_string()].map(str::to_owned);
    assert!(
        Command::new("kill")
            .args(term)
            .status()
            .expect("there is a kill")
            .success()
    );
    let ended = await_some("the end of the bridge", || {
        bridge.child.try_wait().expect("it is a child")
    });
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn row_53_a_log_whose_reader_is_gone_ends_nothing() {
    let (reader, writer) = std::io::pipe().expect("there is a pipe");
    drop(reader);
    a_log_that_cannot_be_written_ends_nothing(writer.into());
}

#[test]
fn row_53_a_log_on_a_full_disk_ends_nothing() {
    let full = File::options().write(true).open("/dev/full");
    a_log_that_cannot_be_written_ends_nothing(full.expect("Linux has it").into());
}
