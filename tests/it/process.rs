//! The binary itself, started, posted to, asked, signalled and ended by a test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Connection, Request, get};
use crate::payload::message;

/// How long a test waits for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until there is something, and says what was missing if it never came.
pub fn await_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    await_within(PATIENCE, what, look)
}

/// The same for what takes longer.
pub fn await_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command of the program to its end: its exit code, and what it wrote to stdout and stderr.
pub fn program(words: &[&str], more: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
        .args(words)
        .args(more)
        .output();
    let output = output.expect("the program can be run");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().expect("it exits"),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A configuration that lets everybody in, if it says nothing of sources.
pub fn with_sources(yaml: &str) -> String {
    const SOURCES: &str = "sources: {minchat: {auth: {none: true}}}\n";
    match yaml.trim() {
        "{}" => SOURCES.to_owned(),
        given if given.contains("sources:") => format!("{yaml}\n"),
        _ => format!("{yaml}\n{SOURCES}"),
    }
}

/// A running bridge.
pub struct Process {
    child: Child,
    dir: Arc<TempDir>,
    log: Arc<Mutex<String>>,
    reads_the_log: Arc<AtomicBool>,
    webhooks: SocketAddr,
    admin: SocketAddr,
}

/// What a webhook was answered.
#[derive(Debug)]
pub struct Posted {
    pub status: u16,
    pub json: Value,
}

impl Process {
    /// Starts the bridge with this configuration, and [`with_sources`], on free ports, in a directory of its own.
    pub fn start(yaml: &str) -> Self {
        Self::start_in(
            Arc::new(TempDir::new().expect("a directory can be made")),
            yaml,
        )
    }

    /// The same in a directory that another bridge left.
    pub fn start_in(dir: Arc<TempDir>, yaml: &str) -> Self {
        Self::start_by(dir, yaml, |program| Command::new(program))
    }

    /// The same by a command that becomes the program.
    pub fn start_by(dir: Arc<TempDir>, yaml: &str, command: impl FnOnce(&str) -> Command) -> Self {
        let config = dir.path().join("config.yaml");
        std::fs::write(&config, with_sources(yaml)).expect("the configuration can be written");
        let mut child = command(env!("CARGO_BIN_EXE_minchat-bridge"))
            .args(["serve", "--config"])
            .arg(&config)
            .args([
                "--set",
                "http.listen=127.0.0.1:0",
                "--set",
                "admin.listen=127.0.0.1:0",
            ])
            .args(["--set", "log.format=json"])
            // The machine that tests may have a disk that is nearly full.
            .args(["--set", "spool.keep_free=0%"])
            .current_dir(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the bridge can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("it is piped");
        let lines = Arc::clone(&log);
        let reads_the_log = Arc::new(AtomicBool::new(true));
        let reads = Arc::clone(&reads_the_log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = lines.lock().expect("nobody panics with it");
                log.push_str(&line);
                log.push('\n');
                if !reads.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let address = |begins: &str| {
            await_some(begins, || {
                let log = log.lock().expect("nobody panics with it");
                let rest = log.split_once(begins)?.1.split_once("://")?.1;
                let address = rest.split('/').next()?;
                Some(address.parse().expect("an address stands there"))
            })
        };
        let webhooks = address("post webhooks to http");
        let admin = address("version at http");
        Process {
            child,
            dir,
            log,
            reads_the_log,
            webhooks,
            admin,
        }
    }

    pub fn webhooks(&self) -> SocketAddr {
        self.webhooks
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.ended();
    }

    pub fn dir(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }

    /// Closes the pipe that the log comes through, after its next line.
    pub fn let_go_of_the_log(&self) {
        self.reads_the_log.store(false, Ordering::Relaxed);
    }

    pub fn log(&self) -> String {
        let log = self.log.lock();
        // A test may panic while it keeps the log unread.
        log.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log as far as it was read. While a test holds its lock, nobody reads on.
    pub fn log_handle(&self) -> Arc<Mutex<String>> {
        Arc::clone(&self.log)
    }

    /// Waits for a line of the log that has all of these in it.
    pub fn await_log(&self, parts: &[&str]) -> String {
        let found = || {
            let log = self.log();
            log.lines()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .map(str::to_owned)
        };
        await_some(&format!("a line of the log with {parts:?}"), found)
    }

    pub fn post(&self, payload: &str) -> Posted {
        self.post_to("/webhooks/minchat", payload)
    }

    pub fn post_to(&self, path: &str, payload: &str) -> Posted {
        self.send(&Request::post(path, payload))
    }

    /// Posts a message that is taken and has to wait. Its id.
    pub fn post_spooled(&self) -> String {
        let posted = self.post(&message("c1", "meanwhile"));
        assert_eq!(
            (posted.status, posted.json["receipt"].as_str()),
            (202, Some("spooled"))
        );
        posted.json["id"].as_str().expect("it has an id").to_owned()
    }

    pub fn send(&self, request: &Request) -> Posted {
        let mut connection = Connection::open(self.webhooks);
        connection.send(request.bytes());
        let answer = connection.answer().expect("every webhook is answered");
        let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        Posted {
            status: answer.status,
            json,
        }
    }

    /// The answer of the admin listener: status and text.
    pub fn ask(&self, path: &str) -> (u16, String) {
        let answer = get(self.admin, path);
        (answer.status, answer.text())
    }

    /// Waits until it is ready, and has heard of each destination's broker whether it can be reached.
    pub fn await_ready(&self) -> &Self {
        await_some("readiness", || {
            let (status, text) = self.ask("/readyz?verbose");
            (status == 200 && !text.contains("not reached yet")).then_some(())
        });
        self
    }

    /// The sum of the series that have all of these in their lines.
    pub fn metric(&self, parts: &[&str]) -> f64 {
        let (_, text) = self.ask("/metrics");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    pub fn await_metric(&self, parts: &[&str], value: f64) {
        await_some(&format!("{parts:?} at {value}"), || {
            (self.metric(parts) == value).then_some(())
        });
    }

    /// Asserts that for every destination: given = published + dead letters + pending.
    pub fn assert_the_books_balance(&self) {
        let (_, text) = self.ask("/metrics");
        let mut destinations = 0;
        for line in text
            .lines()
            .filter(|line| line.starts_with("minchat_bridge_lane_events_total{"))
        {
            let labels = line
                .split(['{', '}'])
                .nth(1)
                .expect("labels stand in braces");
            let of = |metric: &str| {
                let mine = text
                    .lines()
                    .filter(|line| line.starts_with(&format!("minchat_bridge_{metric}{{")));
                let mine = mine.filter(|line| labels.split(',').all(|label| line.contains(label)));
                mine.map(|line| {
                    line.rsplit(' ')
                        .next()
                        .expect("a value")
                        .parse::<f64>()
                        .expect("a number")
                })
                .sum::<f64>()
            };
            let given = of("lane_events_total");
            let ended =
                of("published_total") + of("dead_letters_total") + of("lane_pending_events");
            assert_eq!(given, ended, "the books of {labels}:\n{text}");
            destinations += 1;
        }
        assert!(destinations > 0, "there are destinations");
    }

    /// Whether it has this file open.
    pub fn has_open(&self, file: &Path) -> bool {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        let mut files = open.flatten().map(|open| std::fs::read_link(open.path()));
        files.any(|open| open.is_ok_and(|open| open == file))
    }

    /// The most memory that it ever had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("Linux tells")
            .parse::<u64>()
            .expect("it is a number")
            * 1024
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("there is a kill").success());
    }

    /// Waits for the end, and says how.
    pub fn ended(&mut self) -> ExitStatus {
        await_some("the end of the bridge", || {
            self.child.try_wait().expect("it is a child")
        })
    }

    /// Stops it in order, and asserts that it was.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.ended().code(), Some(0), "{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the bridge's log\n{}---", self.log());
        }
    }
}
