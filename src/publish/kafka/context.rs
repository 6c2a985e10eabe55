//! librdkafka's callbacks. They are made while the lane listens to its client, or the client is flushed or
//! ended: they pass on and do nothing else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use serde::Deserialize;

use super::errors;
use crate::publish::{Class, Failure, Report, Reporter};

/// Bits of a delivery's opaque that hold the event's number; the 16 above them are the attempt. At
/// a million events a second the numbers last for nine years.
const SEQ_BITS: u32 = 48;

/// What librdkafka gives back with a report.
pub(super) fn opaque(seq: u64, attempt: u16) -> usize {
    (usize::from(attempt) << SEQ_BITS) | (seq as usize & ((1 << SEQ_BITS) - 1))
}

fn seq_and_attempt(opaque: usize) -> (u64, u16) {
    (
        (opaque & ((1 << SEQ_BITS) - 1)) as u64,
        (opaque >> SEQ_BITS) as u16,
    )
}

/// What a producer's callbacks need.
pub(super) struct Context {
    /// Which settings its client has.
    pub(super) generation: u64,
    reporter: Reporter,
    on_queue: Arc<dyn Fn(i64) + Send + Sync>,
    /// Told when the client can't go on.
    on_end: Arc<dyn Fn() + Send + Sync>,
    /// The topic was found: without it no connection is good enough.
    found: AtomicBool,
    /// Its lane was told that events can be handed over.
    ready: AtomicBool,
    down: AtomicBool,
    down_since: Mutex<Option<Instant>>,
    /// It knows no broker any more, and asks for none.
    lost: AtomicBool,
    /// Nobody is interested in this client any more.
    retired: AtomicBool,
    /// Callbacks so far, wrapping.
    heard: AtomicUsize,
    last_error: LastError,
}

/// The last trouble of a connection, in librdkafka's words: what `AllBrokersDown` alone doesn't tell.
#[derive(Clone, Default)]
pub(super) struct LastError(Arc<Mutex<Option<Failure>>>);

impl LastError {
    pub(super) fn set(&self, code: Option<Code>, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(errors::failure(code, reason));
    }

    pub(super) fn get(&self) -> Option<Failure> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The part of librdkafka's statistics that is looked at (`STATISTICS.md`).
#[derive(Deserialize)]
struct Statistics {
    msg_cnt: i64,
    brokers: std::collections::HashMap<String, BrokerStatistics>,
    eos: Option<IdempotenceStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    state: String,
    source: String,
}

#[derive(Deserialize)]
struct IdempotenceStatistics {
    idemp_state: String,
}

impl Context {
    pub(super) fn new(
        reporter: Reporter,
        on_queue: Arc<dyn Fn(i64) + Send + Sync>,
        on_end: Arc<dyn Fn() + Send + Sync>,
        generation: u64,
    ) -> Self {
        Context {
            generation,
            reporter,
            on_queue,
            on_end,
            found: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            down: AtomicBool::new(false),
            down_since: Mutex::default(),
            lost: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            heard: AtomicUsize::new(0),
            last_error: LastError::default(),
        }
    }

    /// The topic is there. The lane is told as soon as the connection can be used, too.
    pub(super) fn found(&self) {
        self.found.store(true, Ordering::Release);
    }

    pub(super) fn is_found(&self) -> bool {
        self.found.load(Ordering::Acquire)
    }

    /// The lane was told that there is no way now.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// The same, for so long.
    pub(super) fn is_down_for(&self, time: Duration) -> bool {
        let since = self
            .down_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.is_down() && since.is_some_and(|since| since.elapsed() >= time)
    }

