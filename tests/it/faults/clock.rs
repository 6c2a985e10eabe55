//! A wall clock that jumps.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::checker::{KAFKA_REPEATS, assert_nobody_waited, check};
use super::preload;
use super::scenes::{CREATE, Kafka, MESSAGES, await_draining};
use super::senders::Senders;
use crate::process::Process;

const HOUR: i64 = 3600;
/// Topics that take events of a clock that is two hours ahead; Kafka's own default is one hour.
const CREATE_LENIENT: &str = "  create_topics: {partitions: 3, replication_factor: 1, config: {message.timestamp.after.max.ms: \"86400000\"}}";

/// The wall clock of one bridge.
struct Clock {
    dir: Arc<TempDir>,
    library: PathBuf,
    set: File,
}

impl Clock {
    fn new() -> Self {
        let dir = Arc::new(TempDir::new().expect("a directory can be made"));
        let library = preload::build("clock", dir.path());
        let set = File::create(dir.path().join("clock")).expect("it can be made");
        let clock = Clock { dir, library, set };
        clock.is_ahead(0);
        clock
    }

    /// So many seconds ahead of the machine's.
    fn is_ahead(&self, seconds: i64) {
        let written = self.set.write_all_at(&seconds.to_ne_bytes(), 0);
        written.expect("it can be written");
    }

    fn bridge(&self, yaml: &str) -> Process {
        let file = self.dir.path().join("clock");
        let bridge = Process::start_by(Arc::clone(&self.dir), yaml, |program| {
            let mut command = Command::new(program);
            command
                .env("LD_PRELOAD", &self.library)
                .env("TEST_CLOCK", file);
            command
        });
        bridge.await_ready();
        bridge
    }
}

#[test]
fn row_35_a_clock_that_jumps_by_two_hours_changes_nothing_but_timestamps() {
    let (scene, clock) = (Kafka::new(), Clock::new());
    let bridge = clock.bridge(&scene.yaml(CREATE_LENIENT, ""));
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    for hours in [2, -2, 0] {
        clock.is_ahead(hours * HOUR);
        senders.await_accepted(500);
    }
    // The client waits for its next attempt when the clock is set back, and when it is set forward.
    for hours in [-2, 2] {
        scene.node.kill();
        senders.await_spooled(500);
        clock.is_ahead(hours * HOUR);
        senders.await_spooled(200);
        scene.node.start();
        await_draining(&bridge);
        senders.await_accepted(200);
    }
    let ledger = senders.end();
    assert_nobody_waited(&ledger);
    scene.assert_all_is_well(&bridge);
    let consumed = scene.consumed();
    check(&ledger, &consumed, KAFKA_REPEATS);
    let ahead = SystemTime::now() + Duration::from_secs(HOUR as u64);
    let ahead = time::OffsetDateTime::from(ahead)
        .format(&time::format_description::well_known::Rfc3339)
        .expect("it is a time of these years");
    let of_the_future = |event: &str| {
        let json: serde_json::Value = serde_json::from_str(event).expect("it is JSON");
        json["time"].as_str().expect("it has a time") > ahead.as_str()
    };
    assert!(
        consumed.iter().any(|event| of_the_future(&event.0)),
        "the clock did jump"
    );
}

#[test]
fn row_51_a_clock_that_is_two_hours_ahead_makes_no_dead_letter_and_is_named() {
    a_wrong_clock_is_waited_for(2);
}

#[test]
fn row_51_a_clock_that_is_two_hours_behind_makes_no_dead_letter_and_is_named() {
    a_wrong_clock_is_waited_for(-2);
}

fn a_wrong_clock_is_waited_for(hours: i64) {
    let (scene, clock) = (Kafka::new(), Clock::new());
    let an_hour = HOUR as u64 * 1000;
    let bounds = ["before", "after"].map(|side| {
        (
            format!("message.timestamp.{side}.max.ms"),
            an_hour.to_string(),
        )
    });
    let bounds: Vec<_> = bounds
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    scene.cluster().create(MESSAGES, 3, &bounds);
    let bridge = clock.bridge(&scene.yaml(CREATE, ""));
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    clock.is_ahead(hours * HOUR);
    bridge.await_log(&["ERROR", MESSAGES, "this machine's clock"]);
    senders.await_spooled(100);
    clock.is_ahead(0);
    await_draining(&bridge);
    senders.await_accepted(100);
    scene.end(&bridge, senders);
    assert_eq!(bridge.metric(&["dead_letters_total"]), 0.0);
}
