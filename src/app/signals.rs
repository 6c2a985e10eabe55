//! What the process is told by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Ask;
use crate::http::Stopper;

/// SIGTERM and SIGINT end it, in order at first and at once at the second; SIGHUP reloads.
pub(super) struct Signals {
    caught: Caught,
    stopper: Stopper,
    reload: Ask,
}

/// The signals, which are kept from the moment this is made until somebody obeys them.
pub(super) struct Caught {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Caught {
    /// Catches the signals. Before that, each of them ends the process at once. Needs a runtime's context.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

impl Signals {
    pub(super) const fn new(caught: Caught, stopper: Stopper, reload: Ask) -> Self {
        Self {
            caught,
            stopper,
            reload,
        }
    }

    pub(super) async fn obey(mut self) {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = self.caught.terminate.recv() => {}
                _ = self.caught.interrupt.recv() => {}
                _ = self.caught.hang_up.recv() => {
                    tracing::info!("SIGHUP: reloading");
                    // Full: one is asked for already.
                    let _ = self.reload.try_send(());
                    continue;
                }
            }
            match std::mem::replace(&mut asked, true) {
                false => {
                    tracing::info!(
                        "stopping: finishing what is in flight; a second signal ends it at once"
                    );
                    self.stopper.stop();
                }
                true => {
                    tracing::warn!("stopping at once");
                    self.stopper.stop_at_once();
                }
            }
        }
    }
}
