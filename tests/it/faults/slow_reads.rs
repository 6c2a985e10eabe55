//! A disk of the spool that is slow to read. See `tests/faults/slow_reads.c`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use super::checker::{ONE_OF_EACH_KEY, assert_nobody_waited, check};
use super::preload;
use super::proxy::{Proxy, Weather};
use super::scenes::{CREATE, Kafka};
use super::senders::Senders;
use super::thorough;
use crate::payload::sample;
use crate::process::{Process, await_some};

/// A start finds a backlog, and can't read it for now.
#[test]
fn row_52_a_spool_that_is_slow_to_read_delays_no_answer_and_no_other_destination() {
    let proxy = Proxy::new();
    let scene = Kafka::behind(&proxy);
    let yaml = scene.yaml(
        CREATE,
        "file: {dir: data/events}\nroutes: {user.daily-active: {file: {}}}",
    );
    let mut bridge = Process::start(&yaml);
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    proxy.weather(Weather::Away);
    bridge.await_metric(&["broker_up", "kafka"], 0.0);
    senders.await_spooled(300);
    bridge.kill();

    let dir = bridge.dir();
    let library = preload::build("slow_reads", dir.path());
    let state = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(dir.path().join("slow"))
        .expect("it can be made");
    let set = |is_slow: u8| state.write_all_at(&[is_slow, 0], 0).expect("there is room");
    set(0);
    let file = dir.path().join("slow");
    let bridge = Process::start_by(dir, &yaml, |program| {
        let mut command = Command::new(program);
        command
            .env("LD_PRELOAD", &library)
            .env("TEST_SLOW_READS", &file);
        command
    });
    bridge.await_ready();
    set(1);
    proxy.weather(Weather::Fair);
    await_some("a read of the spool that waits", || {
        let mut now = [0; 2];
        state.read_exact_at(&mut now, 0).expect("it has two bytes");
        (now == [1, 1]).then_some(())
    });
    senders.turn_to(bridge.webhooks());
    senders.await_spooled(300);
    senders.keep_on(thorough(Duration::from_secs(30), Duration::from_secs(2)));
    let other = bridge.post(sample("user-daily-active.current"));
    assert_eq!(other.json["receipt"], "published", "{:?}", other.json);
    set(0);
    senders.await_accepted(100);
    let ledger = senders.end();
    assert_nobody_waited(&ledger);
    scene.assert_all_is_well(&bridge);
    // What each sender had in flight when the first bridge lost its broker, and was killed.
    check(&ledger, &scene.consumed(), ONE_OF_EACH_KEY);
}
