//! What a bridge costs to run.

use std::time::{Duration, Instant};

use super::{CREATE, yaml};
use crate::cluster::Cluster;
use crate::payload::prefix;
use crate::process::Process;

/// Six topics, six clients; each spun for a hundredth of its time when rdkafka listened to it.
#[test]
fn a_bridge_that_has_nothing_to_do_rests() {
    const WATCHED: Duration = Duration::from_secs(4);
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let (before, began) = (cpu_time(&bridge), Instant::now());
    while began.elapsed() < WATCHED {
        std::thread::sleep(Duration::from_millis(100));
    }
    let busy = cpu_time(&bridge) - before;
    assert!(busy < WATCHED / 50, "{busy:?} of {WATCHED:?}");
}

/// librdkafka packs a batch in about as much memory as glibc lets lie free at a heap's end by default: whether in
/// more, each client's thread finds for itself.
#[test]
fn a_batch_is_packed_in_memory_that_is_there() {
    const ROUNDS: u64 = 100;
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let post_all = || {
        for sample in minchat_bridge::minchat::SAMPLES {
            assert_eq!(bridge.post(sample.json).status, 202);
        }
    };
    (0..ROUNDS).for_each(|_| post_all());
    let before = page_faults(&bridge);
    (0..ROUNDS).for_each(|_| post_all());
    let faults = page_faults(&bridge) - before;
    assert!(faults < ROUNDS, "{faults} page faults");
}

/// What a process took of the processors until now (`proc_pid_stat(5)`: in hundredths of a second).
fn cpu_time(process: &Process) -> Duration {
    const UTIME: usize = 14;
    const STIME: usize = 15;
    Duration::from_millis((stat(process, UTIME) + stat(process, STIME)) * 10)
}

/// How often a process asked for a page until now that no disk had to be read for.
fn page_faults(process: &Process) -> u64 {
    const MINFLT: usize = 10;
    stat(process, MINFLT)
}

/// A field of `/proc/pid/stat`, by its number in `proc_pid_stat(5)`.
fn stat(process: &Process, field: usize) -> u64 {
    const AFTER_THE_NAME: usize = 3;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("it has a name");
    let value = rest.split(' ').nth(field - AFTER_THE_NAME);
    value
        .and_then(|value| value.parse().ok())
        .expect("a number")
}
