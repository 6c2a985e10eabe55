//! librdkafka's callbacks. They are made while the lane listens to its client, or the client is flushed or
//! ended: they pass on and do nothing else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use serde::Deserialize;

use super::client::Mode;
use super::errors;
use crate::publish::{Class, Failure, Report, ReportSender};

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
    pub(super) mode: Mode,
    /// The largest batch that it collects, in bytes.
    pub(super) batch_size: usize,
    reports: ReportSender,
    on_queue: Arc<dyn Fn(i64) + Send + Sync>,
    /// Told when the client can't go on.
    on_end: Arc<dyn Fn() + Send + Sync>,
    /// The topic was found: without it no connection is good enough.
    found: AtomicBool,
    /// Events can be handed over.
    ready: AtomicBool,
    down: AtomicBool,
    /// Since when events can't be handed over; none while they can.
    waits_since: Mutex<Option<Instant>>,
    /// All connections were closed and are not known to be open again. Its lane was not told: nothing was on its way.
    closed: Mutex<Option<Closed>>,
    /// How many brokers it knows, by its last statistics.
    brokers: AtomicUsize,
    /// When the client last showed that its threads run.
    heard_at: Mutex<Instant>,
    /// It knows no broker any more, and asks for none.
    lost: AtomicBool,
    made_at: Instant,
    /// When the client raised a fatal error.
    gave_up_at: Mutex<Option<Instant>>,
    told_of_its_end: AtomicBool,
    /// There was an error that may be a fatal one: its code does not always say so.
    erred: AtomicBool,
    /// The fatal error is that the broker refused an event: what else the client held is not to blame.
    refused: AtomicBool,
    /// When the broker last refused an event for ever.
    refused_at: Mutex<Option<Instant>>,
    /// Its lane works with this client: what it has to tell is of interest.
    employed: AtomicBool,
    /// Callbacks so far, wrapping.
    heard: AtomicUsize,
    last_error: LastError,
}

/// See [`Context`].
struct Closed {
    at: Instant,
    /// It was seen once that nothing was on its way when the connections were closed.
    idle: bool,
    failure: Failure,
}

/// How long closed connections may take to be open again: some statistics, which come every second.
const REOPENED_WITHIN: Duration = Duration::from_secs(3);
/// How long a client may show no sign of life while its lane waits for it. Its threads wait by the wall clock, and sleep on for as
/// long as that was set back (librdkafka 2.12, `cnd_timedwait`).
const SILENT: Duration = Duration::from_secs(5);

/// Locks, whatever happened to the thread that had the lock before: it leaves nothing half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last trouble of a connection, in librdkafka's words: what `AllBrokersDown` alone doesn't tell.
#[derive(Clone, Default)]
pub(super) struct LastError(Arc<Mutex<Option<Failure>>>);

impl LastError {
    fn set(&self, failure: Option<Failure>) {
        *lock(&self.0) = failure;
    }

    fn get(&self) -> Option<Failure> {
        lock(&self.0).clone()
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
        reports: ReportSender,
        on_queue: Arc<dyn Fn(i64) + Send + Sync>,
        on_end: Arc<dyn Fn() + Send + Sync>,
        generation: u64,
        mode: Mode,
        batch_size: usize,
    ) -> Self {
        Context {
            generation,
            mode,
            batch_size,
            reports,
            on_queue,
            on_end,
            found: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            down: AtomicBool::new(false),
            waits_since: Mutex::new(Some(Instant::now())),
            closed: Mutex::default(),
            brokers: AtomicUsize::new(0),
            heard_at: Mutex::new(Instant::now()),
            lost: AtomicBool::new(false),
            made_at: Instant::now(),
            gave_up_at: Mutex::default(),
            told_of_its_end: AtomicBool::new(false),
            erred: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            refused_at: Mutex::default(),
            employed: AtomicBool::new(true),
            heard: AtomicUsize::new(0),
            last_error: LastError::default(),
        }
    }

