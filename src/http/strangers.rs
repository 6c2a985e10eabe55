//! The names of keys that no kind has: each is worth one log line, and only so many are.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::minchat::{Kind, Payload};

/// More names than this would be a sender that makes them up.
const MOST: usize = 100;

/// The unknown keys that were logged since the start.
#[derive(Default)]
pub(super) struct Strangers {
    told: Mutex<HashSet<(Kind, String)>>,
    full: AtomicBool,
}

impl Strangers {
    /// Logs the names that are new.
    pub(super) fn tell(&self, payload: &Payload<'_>) {
        for key in payload.unknown_keys() {
            if self.is_new(payload.kind(), &key) {
                tracing::info!(
                    kind = payload.kind().name(),
                    key = &*key,
                    "a key that this kind of payload had not before"
                );
            }
        }
    }

    fn is_new(&self, kind: Kind, key: &str) -> bool {
        if self.full.load(Relaxed) {
            return false;
        }
        let mut told = self
            .told
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let new = told.len() < MOST && told.insert((kind, key.to_owned()));
        self.full.store(told.len() >= MOST, Relaxed);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once_for_each_kind_and_only_so_many_are() {
        let strangers = Strangers::default();
        assert!(strangers.is_new(Kind::MessageSent, "mood"));
        assert!(!strangers.is_new(Kind::MessageSent, "mood"));
        assert!(strangers.is_new(Kind::UserDailyActive, "mood"));
        let more = (0..1000)
            .filter(|n| strangers.is_new(Kind::MessageSent, &n.to_string()))
            .count();
        assert_eq!(more, MOST - 2);
    }
}
