//! The way out: who may ask for it, and its steps.
//!
//! First the bridge is not ready, but serves on for `http.stop_delay`, and lets go of connections
//! as they are answered; then nothing new is taken, and what is in flight is finished within
//! `http.shutdown_timeout`. Idle connections, and those with half a head, are closed at once.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::connections::Connections;
use super::phase::{Phase, SharedPhase};

/// Stops the listeners, from wherever it is called. A clone stops the same ones.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<Wish>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    Serve,
    StopInOrder,
    StopAtOnce,
}

impl Stopper {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Wish::Serve))
    }

    pub(super) fn wishes(&self) -> watch::Receiver<Wish> {
        self.0.subscribe()
    }

    /// Stops in order: not ready, but serving, for `http.stop_delay`; then what is in flight is
    /// finished, within `http.shutdown_timeout`.
    pub fn stop(&self) {
        self.wish(Wish::StopInOrder);
    }

    /// Stops without waiting for anything.
    pub fn stop_at_once(&self) {
        self.wish(Wish::StopAtOnce);
    }

    fn wish(&self, wish: Wish) {
        self.0.send_modify(|wished| *wished = wish.max(*wished));
    }
}

/// The way out of the webhook listener.
pub(super) struct Leave {
    pub(super) webhooks: ServerHandle,
    pub(super) connections: Arc<Connections>,
    pub(super) wishes: watch::Receiver<Wish>,
    pub(super) phase: Arc<SharedPhase>,
    pub(super) stop_delay: Duration,
    pub(super) shutdown_timeout: Duration,
}

impl Leave {
    pub(super) async fn in_order(self) {
        self.phase.advance(Phase::Leaving);
        self.unless_at_once(sleep(self.stop_delay)).await;
        self.phase.advance(Phase::Stopping);
        self.connections.drain();
        let finished = timeout(self.shutdown_timeout, self.webhooks.stop(true));
        self.unless_at_once(finished).await;
    }

    /// Waits until somebody wants the listeners to stop.
    pub(super) fn wished(&self) -> impl Future<Output = ()> + use<> {
        self.at_least(Wish::StopInOrder)
    }

    /// Waits until at least that is wished for; for ever, if nobody is left who could.
    fn at_least(&self, wish: Wish) -> impl Future<Output = ()> + use<> {
        let mut wishes = self.wishes.clone();
        async move {
            if wishes.wait_for(|wished| *wished >= wish).await.is_err() {
                std::future::pending().await
            }
        }
    }

    async fn unless_at_once(&self, step: impl Future) {
        tokio::select! {
            _ = step => {}
            () = self.at_least(Wish::StopAtOnce) => {}
        }
    }
}