    /// The same for a client that takes the place of one whose topic is known. `warm`: events can be handed over
    /// at once; otherwise it has to be ready first, and tells nothing until then.
    pub(super) fn in_place(self, warm: bool) -> Self {
        self.found.store(true, Ordering::Release);
        self.ready.store(warm, Ordering::Release);
        self.employed.store(warm, Ordering::Release);
        *lock(&self.refused_at) = Some(Instant::now());
        *lock(&self.waits_since) = (!warm).then(Instant::now);
        self
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

    /// Events can be handed over.
    pub(super) fn is_usable(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_down()
    }

    /// Events could not be handed over for so long.
    pub(super) fn is_unusable_for(&self, time: Duration) -> bool {
        lock(&self.waits_since).is_some_and(|since| since.elapsed() >= time)
    }

    /// Events can't be handed over, and the client shows no sign of life.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_unusable_for(SILENT) && lock(&self.heard_at).elapsed() >= SILENT
    }

    /// It will never reach a broker again: a broker that rejoins its cluster answers for a moment that
    /// there is no broker at all, and librdkafka 2.12 forgets those that it knew (2026-11-25).
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// The client raised a fatal error, so long ago: it takes no events any more.
    pub(super) fn gave_up_before(&self, time: Duration) -> bool {
        lock(&self.gave_up_at).is_some_and(|at| at.elapsed() >= time)
    }

