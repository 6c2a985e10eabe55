use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// When each post is due.
pub(super) struct Pace {
    per_second: Option<f64>,
}

impl Pace {
    /// So many a second; without a rate, all at once.
    pub(super) const fn new(per_second: Option<f64>) -> Self {
        Self { per_second }
    }

    /// How long after the start a post is due. Counted from the start and not from the post before
    /// it, so that a late one makes no other late.
    pub(super) fn due(&self, number: u64) -> Duration {
        self.per_second.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(Duration::MAX)
        })
    }
}

/// Tells all that post to stop, those that wait for their time too.
#[derive(Default)]
pub(super) struct Stop {
    told: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn stop(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits until so long after the start; `true` if it was told to stop before that.
    pub(super) fn wait_until(&self, start: Instant, due: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let left = due.saturating_sub(start.elapsed());
        let (told, _) = self
            .changed
            .wait_timeout_while(told, left, |told| !*told)
            .unwrap_or_else(PoisonError::into_inner);
        *told
    }

    /// Stops at the first Ctrl-C, and ends the process at the second.
    pub(super) fn on_interrupt(stop: &Arc<Self>) {
        let stop = Arc::clone(stop);
        let thread = thread::Builder::new().name("emit-interrupt".to_owned());
        // Without it, Ctrl-C does what it does by itself.
        let _ = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let Ok(runtime) = runtime else { return };
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                stop.stop();
            }
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                std::process::exit(130);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posts_are_due_at_even_distances_from_the_start() {
        let pace = Pace::new(Some(4.0));
        assert_eq!(pace.due(0), Duration::ZERO);
        assert_eq!(pace.due(1), Duration::from_millis(250));
        assert_eq!(pace.due(4_000_000), Duration::from_secs(1_000_000));
    }

    #[test]
    fn without_a_rate_every_post_is_due_at_once() {
        assert_eq!(Pace::new(None).due(u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_post_too_far_away_to_count_is_due_at_the_end_of_time() {
        assert_eq!(Pace::new(Some(1e-9)).due(u64::MAX), Duration::MAX);
    }

    #[test]
    fn who_waits_for_a_time_is_woken_by_a_stop() {
        let stop = Arc::new(Stop::default());
        let start = Instant::now();
        assert!(!stop.wait_until(start, Duration::from_millis(1)));
        assert!(start.elapsed() >= Duration::from_millis(1));
        let waits = Arc::clone(&stop);
        let woken = thread::spawn(move || waits.wait_until(start, Duration::MAX));
        stop.stop();
        assert!(woken.join().expect("it only waits"));
    }
}
