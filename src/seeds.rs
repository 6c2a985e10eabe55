//! Runs of a simulation, each told by its seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the seeds that once failed, then so many more; with `MINCHAT_BRIDGE_SEED` that one alone,
/// with `MINCHAT_BRIDGE_RUNS` as many as it says. A failure says how to repeat it.
pub(crate) fn each(kept: &[u64], runs: u64, test: &str, run: impl Fn(u64)) {
    let one = std::env::var("MINCHAT_BRIDGE_SEED").ok();
    if let Some(seed) = one.and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    let asked = std::env::var("MINCHAT_BRIDGE_RUNS").ok();
    let runs = asked.and_then(|runs| runs.parse().ok()).unwrap_or(runs);
    for seed in kept.iter().copied().chain(0..runs) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("to repeat it: MINCHAT_BRIDGE_SEED={seed} cargo test --lib {test}");
            std::panic::resume_unwind(panic);
        }
    }
}
