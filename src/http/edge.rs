//! What of the listeners can be changed while they serve.

use std::sync::Arc;

use super::settings::{Settings, SourceSettings};
use super::source::Sources;
use super::tls::{Present, Tls};
use crate::certificates::Unusable;
use crate::delivery::Generation;
use crate::metrics::Metrics;

/// A hand on what lets requests in. A clone is the same.
#[derive(Clone)]
pub struct Edge {
    pub(super) sources: Arc<Sources>,
    pub(super) tls: Option<Tls>,
    pub(super) metrics: Arc<Metrics>,
}

/// Another way to let requests in, ready to be taken into use.
pub struct Change {
    edge: Edge,
    sources: Vec<SourceSettings>,
    tls: Option<Present>,
}

impl Edge {
    pub(super) fn new(
        settings: &Settings,
        sources: &[SourceSettings],
        generation: Arc<Generation>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Unusable> {
        let present = settings.tls.as_ref().map(Present::read).transpose()?;
        if let Some(present) = &present {
            metrics.certificate_expires(present.not_after());
        }
        Ok(Self {
            sources: Arc::new(Sources::new(sources, generation, metrics.clone())),
            tls: present.map(Tls::new),
            metrics,
        })
    }

    /// Reads what other settings need. Nothing is changed yet.
    ///
    /// # Errors
    /// When the files of TLS can't be used.
    pub fn prepare(
        &self,
        settings: &Settings,
        sources: &[SourceSettings],
    ) -> Result<Change, Unusable> {
        let tls = settings.tls.as_ref().filter(|_| self.tls.is_some());
        Ok(Change {
            edge: self.clone(),
            sources: sources.to_vec(),
            tls: tls.map(Present::read).transpose()?,
        })
    }
}

impl Change {
    /// Takes it into use, for the next request and the next connection. The generation has a place
    /// for each of the sources.
    pub fn apply(self, generation: Arc<Generation>) {
        if let (Some(tls), Some(present)) = (&self.edge.tls, self.tls) {
            self.edge.metrics.certificate_expires(present.not_after());
            tls.replace(present);
        }
        self.edge.sources.replace(&self.sources, generation);
    }
}
