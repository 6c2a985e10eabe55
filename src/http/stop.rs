//! Stops the listeners: who may request it, and its steps.
//!
//! A graceful shutdown has two steps. First, for `http.stop_delay`, `/readyz` fails but requests are still served;
//! every answer closes its connection. Then new requests are refused, and those in flight are finished within
//! `http.shutdown_timeout`; connections without a request, or with an incomplete head, are closed at once.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::connections::Connections;
use super::phase::{Phase, SharedPhase};

/// Stops the listeners. It can be called on any thread. Clones stop the same listeners.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<StopRequest>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StopRequest {
    None,
    Graceful,
    Immediate,
}

impl Stopper {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(StopRequest::None))
    }

    pub(super) fn stop_requests(&self) -> watch::Receiver<StopRequest> {
        self.0.subscribe()
    }

    /// Requests a graceful shutdown: `/readyz` fails, but requests are still served for `http.stop_delay`; then those
    /// in flight are finished within `http.shutdown_timeout`.
    pub fn stop(&self) {
        self.request(StopRequest::Graceful);
    }

    /// Requests an immediate shutdown, which waits for nothing.
    pub fn stop_at_once(&self) {
        self.request(StopRequest::Immediate);
    }

    fn request(&self, request: StopRequest) {
        self.0
            .send_modify(|requested| *requested = request.max(*requested));
    }
}

/// The shutdown of the webhook listener.
pub(super) struct Shutdown {
    pub(super) webhooks: ServerHandle,
    pub(super) connections: Arc<Connections>,
    pub(super) stop_requests: watch::Receiver<StopRequest>,
    pub(super) phase: Arc<SharedPhase>,
    pub(super) stop_delay: Duration,
    pub(super) shutdown_timeout: Duration,
}

impl Shutdown {
    pub(super) async fn run(self) {
        self.phase.advance(Phase::NotReady);
        self.unless_immediate(sleep(self.stop_delay)).await;
        self.phase.advance(Phase::Stopping);
        self.connections.drain();
        let finished = timeout(self.shutdown_timeout, self.webhooks.stop(true));
        self.unless_immediate(finished).await;
    }

    /// Waits until a shutdown is requested.
    pub(super) fn stop_requested(&self) -> impl Future<Output = ()> + use<> {
        self.at_least(StopRequest::Graceful)
    }

    /// Waits until at least this is requested. Waits for ever if there is no [`Stopper`] any more.
    fn at_least(&self, request: StopRequest) -> impl Future<Output = ()> + use<> {
        let mut stop_requests = self.stop_requests.clone();
        async move {
            if stop_requests
                .wait_for(|requested| *requested >= request)
                .await
                .is_err()
            {
                std::future::pending().await
            }
        }
    }

    async fn unless_immediate(&self, step: impl Future) {
        tokio::select! {
            _ = step => {}
            () = self.at_least(StopRequest::Immediate) => {}
        }
    }
}
