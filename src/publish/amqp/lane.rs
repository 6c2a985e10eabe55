//! The task that owns a lane's channel: connects, publishes in batches, reports, and begins again
//! after an outage, for ever.
//!
//! Guarantees: what was handed over is reported exactly once, as long as the task is not aborted, and
//! [`CONFIRM_WITHIN`] after the last confirm at the latest, unless the broker blocks the connection;
//! `Up` and `Down` alternate, but that a second `Down` tells of what an operator has to mend.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::batch::{self, Outcome};
use super::broker::{Broker, WAITS};
use super::destination::Destination;
use super::errors;
use super::link::LinkState;
use super::session::Session;
use crate::backoff::Backoff;
use crate::publish::{Class, Failure, Handover, Report, ReportSender};

/// What one batch may hold. Everything handed over in the meantime is the next one.
const BATCH_EVENTS: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;
/// How long the broker may take for the next confirm while it does not block the connection: as long
/// as Kafka's clients wait. A confirm that takes longer counts as lost.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);
/// How long lapin may take to fail what was in flight: it takes milliseconds.
const FAILING_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Lane {
    broker: Arc<Broker>,
    destination: Arc<Destination>,
    handed_over: UnboundedReceiver<Handover>,
    /// Taken from there, and not published yet.
    waiting: Vec<Handover>,
    reports: ReportSender,
    /// The attempt in which an event failed: what was handed over in it behind that one waits for
    /// the lane to begin again.
    failed: Option<u16>,
    connection: ConnectionState,
    backoff: Backoff,
}

/// What was last reported of the connection.
enum ConnectionState {
    Unknown,
    Up,
    Down(Failure),
}

impl Lane {
    pub(super) fn new(
        broker: Arc<Broker>,
        destination: Arc<Destination>,
        handed_over: UnboundedReceiver<Handover>,
        reports: ReportSender,
    ) -> Self {
        Lane {
            broker,
            destination,
            handed_over,
            waiting: Vec::new(),
            reports,
            failed: None,
            connection: ConnectionState::Unknown,
            backoff: Backoff::new(fastrand::u64(..)),
        }
    }

    /// Until the other end of `handed_over` is dropped.
    pub(super) async fn run(mut self) {
        while let Some(session) = self.open().await {
            let Some(failure) = self.serve(&session).await else {
                return session.close().await;
            };
            self.fail_the_waiting();
            self.down(failure);
            let wait = self.backoff.next(WAITS);
            let discarded_and_waited = async {
                session.discard().await;
                sleep(wait).await;
            };
            if self.meanwhile(discarded_and_waited).await.is_none() {
                return;
            }
        }
    }

    /// A session, however long it takes; none if the lane is to end.
    async fn open(&mut self) -> Option<Session> {
        let (broker, destination) = (Arc::clone(&self.broker), Arc::clone(&self.destination));
        loop {
            let link = match self.meanwhile(broker.link()).await? {
                Ok(link) => link,
                // The broker keeps the pace of attempts to connect.
                Err(failure) => {
                    self.down(failure);
                    continue;
                }
            };
            let opening = Session::open(link, &broker, &destination);
            match self.meanwhile(opening).await? {
                Ok(session) => {
                    self.fail_the_waiting();
                    self.up();
                    return Some(session);
                }
                Err(failure) => self.down(failure),
            }
            let wait = self.backoff.next(WAITS);
            self.meanwhile(sleep(wait)).await?;
        }
    }

    /// Waits for something while there is no channel: what is handed over now fails at once. None
    /// if the lane is to end.
    async fn meanwhile<T>(&mut self, awaited: impl Future<Output = T>) -> Option<T> {
        let mut awaited = pin!(awaited);
        loop {
            tokio::select! {
                biased;
                done = &mut awaited => return Some(done),
                handover = self.handed_over.recv() => {
                    self.waiting.push(handover?);
                    self.fail_the_waiting();
                }
            }
        }
    }

    /// Publishes until the channel is of no use any more, and says why; none if the lane is to end.
    async fn serve(&mut self, session: &Session) -> Option<Failure> {
        let mut state = session.link.state();
        loop {
            if self.waiting.is_empty() {
                tokio::select! {
                    taken = self.handed_over.recv_many(&mut self.waiting, BATCH_EVENTS) => if taken == 0 {
                        return None;
                    },
                    changed = state.changed() => {
                        if let Some(lost) = self.follow(&mut state, changed) {
                            return Some(lost);
                        }
                        continue;
                    }
                }
            }
            let batch = self.next_batch();
            if batch.is_empty() {
                continue;
            }
            let (outcomes, lost) = self.publish(session, &batch, &mut state).await;
            let failure = self.report(&batch, outcomes, lost);
            if failure.is_some() {
                return failure;
            }
        }
    }