    /// It will never reach a broker again: a broker that rejoins its cluster answers for a moment that
    /// there is no broker at all, and librdkafka 2.12 forgets those that it knew (2026-11-25).
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// The lane is told, once an outage, that there is no way now.
    pub(super) fn went_down(&self, failure: Failure) {
        // What an operator has to mend is news even when the lane knows that it is down.
        let was_down = self.down.swap(true, Ordering::AcqRel);
        if !was_down {
            *self
                .down_since
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        if !was_down || failure.class == Class::Operator {
            self.tell(Report::Down(failure));
        }
    }

    /// What the last trouble of a connection was.
    pub(super) fn last_error(&self) -> Option<Failure> {
        self.last_error.get()
    }

    /// How many callbacks there were, wrapping: one that polls the client sees whether there was anything.
    pub(super) fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    fn hears(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn tell(&self, report: Report) {
        if !self.retired.load(Ordering::Acquire) {
            (self.reporter)(report);
        }
    }

    fn came_up(&self) {
        self.ready.store(true, Ordering::Release);
        self.down.store(false, Ordering::Release);
        self.tell(Report::Up);
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.hears();
        let code = error.rdkafka_error_code();
        let failure = match code {
            Some(Code::AllBrokersDown) => self
                .last_error
                .get()
                .unwrap_or_else(|| errors::failure(code, reason)),
            code => {
                self.last_error.set(code, reason);
                errors::failure(code, reason)
            }
        };
        match failure.class {
            // It would never come up again by itself.
            Class::Rebuild => {
                self.tell(Report::Down(failure));
                (self.on_end)();
            }
            Class::Operator => self.went_down(failure),
            _ if code == Some(Code::AllBrokersDown) => self.went_down(failure),
            _ => {}
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.hears();
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else {
            return;
        };
        (self.on_queue)(statistics.msg_cnt);
        let knows_one = |broker: &BrokerStatistics| broker.source != "internal";
        if !statistics.brokers.values().any(knows_one) && !self.lost.swap(true, Ordering::AcqRel) {
            (self.on_end)();
        }
        let has_id = statistics
            .eos
            .is_some_and(|eos| eos.idemp_state == "Assigned");
        let connected = statistics
            .brokers
            .values()
            .any(|broker| broker.state == "UP");
        let wanted = !self.ready.load(Ordering::Acquire) || self.down.load(Ordering::Acquire);
        if wanted && self.is_found() && has_id && connected {
            self.came_up();
        }
    }

    /// At debug: what matters of it comes as an error or a report, once.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.hears();
        tracing::debug!(facility, message, "librdkafka");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        self.hears();
        let (seq, attempt) = seq_and_attempt(opaque);
        match result {
            Ok(_) => {
                if self.down.load(Ordering::Acquire) {
                    self.came_up();
                }
                self.tell(Report::Confirmed { seq, attempt });
            }
            Err((error, _)) => self.tell(Report::Failed {
                seq,
                attempt,
                failure: errors::of_error(error),
            }),
        }
    }
}

/// What the client that only asks has for callbacks.
#[derive(Default)]
pub(super) struct AskingContext {
    last_error: LastError,
}

impl AskingContext {
    pub(super) fn last_error(&self) -> Option<Failure> {
        self.last_error.get()
    }
}

impl ProducerContext for AskingContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl ConsumerContext for AskingContext {}

impl ClientContext for AskingContext {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code != Some(Code::AllBrokersDown) {
            self.last_error.set(code, reason);
        }
    }

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_client_that_knows_no_broker_any_more_is_lost_and_its_keeper_hears_it_once() {
        let told = Arc::new(AtomicUsize::new(0));
        let on_end = Arc::clone(&told);
        let on_end = Arc::new(move || {
            on_end.fetch_add(1, Ordering::Relaxed);
        });
        let context = Context::new(Arc::new(|_| {}), Arc::new(|_| {}), on_end, 0);
        let internal = r#"":0/internal":{"state":"UP","source":"internal"}"#;
        for (brokers, lost) in [
            (
                format!(r#"{internal},"k:1/bootstrap":{{"state":"DOWN","source":"configured"}}"#),
                false,
            ),
            (
                format!(r#"{internal},"k:1/1":{{"state":"DOWN","source":"learned"}}"#),
                false,
            ),
            (internal.to_owned(), true),
            (internal.to_owned(), true),
        ] {
            context.stats_raw(format!(r#"{{"msg_cnt":0,"brokers":{{{brokers}}}}}"#).as_bytes());
            assert_eq!(context.is_lost(), lost, "{brokers}");
        }
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_opaque_holds_every_attempt_and_every_number_of_a_lane() {
        for (seq, attempt) in [
            (0, 0),
            (1, u16::MAX),
            ((1 << SEQ_BITS) - 1, 1),
            (1 << 40, 300),
        ] {
            assert_eq!(seq_and_attempt(opaque(seq, attempt)), (seq, attempt));
        }
    }
}
