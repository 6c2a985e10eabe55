//! The lane's end of a destination: hands over to a task, and never waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::broker::Broker;
use super::destination::Destination;
use super::lane::Lane;
use crate::publish::{Class, Failure, Handover, Publisher, Reason, Report, Reporter};

/// A destination's publisher. Dropped without [`Publisher::close`], it still publishes what was
/// handed over, and nobody waits for that.
pub struct AmqpPublisher {
    broker: Arc<Broker>,
    destination: Arc<Destination>,
    reporter: Reporter,
    /// See [`Publisher::answered`].
    answered: Arc<AtomicU64>,
    task: Option<Task>,
}

/// The running task of a publisher.
struct Task {
    /// Unbounded, because the lane's window bounds what is handed over.
    orders: UnboundedSender<Handover>,
    /// Says that the task has ended, by ending itself.
    ended: mpsc::Receiver<()>,
    abort: AbortHandle,
    voice: Arc<Voice>,
}

/// A task's reports, until it is told to be silent.
pub(super) struct Voice(Mutex<Option<Reporter>>);

impl AmqpPublisher {
    pub(super) fn new(broker: Arc<Broker>, destination: Destination, reporter: Reporter) -> Self {
        let mut publisher = AmqpPublisher {
            broker,
            destination: Arc::new(destination),
            reporter,
            answered: Arc::default(),
            task: None,
        };
        publisher.start();
        publisher
    }

    fn start(&mut self) {
        let (orders, handed_over) = unbounded_channel();
        let (end, ended) = mpsc::channel();
        let voice = Arc::new(Voice(Mutex::new(Some(Arc::clone(&self.reporter)))));
        let lane = self.lane(handed_over, &voice);
        let running = self.broker.runtime().spawn(async move {
            let _end = end;
            lane.run().await;
        });
        self.task = Some(Task {
            orders,
            ended,
            abort: running.abort_handle(),
            voice,
        });
    }

    fn lane(&self, handed_over: UnboundedReceiver<Handover>, voice: &Arc<Voice>) -> Lane {
        Lane::new(
            Arc::clone(&self.broker),
            Arc::clone(&self.destination),
            handed_over,
            Arc::clone(voice),
            Arc::clone(&self.answered),
        )
    }
}

impl Publisher for AmqpPublisher {
    fn publish(&mut self, events: &[Handover]) {
        for event in events {
            let order = self
                .task
                .as_ref()
                .map(|task| task.orders.send(event.clone()));
            if !matches!(order, Some(Ok(()))) {
                let failure = Failure {
                    class: Class::Rebuild,
                    reason: Reason::Fatal,
                    detail: "the publisher has ended".to_owned(),
                };
                (self.reporter)(Report::Failed {
                    seq: event.seq,
                    attempt: event.attempt,
                    failure,
                });
            }
        }
    }

    fn rebuild(&mut self) {
        if let Some(old) = self.task.take() {
            old.voice.hush();
            old.abort.abort();
        }
        self.start();
    }

    fn answered(&mut self, upto: u64) {
        self.answered.store(upto, Ordering::Release);
    }

    fn close(&mut self, within: Duration) {
        let Some(task) = self.task.take() else { return };
        drop(task.orders);
        // The other end is dropped when the task ends.
        if task.ended.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout) {
            task.abort.abort();
        }
    }
}

impl Voice {
    pub(super) fn say(&self, report: Report) {
        if let Some(reporter) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            reporter(report);
        }
    }

    fn hush(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
