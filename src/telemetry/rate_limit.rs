//! A limit on how often the same message is logged.
//!
//! Guarantees: each message of level INFO and above (each place in the source that logs one) is written at most
//! [`MAX_PER_MINUTE`] times a minute. What is left out is counted, and after the minute one line says how often.
//! DEBUG and TRACE have no limit: whoever sets `log.level` to them wants each event.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// More than an outage of all lanes of a large configuration brings, and few enough to be read.
const MAX_PER_MINUTE: u32 = 100;

/// Characters of a message that the line on what was left out repeats.
const MAX_MESSAGE: usize = 200;

/// See the module. A clone shares the counts.
#[derive(Clone, Default)]
pub(super) struct RateLimit(Arc<Mutex<HashMap<Identifier, Count>>>);

/// How often a message was logged in this minute.
struct Count {
    written: u32,
    left_out: u64,
    level: Level,
    /// The text of the first that was left out.
    message: String,
}

impl RateLimit {
    /// Begins another minute, and logs how often each message was left out in the last one.
    pub(super) fn end_minute(&self) {
        let counts = std::mem::take(&mut *self.counts());
        for count in counts.into_values().filter(|count| count.left_out > 0) {
            let (left_out, of) = (count.left_out, count.message);
            match count.level {
                Level::ERROR => tracing::error!(left_out, of, "{TOO_OFTEN}"),
                Level::WARN => tracing::warn!(left_out, of, "{TOO_OFTEN}"),
                _ => tracing::info!(left_out, of, "{TOO_OFTEN}"),
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Identifier, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one, and returns whether it may be written.
    fn count(&self, event: &Event<'_>) -> bool {
        let callsite = event.metadata().callsite();
        let mut counts = self.counts();
        let count = match counts.entry(callsite.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Count {
                written: 0,
                left_out: 0,
                level: *event.metadata().level(),
                message: String::new(),
            }),
        };
        if count.written < MAX_PER_MINUTE {
            count.written += 1;
            return true;
        }
        count.left_out += 1;
        if count.left_out == 1 {
            // Formatting runs code of whoever logs, so not under the lock.
            drop(counts);
            let mut message = Message::default();
            event.record(&mut message);
            if let Some(count) = self.counts().get_mut(&callsite) {
                count.message = message.0;
            }
        }
        false
    }
}

const TOO_OFTEN: &str = "this message came too often: the rest of the last minute was left out";

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        *event.metadata().level() > Level::INFO || self.count(event)
    }
}

/// The message of an event, cut to [`MAX_MESSAGE`].
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}").chars().take(MAX_MESSAGE).collect();
        }
    }
}
