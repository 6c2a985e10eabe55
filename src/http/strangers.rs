//! The keys that no kind has. A new one is logged once, and only so many are.
//!
//! A name may be a person's, where a sender uses such as keys: names are logged at DEBUG alone, and INFO has their number.

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
    /// Logs the keys that are new.
    pub(super) fn tell(&self, payload: &Payload<'_>) {
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
