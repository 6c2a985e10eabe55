use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntGauge, IntGaugeVec, Result};

use super::families::Families;
use super::http::Endpoint;
use super::table;
use crate::route::Broker;

/// What is shown of certificates and of the configuration.
pub(super) struct EdgeMetrics {
    not_after: IntGaugeVec,
    last_reload_successful: IntGauge,
    last_reload: IntGauge,
}

impl EdgeMetrics {
    pub(super) fn new(families: &Families<'_>) -> Result<Self> {
        Ok(Self {
            not_after: families.gauges(&table::TLS_CERTIFICATE_NOT_AFTER)?,
            last_reload_successful: families.gauge(&table::CONFIG_LAST_RELOAD_SUCCESSFUL)?,
            last_reload: families.gauge(&table::CONFIG_LAST_RELOAD)?,
        })
    }

    pub(super) fn certificate_expires(&self, not_after: i64) {
        let series = self
            .not_after
            .with_label_values(&[Endpoint::Webhooks.name()]);
        series.set(not_after);
    }

    pub(super) fn broker_certificate_expires(&self, broker: Broker, not_after: Option<i64>) {
        let label = &[broker.name()];
        match not_after {
            Some(not_after) => self.not_after.with_label_values(label).set(not_after),
            // It may not have been there.
            None => drop(self.not_after.remove_label_values(label)),
        }
    }

    pub(super) fn config_loaded(&self) {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.last_reload_successful.set(1);
        let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        self.last_reload.set(seconds);
    }

    pub(super) fn config_refused(&self) {
        self.last_reload_successful.set(0);
    }
}
