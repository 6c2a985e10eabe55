//! An open connection, as its requests know it.

use std::sync::Arc;

use super::tls::ClientCertificate;
use crate::metrics::Metrics;

/// A connection, counted for as long as the server holds on to it.
pub(super) struct Connection {
    metrics: Arc<Metrics>,
    certificate: Option<ClientCertificate>,
}

impl Connection {
    pub(super) fn open(metrics: Arc<Metrics>, certificate: Option<ClientCertificate>) -> Self {
        metrics.connection_opened();
        Self {
            metrics,
            certificate,
        }
    }

    /// The certificate of its client.
    pub(super) fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connection_closed();
    }
}
