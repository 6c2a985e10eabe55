//! Runs of a simulation, each told by its seed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs the seeds that once failed, then so many more. With `MINCHAT_BRIDGE_SEED` it runs that one alone, with
/// `MINCHAT_BRIDGE_RUNS` as many as that says, with `MINCHAT_BRIDGE_THREADS` on so many threads. A failure says how to
/// repeat it.
pub(crate) fn each(kept: &[u64], runs: u64, test: &str, run: impl Fn(u64) + Sync) {
    if let Some(seed) = number("MINCHAT_BRIDGE_SEED") {
        return run(seed);
    }
    let runs = number("MINCHAT_BRIDGE_RUNS").unwrap_or(runs);
    let threads = number("MINCHAT_BRIDGE_THREADS").unwrap_or(1);
    let seeds: Vec<u64> = kept.iter().copied().chain(0..runs).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
                next.store(seeds.len(), Ordering::Relaxed);
                eprintln!("to repeat it: MINCHAT_BRIDGE_SEED={seed} cargo test --lib {test}");
                resume_unwind(panic);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    text.parse().ok()
}
