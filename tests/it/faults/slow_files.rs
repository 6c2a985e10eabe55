//! A disk under the file destination that takes very long.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checker::{
    Consumed, assert_a_fresh_event_arrives, assert_at_rest, assert_nobody_waited, check,
};
use super::scenes::MESSAGES;
use super::senders::Senders;
use super::thorough;
use crate::payload::sample;
use crate::process::{Process, await_some};

const YAML: &str = "sources: {minchat: {auth: {none: true}}}\nfile: {dir: data/events}\n";

/// A pipe that is full, in the place of the file of a destination: a write to it takes until somebody reads.
struct SlowFile {
    pipe: File,
    path: PathBuf,
}

impl SlowFile {
    fn of(dir: &Path, destination: &str) -> Self {
        let events = dir.join("data/events");
        std::fs::create_dir_all(&events).expect("a directory can be made");
        let path = events.join(format!("{destination}.ndjson"));
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let made = rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0);
        made.expect("a pipe can be made");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true);
        let options = options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
        let mut pipe = options.open(&path).expect("it was just made");
        let full = loop {
            if let Err(error) = pipe.write(&[b'\n'; 1024]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        SlowFile { pipe, path }
    }

    /// The write ends, and its sync fails, since a pipe has none. The next attempt makes a file of this name.
    fn recover(mut self) {
        std::fs::remove_file(&self.path).expect("it is there");
        let mut content = vec![0; 1 << 20];
        await_some("the file of that name", || {
            while self.pipe.read(&mut content).is_ok() {}
            self.path.exists().then_some(())
        });
    }
}

fn lines(file: &Path) -> Vec<Consumed> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| Consumed(line.to_owned())).collect()
}

#[test]
fn row_52_a_slow_disk_under_the_file_destination_delays_no_answer_and_no_other_destination() {
    let dir = Arc::new(tempfile::tempdir().expect("a directory can be made"));
    let slow = SlowFile::of(dir.path(), MESSAGES);
    let file = slow.path.clone();
    let bridge = Process::start_in(dir, YAML);
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_spooled(20);
    senders.keep_on(thorough(Duration::from_secs(30), Duration::from_secs(7)));
    let began = Instant::now();
    let other = bridge.post(sample("user-daily-active.current"));
    assert_eq!(
        (other.status, other.json["receipt"].as_str()),
        (202, Some("published"))
    );
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    slow.recover();
    bridge.await_log(&["INFO", MESSAGES, "events get through again"]);
    let ledger = senders.end();
    bridge.await_metric(&["lane_pending_events"], 0.0);
    assert_nobody_waited(&ledger);
    check(&ledger, &lines(&file), 0);
    assert_a_fresh_event_arrives(&bridge, |id| {
        lines(&file).iter().any(|line| line.0.contains(id))
    });
    assert_at_rest(&bridge);
}

#[test]
fn row_52_a_bridge_whose_file_destination_hangs_ends_in_time_and_keeps_what_it_accepted() {
    let dir = Arc::new(tempfile::tempdir().expect("a directory can be made"));
    let slow = SlowFile::of(dir.path(), MESSAGES);
    let file = slow.path.clone();
    let mut bridge = Process::start_in(dir, YAML);
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_spooled(20);
    let ledger = senders.end();
    let began = Instant::now();
    bridge.stop();
    println!("ended within {:?}", began.elapsed());
    std::fs::remove_file(&file).expect("it is there");
    drop(slow);
    let again = Process::start_in(bridge.dir(), YAML);
    again.await_metric(&["lane_pending_events"], 0.0);
    assert_nobody_waited(&ledger);
    check(&ledger, &lines(&file), 0);
    assert_at_rest(&again);
}
