use prometheus::{IntCounter, IntCounterVec, Result};

use super::families::Families;
use super::{Labels, table};
use crate::delivery::Receipt;
use crate::minchat::{Drift, DriftSet, Kind};

const KINDS: usize = Kind::ALL.len();

/// The `source` of a webhook whose URL names no source that is known.
const NO_SOURCE: &str = "none";
/// The one problem that has no source, and that no source has.
const UNKNOWN_SOURCE: &str = "unknown-source";

/// What is counted of webhooks and payloads.
pub(super) struct WebhookMetrics {
    sources: Vec<SourceSeries>,
    unknown_source: Rejections,
    rejections: IntCounterVec,
    drifts: [Vec<(Drift, IntCounter)>; KINDS],
    drift: IntCounterVec,
}

struct SourceSeries {
    name: String,
    received: [IntCounter; KINDS],
    accepted: [[IntCounter; Receipt::ALL.len()]; KINDS],
    rejected: Rejections,
}

type Rejections = Vec<(&'static str, IntCounter)>;

impl WebhookMetrics {
    pub(super) fn new(families: &Families<'_>, labels: &Labels) -> Result<Self> {
        let received = families.counters(&table::WEBHOOKS_RECEIVED)?;
        let accepted = families.counters(&table::WEBHOOKS_ACCEPTED)?;
        let rejections = families.counters(&table::WEBHOOKS_REJECTED)?;
        let drift = families.counters(&table::PAYLOAD_DRIFT)?;
        let rejected = |source: &str, of_a_source: bool| -> Rejections {
            let slugs = labels.problems.iter().map(|&(slug, _)| slug);
            slugs
                .filter(|&slug| (slug != UNKNOWN_SOURCE) == of_a_source)
                .map(|slug| (slug, rejections.with_label_values(&[source, slug])))
                .collect()
        };
        let sources = labels.sources.iter().map(|name| SourceSeries {
            name: name.clone(),
            received: Kind::ALL.map(|kind| received.with_label_values(&[&**name, kind.name()])),
            accepted: Kind::ALL.map(|kind| {
                Receipt::ALL.map(|receipt| {
                    accepted.with_label_values(&[&**name, kind.name(), receipt.name()])
                })
            }),
            rejected: rejected(name, true),
        });
        Ok(Self {
            sources: sources.collect(),
            unknown_source: rejected(NO_SOURCE, false),
            drifts: Kind::ALL.map(|kind| {
                drifts_of(kind)
                    .map(|drifted| (drifted, drift_series(&drift, kind, drifted)))
                    .collect()
            }),
            rejections,
            drift,
        })
    }

    pub(super) fn received(&self, source: usize, kind: Kind) {
        self.sources[source].received[kind.index()].inc();
    }

    pub(super) fn accepted(&self, source: usize, kind: Kind, receipt: Receipt) {
        self.sources[source].accepted[kind.index()][receipt.index()].inc();
    }

    pub(super) fn rejected(&self, source: Option<usize>, slug: &'static str) {
        let (name, foreseen) = match source.map(|index| &self.sources[index]) {
            Some(source) => (source.name.as_str(), &source.rejected),
            None => (NO_SOURCE, &self.unknown_source),
        };
        match foreseen.iter().find(|(known, _)| *known == slug) {
            Some((_, rejections)) => rejections.inc(),
            // A problem that was not foreseen for this source: counted all the same.
            None => self.rejections.with_label_values(&[name, slug]).inc(),
        }
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
