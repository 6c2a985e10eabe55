//! Changes the sources and the TLS certificates while the listeners are serving.

use std::sync::Arc;

use super::settings::{Settings, SourceSettings};
use super::source::Sources;
use super::tls::{Tls, TlsFiles};
use crate::certificates::Unusable;
use crate::delivery::Generation;
use crate::metrics::Metrics;

/// Changes who may post. Clones change the same listeners.
#[derive(Clone)]
pub struct Edge {
    pub(super) sources: Arc<Sources>,
    pub(super) tls: Option<Tls>,
    pub(super) metrics: Arc<Metrics>,
}

/// New sources and certificates that are ready to be applied.
pub struct Change {
    edge: Edge,
    sources: Vec<SourceSettings>,
    tls: Option<TlsFiles>,
}

impl Edge {
    pub(super) fn new(
        settings: &Settings,
        sources: &[SourceSettings],
        generation: Arc<Generation>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Unusable> {
        let files = settings.tls.as_ref().map(TlsFiles::read).transpose()?;
        if let Some(files) = &files {
            metrics.certificate_expires(files.not_after());
        }
        Ok(Self {
            sources: Arc::new(Sources::new(sources, generation, metrics.clone())),
            tls: files.map(Tls::new),
            metrics,
        })
    }

    /// Reads the files that new settings need, without changing anything yet. TLS cannot be turned on or off this way.
    ///
    /// # Errors
    /// When the TLS files cannot be used.
    pub fn prepare(
        &self,
        settings: &Settings,
        sources: &[SourceSettings],
    ) -> Result<Change, Unusable> {
        let tls = settings.tls.as_ref().filter(|_| self.tls.is_some());
        Ok(Change {
            edge: self.clone(),
            sources: sources.to_vec(),
            tls: tls.map(TlsFiles::read).transpose()?,
        })
    }
}

impl Change {
    /// Applies the change to all requests and TLS handshakes that begin from now on. The generation must know each of
    /// the sources.
    pub fn apply(self, generation: Arc<Generation>) {
        if let (Some(tls), Some(files)) = (&self.edge.tls, self.tls) {
            self.edge.metrics.certificate_expires(files.not_after());
            tls.replace(files);
        }
        self.edge.sources.replace(&self.sources, generation);
    }
}
