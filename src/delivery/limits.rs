//! How large an event may be so that the bridge can ever deliver it.

use crate::envelope::SealedSize;

/// What no lane and no queue of the spool could ever hold is a dead letter from the start: waiting would not help, so
/// that a 503 would be an answer for ever.
#[derive(Clone, Copy, Debug)]
pub struct EventLimits {
    /// The window of one broker, in bytes: what an empty lane takes at most.
    window: usize,
    /// What one destination's queue in the spool takes, in bytes on disk.
    spooled: u64,
}

/// What a record and its segment take up besides the event, at most, in bytes.
const RECORD: u64 = 16 * 1024;

impl EventLimits {
    /// The limits of `publish.window` and `spool.max_size`, both in bytes. `None` while the spool is off.
    pub fn new(window: usize, spool: Option<u64>) -> Self {
        EventLimits {
            window,
            spooled: spool.map_or(u64::MAX, |max| (max / 2).saturating_sub(RECORD)),
        }
    }

    /// Whether an event of this size can be delivered.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn check(&self, size: SealedSize) -> Result<(), String> {
        let held = size.memory.saturating_add(size.envelope);
        if held > self.window {
            return Err(format!(
                "the event takes {held} bytes of memory, and publish.window is {}",
                self.window
            ));
        }
        if size.memory as u64 > self.spooled {
            return Err(format!(
                "the event has {} bytes, and one destination may spool {} (half of spool.max_size)",
                size.memory, self.spooled
            ));
        }
        Ok(())
    }
}

impl Default for EventLimits {
    /// Takes every event.
    fn default() -> Self {
        EventLimits::new(usize::MAX, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_held_to_the_window_with_its_copy_and_to_half_of_the_spool_without() {
        for (window, spool, memory, envelope, holds) in [
            (1000, None, 600, 400, true),
            (1000, None, 601, 400, false),
            (usize::MAX, Some(100_000), 30_000, 30_000, true),
            (usize::MAX, Some(100_000), 40_000, 0, false),
            (usize::MAX, None, usize::MAX, usize::MAX, true),
            (usize::MAX - 1, None, usize::MAX, usize::MAX, false),
        ] {
            let limits = EventLimits::new(window, spool);
            let size = SealedSize { memory, envelope };
            assert_eq!(limits.check(size).is_ok(), holds, "{limits:?} {size:?}");
        }
    }
}
