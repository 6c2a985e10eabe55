use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, Result};

use super::families::Families;
use super::labels::Labels;
use super::table;
use crate::minchat::{Drift, DriftSet, Kind};
use crate::receipt::Receipt;

const KINDS: usize = Kind::ALL.len();

/// The `source` of a webhook whose URL names no source that is known.
const NO_SOURCE: &str = "none";
/// The one problem that has no source, and that no source has.
const UNKNOWN_SOURCE: &str = "unknown-source";

/// What is counted of one source. Cloning is cheap, and all clones count together.
#[derive(Clone)]
pub struct SourceMetrics(Arc<SourceSeries>);

struct SourceSeries {
    received: [IntCounter; KINDS],
    accepted: [[IntCounter; Receipt::ALL.len()]; KINDS],
    rejected: Rejections,
}

impl SourceMetrics {
    /// A webhook became an event.
    pub fn received(&self, kind: Kind) {
        self.0.received[kind.index()].inc();
    }

    /// A webhook was answered with a receipt.
    pub fn accepted(&self, kind: Kind, receipt: Receipt) {
        self.0.accepted[kind.index()][receipt.index()].inc();
    }

    /// A webhook was answered with the problem of this slug.
    pub fn rejected(&self, slug: &'static str) {
        self.0.rejected.count(slug);
    }
}

/// The webhooks of a source that were rejected.
struct Rejections {
    source: String,
    foreseen: Vec<(&'static str, IntCounter)>,
    all: IntCounterVec,
}

impl Rejections {
    fn new(
        source: &str,
        slugs: impl Iterator<Item = &'static str>,
        all: &IntCounterVec,
    ) -> Rejections {
        let series = slugs.map(|slug| (slug, all.with_label_values(&[source, slug])));
        Rejections {
            source: source.to_owned(),
            foreseen: series.collect(),
            all: all.clone(),
        }
    }

    fn count(&self, slug: &'static str) {
        match self.foreseen.iter().find(|(known, _)| *known == slug) {
            Some((_, rejections)) => rejections.inc(),
            // A problem that was not foreseen for this source: counted all the same.
            None => self.all.with_label_values(&[&*self.source, slug]).inc(),
        }
    }
}

/// What is counted of webhooks and payloads.
pub(super) struct WebhookMetrics {
    received: IntCounterVec,
    accepted: IntCounterVec,
    rejected: IntCounterVec,
    slugs: Vec<&'static str>,
    no_source: Rejections,
    drifts: [Vec<(Drift, IntCounter)>; KINDS],
    drift: IntCounterVec,
}

impl WebhookMetrics {
    pub(super) fn new(families: &Families<'_>, labels: &Labels) -> Result<Self> {
        let rejected = families.counters(&table::WEBHOOKS_REJECTED)?;
        let drift = families.counters(&table::PAYLOAD_DRIFT)?;
        let slugs = labels.problems.iter().map(|&(slug, _)| slug);
        Ok(Self {
            received: families.counters(&table::WEBHOOKS_RECEIVED)?,
            accepted: families.counters(&table::WEBHOOKS_ACCEPTED)?,
            slugs: slugs.filter(|&slug| slug != UNKNOWN_SOURCE).collect(),
            no_source: Rejections::new(NO_SOURCE, [UNKNOWN_SOURCE].into_iter(), &rejected),
            drifts: Kind::ALL.map(|kind| {
                drifts_of(kind)
                    .map(|drifted| (drifted, drift_series(&drift, kind, drifted)))
                    .collect()
            }),
            rejected,
            drift,
        })
    }

    pub(super) fn source(&self, name: &str) -> SourceMetrics {
        SourceMetrics(Arc::new(SourceSeries {
            received: Kind::ALL.map(|kind| self.received.with_label_values(&[name, kind.name()])),
            accepted: Kind::ALL.map(|kind| {
                Receipt::ALL.map(|receipt| {
                    self.accepted
                        .with_label_values(&[name, kind.name(), receipt.name()])
                })
            }),
            rejected: Rejections::new(name, self.slugs.iter().copied(), &self.rejected),
        }))
    }

    pub(super) fn without_source(&self, slug: &'static str) {
        self.no_source.count(slug);
    }

    pub(super) fn drifted(&self, kind: Kind, drifts: DriftSet) {
        let foreseen = &self.drifts[kind.index()];
        for drift in drifts.iter() {
            match foreseen.iter().find(|(known, _)| *known == drift) {
                Some((_, payloads)) => payloads.inc(),
                None => drift_series(&self.drift, kind, drift).inc(),
            }
        }
    }
}

/// What has no shape of its own can't depart from it, only from what its request said.
fn drifts_of(kind: Kind) -> impl Iterator<Item = Drift> {
    Drift::ALL
        .into_iter()
        .filter(move |drift| kind != Kind::Unrecognized || of_a_request(*drift))
}

fn of_a_request(drift: Drift) -> bool {
    matches!(drift, Drift::KindMismatch | Drift::ContentType)
}

fn drift_series(family: &IntCounterVec, kind: Kind, drift: Drift) -> IntCounter {
    family.with_label_values(&[kind.name(), drift.name()])
}
