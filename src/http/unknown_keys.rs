//! Logs the keys of payloads that their kind does not have: each key once, and no more than [`MAX_KEYS`].
//!
//! A sender may use personal data as keys. So the keys are logged at DEBUG only, and INFO has their number.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::minchat::{Kind, Payload};

/// The most keys that are logged. A sender with more keys than this probably generates them.
const MAX_KEYS: usize = 100;

/// The unknown keys that have been logged since the start.
#[derive(Default)]
pub(super) struct UnknownKeys {
    logged: Mutex<HashSet<(Kind, String)>>,
    is_full: AtomicBool,
}

impl UnknownKeys {
    /// Logs the unknown keys of a payload that have not been logged yet.
    pub(super) fn log_new(&self, payload: &Payload<'_>) {
        let kind = payload.kind().name();
        let mut new = 0;
        for key in payload.unknown_keys() {
            if self.is_new(payload.kind(), &key) {
                new += 1;
                tracing::debug!(
                    kind,
                    key = &*key,
                    "a key that this kind of payload had not before"
                );
            }
        }
        if new > 0 {
            tracing::info!(
                kind,
                keys = new,
                "keys that this kind of payload had not before; their names are logged at debug"
            );
        }
    }

    fn is_new(&self, kind: Kind, key: &str) -> bool {
        if self.is_full.load(Relaxed) {
            return false;
        }
        let mut logged = self
            .logged
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let new = logged.len() < MAX_KEYS && logged.insert((kind, key.to_owned()));
        self.is_full.store(logged.len() >= MAX_KEYS, Relaxed);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_new_once_for_each_kind_and_only_so_many_are() {
        let unknown_keys = UnknownKeys::default();
        assert!(unknown_keys.is_new(Kind::MessageSent, "mood"));
        assert!(!unknown_keys.is_new(Kind::MessageSent, "mood"));
        assert!(unknown_keys.is_new(Kind::UserDailyActive, "mood"));
        let more = (0..1000)
            .filter(|n| unknown_keys.is_new(Kind::MessageSent, &n.to_string()))
            .count();
        assert_eq!(more, MAX_KEYS - 2);
    }
}
