//! One RabbitMQ, as all lanes of it share it: its settings and its connections.
//!
//! Guarantees: lanes share one connection, and another is made only where the broker allows fewer
//! channels on a connection than there are lanes. However many lanes there are, attempts to connect
//! are made one after the other, each after its wait: every 7.5 to 10 s while logins are refused again and again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep_until;

use super::dial::dial;
use super::link::{AskedLink, Link};
use super::settings::Settings;
use crate::backoff::{Backoff, Waits};
use crate::publish::{Class, Failure};

/// How long to wait before the next attempt to connect, or to open a channel: short, because the hedge makes an outage cheap
/// and its end is what people wait for.
pub(super) const WAITS: Waits = Waits::new(100, 2_000);
/// The same after a refused login: brokers and their operators take many of these for an attack.
const WAITS_OF_OPERATOR: Waits = Waits::new(1_000, 10_000);

/// A connection that ended sooner counts as a failed attempt.
const LASTING: Duration = Duration::from_secs(10);

/// What the lanes of a broker share.
pub(super) struct Broker {
    settings: watch::Sender<Arc<Settings>>,
    runtime: Handle,
    on_blocked: Arc<dyn Fn(bool) + Send + Sync>,
    shared: Mutex<Shared>,
}

struct Shared {
    /// Held by the lanes: the last one that lets go of a connection closes it.
    links: Vec<Weak<Link>>,
    /// When the last connection was made; none once its end was noticed.
    connected: Option<Instant>,
    /// Which of the URIs is tried first.
    first: usize,
    /// When the last attempt failed, and why.
    failed: Option<(Instant, Failure)>,
    backoff: Backoff,
    /// No attempt is made before, unless there are other settings than those of the last attempt.
    waits_until: Instant,
    /// Those of the last attempt have been seen.
    settings: watch::Receiver<Arc<Settings>>,
}

impl Broker {
    /// Of these settings. `on_blocked` is told when the broker begins and ceases to block the connection.
    pub(super) fn new(
        settings: Settings,
        runtime: Handle,
        on_blocked: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        let (settings, seen) = watch::channel(Arc::new(settings));
        Broker {
            settings,
            runtime,
            on_blocked: Arc::new(of_any(on_blocked)),
            shared: Mutex::new(Shared {
                links: Vec::new(),
                connected: None,
                first: 0,
                failed: None,
                backoff: Backoff::new(fastrand::u64(..)),
                waits_until: Instant::now(),
                settings: seen,
            }),
        }
    }

    /// Takes new settings: the next connection is made from them, without a wait before it, and the
    /// present ones stay.
    pub(super) fn reload(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// A connection that has room for one more channel. Whoever finds none makes one, after the wait
    /// that an earlier failure asks for: a lane that gets a failure from here may ask again at once.
    pub(super) async fn link(&self) -> Result<Arc<Link>, Failure> {
        let asked = Instant::now();
        let mut shared = self.shared.lock().await;
        if let Some(link) = shared.with_room_for_a_lane() {
            return Ok(link);
        }
        // Lanes that waited for another's attempt share its failure: one attempt at a time.
        if let Some((_, failure)) = shared.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(failure.clone());
        }
        shared.notice_the_end();
        shared.wait().await;
        let dialed = self.dial_in_turn(&mut shared).await;
        let now = Instant::now();
        match &dialed {
            Ok(link) => {
                shared.links.push(Arc::downgrade(link));
                shared.connected = Some(now);
            }
            Err(failure) => {
                let waits = match failure.class {
                    Class::Operator => WAITS_OF_OPERATOR,
                    _ => WAITS,
                };
                shared.waits_until = now + shared.backoff.next(waits);
                shared.failed = Some((now, failure.clone()));
            }
        }
        dialed
    }

    /// A live connection, if there is one that takes requests and has a channel to spare.
    pub(super) async fn live_link(&self) -> Option<AskedLink> {
        let mut shared = self.shared.lock().await;
        let link = shared
            .live()
            .into_iter()
            .find(|link| Arc::strong_count(link) <= link.channels())?;
        link.check().is_ok().then(|| AskedLink::new(link))
    }

    async fn dial_in_turn(&self, shared: &mut Shared) -> Result<Arc<Link>, Failure> {
        let settings = Arc::clone(&shared.settings.borrow_and_update());
        let count = settings.uris.len();
        let mut worst: Option<Failure> = None;
        for place in (shared.first..shared.first + count).map(|place| place % count) {
            match dial(&settings, place).await {
                Ok((connection, cut)) => {
                    shared.first = place;
                    let link = Link::new(connection, cut, Arc::clone(&self.on_blocked));
                    return Ok(Arc::new(link));
                }
                // What somebody has to mend is worth more words than what passes by itself.
                Err(failure)
                    if worst
                        .as_ref()
                        .is_some_and(|worst| worst.class == Class::Operator) =>
                {
                    drop(failure)
                }
                Err(failure) => worst = Some(failure),
            }
        }
        let worst = worst.expect("there is at least one URI: the configuration is checked for it");
        Err(match shared.live().first() {
            Some(link) => Failure {
                detail: format!(
                    "{} (another connection is needed: {} channels can be had on the present one, and each destination needs one)",
                    worst.detail,
                    link.channels()
                ),
                ..worst
            },
            None => worst,
        })
    }
}

impl Shared {
    /// The connections that are up, blocked or not.
    fn live(&mut self) -> Vec<Arc<Link>> {
        let upgraded = self.links.iter().filter_map(Weak::upgrade);
        let live: Vec<_> = upgraded.filter(|link| !link.is_lost()).collect();
        self.links = live.iter().map(Arc::downgrade).collect();
        live
    }

    /// Each lane has one channel, and one is for the questions of [`super::unrouted`].
    fn with_room_for_a_lane(&mut self) -> Option<Arc<Link>> {
        // The handle that is returned counts as the lane's own.
        self.live().into_iter().find(|link| {
            // Where it is asked now, its handle counts already.
            let spare = usize::from(link.channels() > 1 && !link.is_asked());
            Arc::strong_count(link) + spare <= link.channels()
        })
    }

    /// A connection that did not last is followed by a wait, as a failed attempt is.
    fn notice_the_end(&mut self) {
        if !self.live().is_empty() {
            return;
        }
        let Some(connected) = self.connected.take() else {
            return;
        };
        let now = Instant::now();
        if now - connected >= LASTING {
            self.backoff.reset();
        } else {
            self.waits_until = now + self.backoff.next(WAITS);
        }
    }

    /// Until the next attempt may be made. New settings are tried at once.
    async fn wait(&mut self) {
        tokio::select! {
            () = sleep_until(self.waits_until.into()) => {}
            // An error says that the broker is dropped, and nobody waits for this.
            _ = self.settings.changed() => {}
        }
    }
}

/// Tells whether any connection is blocked, of what each connection tells.
fn of_any(tell: impl Fn(bool) + Send + Sync) -> impl Fn(bool) + Send + Sync {
    let blocked = AtomicUsize::new(0);
    move |is_blocked| {
        let others = match is_blocked {
            true => blocked.fetch_add(1, Ordering::Relaxed),
            false => blocked.fetch_sub(1, Ordering::Relaxed) - 1,
        };
        if others == 0 {
            tell(is_blocked);
        }
    }
}