    /// The first of what waits, topped up with what has come since.
    fn next_batch(&mut self) -> Vec<Handover> {
        while self.waiting.len() < BATCH_EVENTS
            && let Ok(handover) = self.handed_over.try_recv()
        {
            self.waiting.push(handover);
        }
        self.fail_what_follows_a_failure();
        let mut bytes = 0;
        let fits = self.waiting.iter().take_while(|handover| {
            bytes += handover.event.envelope().len();
            bytes <= BATCH_BYTES
        });
        let count = fits.count().max(usize::from(!self.waiting.is_empty()));
        self.waiting.drain(..count).collect()
    }

    /// An event of this attempt failed: none that was handed over behind it may overtake it.
    fn fail_what_follows_a_failure(&mut self) {
        let Some(failed) = self.failed else { return };
        let behind = self
            .waiting
            .extract_if(.., |handover| handover.attempt == failed);
        let failures = behind.map(|handover| handover.failed(errors::behind_a_failure()));
        self.reports.send_all(failures);
    }

    /// Publishes a batch while keeping an eye on the connection. If that is lost, says why.
    async fn publish(
        &mut self,
        session: &Session,
        batch: &[Handover],
        state: &mut watch::Receiver<LinkState>,
    ) -> (Vec<Outcome>, Option<Failure>) {
        let destination = Arc::clone(&self.destination);
        let content_mode = self.broker.settings().content_mode;
        let mut sent = batch::send(&session.channel, &destination, content_mode, batch).await;
        loop {
            // A broker that blocks the connection reads nothing from it, and so confirms nothing.
            let is_open = matches!(*state.borrow(), LinkState::Open);
            let changed = tokio::select! {
                biased;
                is_answer = sent.next() => match is_answer {
                    true => continue,
                    false => return (sent.outcomes(), None),
                },
                changed = state.changed() => changed,
                () = sleep(CONFIRM_WITHIN), if is_open => {
                    return (sent.outcomes(), Some(errors::unconfirmed(CONFIRM_WITHIN)));
                }
            };
            if let Some(lost) = self.follow(state, changed) {
                let rest = async { while sent.next().await {} };
                let _ = timeout(FAILING_WITHIN, rest).await;
                return (sent.outcomes(), Some(lost));
            }
        }
    }

    /// What the connection's state means for the lane's owner. Says why, if it is lost.
    fn follow(
        &mut self,
        state: &mut watch::Receiver<LinkState>,
        changed: Result<(), watch::error::RecvError>,
    ) -> Option<Failure> {
        if changed.is_err() {
            return Some(errors::disconnected("the connection was closed"));
        }
        let now = state.borrow_and_update().clone();
        match now {
            LinkState::Open => self.up(),
            LinkState::Blocked(why) => self.down(errors::blocked(&why)),
            LinkState::Lost(failure) => return Some(failure),
        }
        None
    }

    /// Reports each event of a batch. Says why, if the channel is of no use any more.
    fn report(
        &mut self,
        batch: &[Handover],
        outcomes: Vec<Outcome>,
        lost: Option<Failure>,
    ) -> Option<Failure> {
        let failure = cause(&outcomes, lost);
        let missing = || {
            failure
                .clone()
                .unwrap_or_else(|| errors::disconnected("no answer came"))
        };
        let report = |(handover, outcome): (&Handover, Outcome)| {
            let failure = match outcome {
                Outcome::Confirmed => {
                    self.backoff.reset();
                    return handover.confirmed();
                }
                Outcome::Returned => errors::returned(&self.destination.exchange),
                Outcome::Nacked => errors::nacked(&self.destination.exchange),
                Outcome::Lost(_) | Outcome::Unconfirmed => missing(),
            };
            self.failed = Some(handover.attempt);
            handover.failed(failure)
        };
        self.reports
            .send_all(batch.iter().zip(outcomes).map(report));
        failure
    }

    /// What was handed over and not published when the channel went.
    fn fail_the_waiting(&mut self) {
        while let Ok(handover) = self.handed_over.try_recv() {
            self.waiting.push(handover);
        }
        let failures = self.waiting.drain(..).map(|handover| {
            self.failed = Some(handover.attempt);
            handover.failed(errors::disconnected(
                "the connection was gone before the event's turn came",
            ))
        });
        self.reports.send_all(failures);
    }

    fn up(&mut self) {
        if !matches!(self.connection, ConnectionState::Up) {
            self.connection = ConnectionState::Up;
            self.reports.send(Report::Up);
        }
    }

    fn down(&mut self, failure: Failure) {
        let is_news = match &self.connection {
            ConnectionState::Unknown | ConnectionState::Up => true,
            ConnectionState::Down(reported) => {
                failure.class == Class::Operator && failure.reason != reported.reason
            }
        };
        if is_news {
            self.connection = ConnectionState::Down(failure.clone());
            self.reports.send(Report::Down(failure));
        }
    }
}

/// Why a channel ended: the first error that says why, else what became of the connection.
fn cause(outcomes: &[Outcome], lost: Option<Failure>) -> Option<Failure> {
    let mut errors = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Lost(error) => Some(error),
        _ => None,
    });
    let first = errors.clone().next();
    let telling = errors
        .find(|error| errors::is_telling(error))
        .map(errors::sort);
    telling.or(lost).or_else(|| first.map(errors::sort))
}
