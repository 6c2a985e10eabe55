//! A connection that lanes share, and what becomes of it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Channel, Connection, ConnectionStatus, Event};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::dial::Cut;
use super::errors;
use crate::publish::Failure;

/// How long the broker may take to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// How long it takes lapin to tell that the broker has closed a channel: milliseconds.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);
/// How often a connection is looked at, for an end that no event tells of.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What state a connection is in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LinkState {
    /// It takes events.
    Open,
    /// It is up, and the broker takes nothing: why.
    Blocked(String),
    /// It is gone: why.
    Lost(Failure),
}

/// A connection. Dropping the last handle closes it.
pub(super) struct Link {
    connection: Option<(Connection, Cut)>,
    state: watch::Receiver<LinkState>,
    /// How many of its channels the broker has closed. lapin 4.12 fails every later channel of the same
    /// number with the error that closed the first, so that each of them is one channel less.
    closed: watch::Receiver<usize>,
    /// A handle is held for questions, beside those of the lanes.
    is_asked: AtomicBool,
    runtime: Handle,
}

/// A connection that is asked questions. It has one channel of the connection at a time.
pub(super) struct AskedLink(Arc<Link>);

impl AskedLink {
    pub(super) fn new(link: Arc<Link>) -> Self {
        link.is_asked.store(true, Relaxed);
        AskedLink(link)
    }
}

impl Deref for AskedLink {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

impl Drop for AskedLink {
    fn drop(&mut self) {
        self.0.is_asked.store(false, Relaxed);
    }
}

impl Link {
    /// Takes a new connection into use. `on_blocked` is told true when the broker blocks it, and then
    /// false when the broker unblocks it or it ends.
    pub(super) fn new(
        connection: Connection,
        cut: Cut,
        on_blocked: Arc<dyn Fn(bool) + Send + Sync>,
    ) -> Self {
        let (told, state) = watch::channel(LinkState::Open);
        let (count, closed) = watch::channel(0);
        let events = connection.events_listener();
        tokio::spawn(watch_over(
            connection.status().clone(),
            events,
            told,
            count,
            on_blocked,
        ));
        Link {
            connection: Some((connection, cut)),
            state,
            closed,
            is_asked: AtomicBool::new(false),
            runtime: Handle::current(),
        }
    }

    /// What becomes of it.
    pub(super) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Whether a channel can be had.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match &*self.state.borrow() {
            LinkState::Open if self.connection().status().connected() => Ok(()),
            LinkState::Open => Err(errors::disconnected("the connection is closed")),
            LinkState::Blocked(why) => Err(errors::blocked(why)),
            LinkState::Lost(failure) => Err(failure.clone()),
        }
    }

    /// Whether it is asked questions now.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Relaxed)
    }

    /// Whether it is of no use any more.
    pub(super) fn is_lost(&self) -> bool {
        matches!(&*self.state.borrow(), LinkState::Lost(_))
            || !self.connection().status().connected()
    }

    /// How many channels can be had on it, together.
    pub(super) fn channels(&self) -> usize {
        let allowed = usize::from(self.connection().configuration().channel_max());
        allowed.saturating_sub(self.closed())
    }

    /// How many of its channels the broker has closed.
    pub(super) fn closed(&self) -> usize {
        *self.closed.borrow()
    }

    /// Waits until the broker has closed more channels than so many, or is not about to.
    pub(super) async fn closes_more_than(&self, channels: usize) {
        let mut closed = self.closed.clone();
        let more = closed.wait_for(|closed| *closed > channels);
        let _ = timeout(CLOSED_WITHIN, more).await;
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        self.check()?;
        // Each attempt takes the next number, and fails at once at that of a channel that the broker closed.
        for _ in 0..self.closed() {
            if let Ok(channel) = self.connection().create_channel().await {
                return Ok(channel);
            }
        }
        let created = self.connection().create_channel().await;
        created.map_err(|error| errors::sort(&error))
    }

    /// Ends the connection for all who use it, whatever the broker does.
    pub(super) fn cut(&self) {
        if let Some((_, cut)) = &self.connection {
            cut.now();
        }
    }

    /// Says goodbye, within a bound of time.
    pub(super) async fn close(mut self) {
        if let Some((connection, cut)) = self.connection.take() {
            say_goodbye(connection, cut).await;
        }
    }

    fn connection(&self) -> &Connection {
        let (connection, _) = self.connection.as_ref().expect("only its end takes it");
        connection
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some((connection, cut)) = self.connection.take() {
            self.runtime.spawn(say_goodbye(connection, cut));
        }
    }
}

/// In order if the broker answers; in any case the socket is closed then.
async fn say_goodbye(connection: Connection, cut: Cut) {
    let _ = timeout(
        GOODBYE_WITHIN,
        connection.close(200, "the bridge is done".into()),
    )
    .await;
    drop(cut);
}

/// Follows a connection to its end. lapin shares each event out among its listeners instead of
/// copying it, so a connection has this one only.
async fn watch_over(
    status: ConnectionStatus,
    events: impl futures_util::Stream<Item = Event>,
    told: watch::Sender<LinkState>,
    count: watch::Sender<usize>,
    on_blocked: Arc<dyn Fn(bool) + Send + Sync>,
) {
    let mut events = std::pin::pin!(events);
    let mut looks = interval(LOOK_EVERY);
    let mut is_blocked = false;
    let mut blocks = |now| {
        if std::mem::replace(&mut is_blocked, now) != now {
            on_blocked(now);
        }
    };
    let lost = loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(why)) => {
                    blocks(true);
                    told.send_replace(LinkState::Blocked(why));
                }
                Some(Event::ConnectionUnblocked) => {
                    blocks(false);
                    told.send_replace(LinkState::Open);
                }
                Some(Event::Error(error)) if !status.connected() => break errors::sort(&error),
                // The end of a channel is its publisher's matter.
                Some(Event::Error(_)) => count.send_modify(|closed| *closed += 1),
                Some(_) => {}
                None => break errors::disconnected("the connection was closed"),
            },
            _ = looks.tick() => if !status.connected() {
                break errors::disconnected("the connection was closed");
            },
            () = told.closed() => return blocks(false),
        }
    };
    blocks(false);
    told.send_replace(LinkState::Lost(lost));
}
