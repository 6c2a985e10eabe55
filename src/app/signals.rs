//! What the process is told by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::Ask;
use crate::delivery::Delivery;
use crate::http::Stopper;

/// SIGTERM and SIGINT end it, in order at first and at once at the second; SIGHUP opens files anew and reloads.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    stopper: Stopper,
    delivery: Delivery,
    reload: Ask,
}

impl Signals {
    pub(super) fn listen(stopper: Stopper, delivery: Delivery, reload: Ask) -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            stopper,
            delivery,
            reload,
        })
    }

    pub(super) async fn obey(mut self) {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hang_up.recv() => {
                    tracing::info!("SIGHUP: opening the event files anew, and reloading");
                    self.delivery.reopen();
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
