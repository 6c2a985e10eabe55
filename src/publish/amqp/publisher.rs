//! RabbitMQ as the rest of the program has it, and a lane's end of a destination: it hands over to a task, and never waits
//! for it.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::broker::Broker;
use super::destination::Destination;
use super::lane::Lane;
use super::settings::Settings;
use super::unrouted;
use crate::publish::{
    Class, Failure, Handover, PerKey, Polled, Publisher, Reason, Report, ReportSender, Wakeup,
    channel,
};

/// A broker. Nothing is connected before the first publisher asks for it.
#[derive(Clone)]
pub struct Amqp(Arc<Broker>);

impl Amqp {
    /// The broker of these settings; its tasks run on `runtime`, which has to be of several
    /// threads. `on_blocked` is told when the broker begins and ceases to block the connection.
    pub fn new(
        settings: Settings,
        runtime: Handle,
        on_blocked: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        Amqp(Arc::new(Broker::new(settings, runtime, on_blocked)))
    }

    /// A publisher to this destination, which wakes its lane when it has something to report, and begins to connect at once.
    pub fn publisher(&self, destination: Destination, wakeup: Wakeup) -> AmqpPublisher {
        AmqpPublisher::new(Arc::clone(&self.0), destination, wakeup)
    }

    /// Takes new settings: the next connection is made from them, without a wait before it, and the
    /// present ones stay.
    pub fn reload(&self, settings: Settings) {
        self.0.reload(settings);
    }

    /// Tells every 15 s how many messages these queues hold together, while the broker is
    /// connected and any of them is there. Ends with the broker.
    pub fn watch_unrouted(
        &self,
        queues: impl Fn() -> Vec<String> + Send + Sync + 'static,
        tell: impl Fn(u64) + Send + Sync + 'static,
    ) {
        self.0
            .runtime()
            .spawn(unrouted::watch(Arc::downgrade(&self.0), queues, tell));
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.0
    }
}

/// A destination's publisher. Dropped without [`Publisher::close`], it still publishes what was
/// handed over, and nobody waits for that.
pub struct AmqpPublisher {
    broker: Arc<Broker>,
    destination: Arc<Destination>,
    wakeup: Wakeup,
    task: Task,
}

/// The running task of a publisher.
struct Task {
    /// Unbounded, because the lane's window bounds what is handed over. `None` once the publisher is closed.
    orders: Option<UnboundedSender<Handover>>,
    /// For what the task does not report because it has ended.
    sender: ReportSender,
    /// Of this task alone: what a task reports after it was replaced is not heard.
    reports: Receiver<Report>,
    /// Says that the task has ended, by ending itself.
    ended: Receiver<()>,
    abort: AbortHandle,
}

impl AmqpPublisher {
    pub(super) fn new(broker: Arc<Broker>, destination: Destination, wakeup: Wakeup) -> Self {
        let destination = Arc::new(destination);
        AmqpPublisher {
            task: Task::start(&broker, &destination, &wakeup),
            broker,
            destination,
            wakeup,
        }
    }
}

impl Task {
    fn start(broker: &Arc<Broker>, destination: &Arc<Destination>, wakeup: &Wakeup) -> Self {
        let (orders, handed_over) = unbounded_channel();
        let (sender, reports) = channel(Arc::clone(wakeup));
        let (end, ended) = mpsc::channel();
        let lane = Lane::new(
            Arc::clone(broker),
            Arc::clone(destination),
            handed_over,
            sender.clone(),
        );
        let running = broker.runtime().spawn(async move {
            let _end = end;
            lane.run().await;
        });
        Task {
            orders: Some(orders),
            sender,
            reports,
            ended,
            abort: running.abort_handle(),
        }
    }
}

impl Publisher for AmqpPublisher {
    fn publish(&mut self, events: &[Handover]) {
        for event in events {
            let orders = self.task.orders.as_ref();
            let sent = orders.is_some_and(|orders| orders.send(event.clone()).is_ok());
            if !sent {
                let failure = Failure {
                    class: Class::Rebuild,
                    reason: Reason::Fatal,
                    detail: "the publisher has ended".to_owned(),
                };
                self.task.sender.send(event.failed(failure));
            }
        }
    }

    /// A batch holds many events, each of which is confirmed or not by itself.
    fn poll(&mut self, reports: &mut Vec<Report>) -> Polled {
        reports.extend(self.task.reports.try_iter());
        Polled {
            per_key: PerKey::NoneBehindAnswered,
            ..Polled::default()
        }
    }

    fn rebuild(&mut self) {
        self.task.abort.abort();
        self.task = Task::start(&self.broker, &self.destination, &self.wakeup);
    }

    fn close(&mut self, within: Duration) {
        self.task.orders = None;
        // The other end is dropped when the task ends.
        if self.task.ended.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.task.abort.abort();
        }
    }
}
