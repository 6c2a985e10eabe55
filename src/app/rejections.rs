//! The log's line on requests that were rejected. Anybody can send such requests, so none has a line of its own at INFO.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::metrics::{Metrics, Rejections};

/// How often the counters are looked at, so that the first rejection is reported soon.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shortest time between two lines.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Logs for ever how much was rejected, in at most one line a minute.
pub(super) async fn log_rejections(metrics: Arc<Metrics>) {
    let mut logged = Rejections::default();
    loop {
        sleep(LOOK_EVERY).await;
        let now = metrics.rejections();
        if now == logged {
            continue;
        }
        tracing::info!(
            requests = now.requests - logged.requests,
            tls_handshakes = now.tls_handshakes - logged.tls_handshakes,
            "rejected since the last such line; http_requests_total has the requests by status"
        );
        logged = now;
        sleep(LOG_INTERVAL).await;
    }
}
