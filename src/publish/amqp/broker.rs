//! One RabbitMQ, as all lanes of it share it: its settings and its connection.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::destination::Destination;
use super::dial::dial;
use super::link::Link;
use super::publisher::AmqpPublisher;
use super::settings::Settings;
use super::unrouted;
use crate::publish::{Class, Failure, Reporter};

/// A broker. Nothing is connected before the first publisher asks for it.
#[derive(Clone)]
pub struct Amqp(Arc<Broker>);

/// What the lanes of a broker share.
pub(super) struct Broker {
    settings: RwLock<Arc<Settings>>,
    runtime: Handle,
    on_blocked: Arc<dyn Fn(bool) + Send + Sync>,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Held by the lanes: the last one that lets go closes it.
    link: Weak<Link>,
    /// Which of the URIs is tried first.
    first: usize,
    /// When the last attempt failed, and why.
    failed: Option<(Instant, Failure)>,
}

impl Amqp {
    /// The broker of these settings; its tasks run on `runtime`, which has to be of several
    /// threads. `on_blocked` is told when the broker begins and ceases to block the connection.
    pub fn new(
        settings: Settings,
        runtime: Handle,
        on_blocked: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        Amqp(Arc::new(Broker {
            settings: RwLock::new(Arc::new(settings)),
            runtime,
            on_blocked: Arc::new(on_blocked),
            shared: Mutex::default(),
        }))
    }

    /// A publisher to this destination, which reports to `reporter` and begins to connect at once.
    pub fn publisher(&self, destination: Destination, reporter: Reporter) -> AmqpPublisher {
        AmqpPublisher::new(Arc::clone(&self.0), destination, reporter)
    }

    /// Takes new settings: the next connection is made from them, and the present one stays.
    pub fn reload(&self, settings: Settings) {
        *self
            .0
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Tells every 15 s how many messages these queues hold together, while the broker is
    /// connected and any of them is there. Ends with the broker.
    pub fn watch_unrouted(
        &self,
        queues: impl Fn() -> Vec<String> + Send + Sync + 'static,
        tell: impl Fn(u64) + Send + Sync + 'static,
    ) {
        self.0
            .runtime
            .spawn(unrouted::watch(Arc::downgrade(&self.0), queues, tell));
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.0
    }
}

impl Broker {
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The live connection; whoever finds none makes a new one.
    pub(super) async fn link(&self) -> Result<Arc<Link>, Failure> {
        let asked = Instant::now();
        let mut shared = self.shared.lock().await;
        if let Some(link) = shared.link.upgrade().filter(|link| !link.is_lost()) {
            link.check()?;
            return Ok(link);
        }
        // Lanes that waited for another's attempt share its failure: one attempt at a time.
        if let Some((_, failure)) = shared.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(failure.clone());
        }
        match self.dial_in_turn(&mut shared).await {
            Ok(link) => Ok(link),
            Err(failure) => {
                shared.failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// The live connection, if there is one that takes requests.
    pub(super) async fn live_link(&self) -> Option<Arc<Link>> {
        let link = self.shared.lock().await.link.upgrade()?;
        link.check().is_ok().then_some(link)
    }

    async fn dial_in_turn(&self, shared: &mut Shared) -> Result<Arc<Link>, Failure> {
        let settings = self.settings();
        let count = settings.uris.len();
        let mut worst: Option<Failure> = None;
        for place in (shared.first..shared.first + count).map(|place| place % count) {
            match dial(&settings, place).await {
                Ok((connection, cut)) => {
                    let link = Arc::new(Link::new(connection, cut, Arc::clone(&self.on_blocked)));
                    shared.link = Arc::downgrade(&link);
                    shared.first = place;
                    return Ok(link);
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
        Err(worst.expect("there is at least one URI: the configuration is checked for it"))
    }
}
