//! Makes a row of the table into a registered family of series.

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, Result,
};

use super::table::{Measure, PREFIX, Row};

/// Registers families, one for each row.
pub(super) struct Families<'a>(pub(super) &'a Registry);

impl Families<'_> {
    pub(super) fn counters(&self, row: &Row) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(opts(row), row.labels)?)
    }

    pub(super) fn gauges(&self, row: &Row) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(opts(row), row.labels)?)
    }

    /// Gauges of what is no whole number.
    pub(super) fn float_gauges(&self, row: &Row) -> Result<GaugeVec> {
        self.register(GaugeVec::new(opts(row), row.labels)?)
    }

    pub(super) fn gauge(&self, row: &Row) -> Result<IntGauge> {
        self.register(IntGauge::with_opts(opts(row))?)
    }

    pub(super) fn counter(&self, row: &Row) -> Result<IntCounter> {
        self.register(IntCounter::with_opts(opts(row))?)
    }

    pub(super) fn histogram(&self, row: &Row) -> Result<Histogram> {
        Ok(self.histograms(row)?.with_label_values::<&str>(&[]))
    }

    /// A gauge that can be moved in any case, and is shown only if `shown`.
    pub(super) fn gauge_if(&self, shown: bool, row: &Row) -> Result<IntGauge> {
        if shown {
            self.gauge(row)
        } else {
            IntGauge::with_opts(opts(row))
        }
    }

    pub(super) fn histograms(&self, row: &Row) -> Result<HistogramVec> {
        let buckets = match row.measure {
            Measure::Histogram(buckets) => buckets.to_vec(),
            Measure::Counter | Measure::Gauge => Vec::new(),
        };
        let opts = HistogramOpts::from(opts(row)).buckets(buckets);
        self.register(HistogramVec::new(opts, row.labels)?)
    }

    fn register<C: Collector + Clone + 'static>(&self, family: C) -> Result<C> {
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

fn opts(row: &Row) -> Opts {
    Opts::new(row.name, row.help).namespace(PREFIX)
}