    /// The client raised a fatal error.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up_before(Duration::ZERO)
    }

    /// The client is known to have raised a fatal error.
    pub(super) fn ended(&self) {
        lock(&self.gave_up_at).get_or_insert_with(Instant::now);
    }

    /// Whether there was an error since the last question.
    pub(super) fn erred(&self) -> bool {
        self.erred.swap(false, Ordering::AcqRel)
    }

    /// Whether the lane has yet to be told that the client gave up. True once.
    pub(super) fn tells_of_its_end(&self) -> bool {
        !self.told_of_its_end.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_older_than(&self, time: Duration) -> bool {
        self.made_at.elapsed() >= time
    }

    /// The fatal error is that the broker refused an event.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// The broker has refused no event for so long.
    pub(super) fn is_calm_for(&self, time: Duration) -> bool {
        lock(&self.refused_at).is_none_or(|at| at.elapsed() >= time)
    }

    /// The lane is told, once an outage, that there is no way now.
    pub(super) fn went_down(&self, failure: Failure) {
        // What an operator has to mend is news even when the lane knows that it is down.
        let was_down = self.down.swap(true, Ordering::AcqRel);
        *lock(&self.closed) = None;
        lock(&self.waits_since).get_or_insert_with(Instant::now);
        if !was_down || failure.class == Class::Operator {
            self.tell(Report::Down(failure));
        }
    }

    /// All connections are closed. Brokers and load balancers close those that nobody uses, so while nothing was on its way,
    /// the lane is told only if there is trouble with opening one again.
    fn disconnected(&self, failure: Failure) {
        if failure.class == Class::Operator || !self.is_usable() {
            self.went_down(failure);
            return;
        }
        *lock(&self.closed) = Some(Closed {
            at: Instant::now(),
            idle: false,
            failure,
        });
    }

    /// Judges closed connections. `on_their_way` is how many events the client holds.
    pub(super) fn look_at_connections(&self, on_their_way: usize) {
        let mut closed = lock(&self.closed);
        let Some(known) = closed.as_mut() else { return };
        let trouble = self.last_error.get();
        let failed = trouble.is_some()
            && (known.at.elapsed() >= REOPENED_WITHIN || self.brokers.load(Ordering::Relaxed) <= 1);
        if failed || (on_their_way > 0 && !known.idle) {
            let failure = trouble.unwrap_or_else(|| known.failure.clone());
            drop(closed);
            self.went_down(failure);
        } else {
            known.idle = true;
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

    /// Nobody is interested in this client any more.
    pub(super) fn retire(&self) {
        self.employed.store(false, Ordering::Release);
    }

    /// A lane works with this client from now on.
    pub(super) fn employ(&self) {
        self.employed.store(true, Ordering::Release);
    }

    fn tell(&self, report: Report) {
        if self.employed.load(Ordering::Acquire) {
            self.reports.send(report);
        }
    }

    fn came_up(&self) {
        self.ready.store(true, Ordering::Release);
        self.down.store(false, Ordering::Release);
        *lock(&self.waits_since) = None;
        self.tell(Report::Up);
    }

    /// A connection is open.
    fn connected(&self) {
        *lock(&self.closed) = None;
        self.last_error.set(None);
    }
}

/// Whether librdkafka's words are about the connection to one broker: they begin with its name then, such as
/// `ssl://10.0.0.7:9093/2`.
fn is_of_one_broker(words: &str) -> bool {
    let begins = words.split_once(": ").map(|(begins, _)| begins);
    begins.is_some_and(|begins| begins.contains('/') && !begins.contains(' '))
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.hears();
        let code = error.rdkafka_error_code();
        let failure = errors::failure(code, reason);
        self.erred.store(true, Ordering::Release);
        if failure.class == Class::Rebuild {
            self.ended();
            self.refused
                .fetch_or(errors::is_refusal(reason), Ordering::AcqRel);
            return;
        }
        match code {
            Some(Code::AllBrokersDown) => {
                let known = self.last_error.get();
                self.disconnected(known.unwrap_or(failure));
                return;
            }
            _ => self.last_error.set(Some(failure.clone())),
        }
        match failure.class {
            // Another broker may be well: `AllBrokersDown` tells if none is.
            Class::Operator if !is_of_one_broker(reason) || self.is_down() => {
                self.went_down(failure);
            }
            _ => {}
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.hears();
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else {
            return;
        };
        if self.employed.load(Ordering::Acquire) {
            (self.on_queue)(statistics.msg_cnt);
        }
        *lock(&self.heard_at) = Instant::now();
        let brokers = statistics.brokers.values();
        let brokers = brokers.filter(|broker| broker.source != "internal").count();
        self.brokers.store(brokers, Ordering::Relaxed);
        if brokers == 0 && !self.lost.swap(true, Ordering::AcqRel) {
            (self.on_end)();
        }
        let has_id = self.mode == Mode::Tolerant
            || statistics
                .eos
                .is_some_and(|eos| eos.idemp_state == "Assigned");
        let connected = statistics
            .brokers
            .values()
            .any(|broker| broker.state == "UP");
        if connected {
            self.connected();
        }
        if !self.is_usable() && self.is_found() && has_id && connected {
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
                if self.is_down() {
                    self.came_up();
                }
                self.tell(Report::Confirmed { seq, attempt });
            }
            Err((error, _)) => {
                let mut failure = errors::of_error(error);
                if failure.class == Class::DeadLetter {
                    *lock(&self.refused_at) = Some(Instant::now());
                }
                let purged = [Code::PurgeQueue, Code::PurgeInflight].map(Some);
                if self.was_refused() && purged.contains(&error.rdkafka_error_code()) {
                    failure = super::client::requeued();
                }
                let is_operators = failure.class == Class::Operator;
                self.tell(Report::Failed {
                    seq,
                    attempt,
                    failure,
                });
                // librdkafka remembers what is wrong with a topic until it reads its metadata again.
                if is_operators && self.mode == Mode::Tolerant {
                    let detail = "the client is made anew";
                    self.tell(Report::Down(errors::failure(Some(Code::Fatal), detail)));
                }
            }
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
            self.last_error.set(Some(errors::failure(code, reason)));
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
        let context = Context::new(
            crate::publish::channel(Arc::new(|| {})).0,
            Arc::new(|_| {}),
            on_end,
            0,
            Mode::Ordered,
            1000,
        );
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
