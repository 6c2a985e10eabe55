//! The spool on its own: how many events of 1 KiB a second it appends while 256 wait, beside what `dd`
//! says of the same disk: the budget is 300,000, or a third of that, whichever is lower.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use minchat_bridge::spool::settings::Settings;
use minchat_bridge::spool::{Batch, Name, Spool, Watcher};
use minchat_bridge::units::Percent;

const WAITING: u64 = 256;
const SIZE: usize = 1024;
const LASTS: Duration = Duration::from_secs(3);
const BUDGET: f64 = 300_000.0;

struct Nobody;

impl Watcher for Nobody {
    fn synced(&self, _took: Duration) {}
    fn corrupt(&self, _places: u64) {}
}

fn main() {
    let dir = tempfile::tempdir_in(".").expect("a directory can be made here");
    for _ in 0..3 {
        let appended = append(dir.path());
        let disk = dd(dir.path());
        let least = BUDGET.min(disk / SIZE as f64 / 3.0);
        println!(
            "{appended:9.0} events of 1 KiB appended a second; dd oflag=dsync: {:.0} MiB/s; at least {least:.0}: {:.2} times",
            disk / (1 << 20) as f64,
            appended / least
        );
    }
}

/// As the lane of one destination does it: what waits is one batch, and the next one follows its answer.
fn append(dir: &std::path::Path) -> f64 {
    let settings = Settings {
        dir: dir.join("spool"),
        max_size: 64 << 30,
        keep_free: Percent::new(0),
    };
    let name = Name::new("kafka\0bench").expect("it is short");
    let opened = Spool::open(&settings).expect("nobody else uses it");
    let mut number = opened.found().first().map_or(0, |found| found.next);
    let spool = opened.start(Arc::new(Nobody)).expect("a thread can be had");
    let queue = spool.queue(&name).expect("it is open");
    let body = vec![b'x'; SIZE];
    let appended = Arc::new(AtomicU64::new(0));
    let (answer, answers) = channel();
    let began = Instant::now();
    while began.elapsed() < LASTS {
        let mut batch = Batch::new();
        for number in number..number + WAITING {
            batch.push(number, 1, |bytes| bytes.extend_from_slice(&body));
        }
        number += WAITING;
        let (answer, appended) = (answer.clone(), Arc::clone(&appended));
        spool.append(&queue, batch, move |outcome| {
            assert_eq!(outcome.refusal, None);
            appended.fetch_add(WAITING, Ordering::Relaxed);
            answer.send(()).expect("the bench waits for it");
        });
        answers.recv().expect("the writer answers");
        queue.mark(number);
    }
    let rate = appended.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    spool.close();
    rate
}

/// Bytes a second.
fn dd(dir: &std::path::Path) -> f64 {
    let file = dir.join("dd");
    let blocks = 512;
    let began = Instant::now();
    let done = Command::new("dd")
        .args(["if=/dev/zero", "bs=256K", "oflag=dsync", "status=none"])
        .arg(format!("of={}", file.display()))
        .arg(format!("count={blocks}"))
        .status();
    assert!(done.is_ok_and(|status| status.success()), "dd writes");
    f64::from(blocks) * 256.0 * 1024.0 / began.elapsed().as_secs_f64()
}
