use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Result};

use super::families::Families;
use super::labels::Labels;
use super::table;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/webhooks/...`, the source known or not.
    Webhooks,
    /// `/livez`.
    Livez,
    /// `/readyz`.
    Readyz,
    /// `/metrics`.
    Metrics,
    /// `/version`.
    Version,
    /// Any other path, of either listener, and what is no HTTP request.
    Other,
}

impl Endpoint {
    /// All of them, in the order of [`Endpoint::index`].
    pub const ALL: [Self; 6] = [
        Self::Webhooks,
        Self::Livez,
        Self::Readyz,
        Self::Metrics,
        Self::Version,
        Self::Other,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
            Self::Metrics => "metrics",
            Self::Version => "version",
            Self::Other => "other",
        }
    }

    /// The place in [`Endpoint::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The statuses that it can be answered with.
    fn statuses(self, labels: &Labels) -> Vec<u16> {
        let mut statuses = match self {
            Self::Webhooks => {
                let dry_run = 200;
                let problems = labels.problems.iter().map(|&(_, status)| status);
                [labels.success_status, dry_run, HEAD_TOO_LARGE]
                    .into_iter()
                    .chain(problems)
                    .collect()
            }
            Self::Livez | Self::Readyz => vec![200, 405, 503],
            Self::Metrics => vec![200, 405, 500],
            Self::Version => vec![200, 405],
            Self::Other => vec![BAD_HEAD, 404, HEAD_TIMEOUT, HEAD_TOO_LARGE],
        };
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }
}

/// What is no HTTP request is answered with this.
const BAD_HEAD: u16 = 400;

/// A head that is not complete in time is answered with this; what it asks for is not known yet.
const HEAD_TIMEOUT: u16 = 408;

/// A head that is larger than `http.head_size` allows is answered with this, whatever it asks for.
const HEAD_TOO_LARGE: u16 = 431;

/// What the listeners have rejected since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejections {
    /// Requests that were answered with 4xx.
    pub requests: u64,
    /// TLS handshakes that failed.
    pub tls_handshakes: u64,
}

/// What the listeners count.
pub(super) struct HttpMetrics {
    requests: IntCounterVec,
    answers: [Vec<(u16, IntCounter)>; Endpoint::ALL.len()],
    webhook_duration: Histogram,
    pub(super) in_flight: IntGauge,
    pub(super) in_flight_bytes: IntGauge,
    pub(super) connections: IntGauge,
    pub(super) max_connections: IntGauge,
    pub(super) connections_evicted: IntCounter,
    pub(super) tls_handshakes_failed: IntCounter,
}

impl HttpMetrics {
    pub(super) fn new(families: &Families<'_>, labels: &Labels) -> Result<Self> {
        let requests = families.counters(&table::HTTP_REQUESTS)?;
        let answers = Endpoint::ALL.map(|endpoint| {
            let statuses = endpoint.statuses(labels).into_iter();
            statuses
                .map(|status| (status, series(&requests, endpoint, status)))
                .collect()
        });
        let webhook_duration = families
            .histograms(&table::HTTP_REQUEST_DURATION)?
            .with_label_values(&[Endpoint::Webhooks.name()]);
        Ok(Self {
            requests,
            answers,
            webhook_duration,
            in_flight: families.gauge(&table::HTTP_REQUESTS_IN_FLIGHT)?,
            in_flight_bytes: families.gauge(&table::HTTP_IN_FLIGHT_BYTES)?,
            connections: families.gauge(&table::HTTP_CONNECTIONS)?,
            max_connections: families.gauge(&table::HTTP_MAX_CONNECTIONS)?,
            tls_handshakes_failed: families.counter(&table::TLS_HANDSHAKES_FAILED)?,
            connections_evicted: families.counter(&table::HTTP_CONNECTIONS_EVICTED)?,
        })
    }

    pub(super) fn rejections(&self) -> Rejections {
        let answers = self.answers.iter().flatten();
        let rejected = answers.filter(|(status, _)| (400..500).contains(status));
        Rejections {
            requests: rejected.map(|(_, answers)| answers.get()).sum(),
            tls_handshakes: self.tls_handshakes_failed.get(),
        }
    }

    pub(super) fn request_finished(&self, endpoint: Endpoint, status: u16, took: Duration) {
        let foreseen = self.answers[endpoint.index()].iter();
        match foreseen.into_iter().find(|(known, _)| *known == status) {
            Some((_, answers)) => answers.inc(),
            // A status that the endpoint's table has no row for: counted all the same.
            None => series(&self.requests, endpoint, status).inc(),
        }
        // A histogram for each of the other endpoints would be 70 series that nobody looks at.
        if endpoint == Endpoint::Webhooks {
            self.webhook_duration.observe(took.as_secs_f64());
        }
    }
}

fn series(requests: &IntCounterVec, endpoint: Endpoint, status: u16) -> IntCounter {
    requests.with_label_values(&[endpoint.name(), &status.to_string()])
}
