//! Runs one request through all checks up to its decoded body, without a connection, for tests/fuzz. This is compiled
//! only by cargo-fuzz, which sets `cfg(fuzzing)`.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;

use super::admit::{Admitted, refused_head};
use super::body::Bounds;
use super::encoding::Decoded;
use super::limits::InFlight;
use super::problem::{Problem, Slug};
use super::settings::SourceSettings;
use super::source::Sources;
use super::webhook_url::WebhookUrl;
use crate::delivery::Generation;
use crate::envelope::{self, Sealer};
use crate::metrics::{Labels, Metrics};
use crate::minchat::Kind;

/// The checks of the webhook listener.
pub struct Checks {
    settings: Vec<SourceSettings>,
    bounds: Bounds,
    head_size: usize,
    in_flight: InFlight,
    generation: Arc<Generation>,
    metrics: Arc<Metrics>,
}

/// A webhook that passed all checks.
#[derive(Debug)]
pub struct LetIn {
    /// The index of its source.
    pub source: usize,
    /// The kind in its URL.
    pub said: Option<Kind>,
    /// Whether nothing is to be published.
    pub dry_run: bool,
    /// The id that its signature covers.
    pub webhook_id: Option<String>,
    /// The decoded body. `None` if it cannot be decoded.
    pub body: Option<Bytes>,
}

impl Checks {
    /// The checks of these sources.
    ///
    /// # Panics
    /// When two metrics have the same name, which the tests of `metrics` rule out.
    pub fn new(settings: Vec<SourceSettings>, max_body: usize, head_size: usize) -> Self {
        let labels = Labels {
            brokers: Vec::new(),
            problems: Vec::new(),
            success_status: 202,
        };
        let metrics = Metrics::new(&labels).expect("the metrics don't contradict each other");
        let metrics = Arc::new(metrics);
        let envelope = envelope::Settings {
            schema_base: String::new(),
        };
        let names = settings.iter().map(|s| (s.name.as_str(), s.uri.as_str()));
        let generation = Generation::sealing(Sealer::new(&envelope, names));
        let bounds = Bounds {
            max: max_body,
            timeout: Duration::from_secs(5),
            min_rate: 1024,
        };
        Self {
            settings,
            bounds,
            head_size,
            in_flight: InFlight::new(10, 64 << 20, Arc::clone(&metrics)),
            generation: Arc::new(generation),
            metrics,
        }
    }

    /// Runs one request through the stages, in their order. Earlier requests have no effect on it.
    ///
    /// # Errors
    /// The answer to a request that is refused.
    pub fn judge(&self, request: &HttpRequest, wire: Bytes) -> Result<LetIn, Box<HttpResponse>> {
        if let Some(status) = refused_head(request, self.head_size) {
            return Err(Box::new(HttpResponse::new(status)));
        }
        let answered = |problem: Problem| Box::new(problem.into_response());
        self.stages(request, wire).map_err(answered)
    }

    fn stages(&self, request: &HttpRequest, wire: Bytes) -> Result<LetIn, Problem> {
        let (generation, metrics) = (Arc::clone(&self.generation), Arc::clone(&self.metrics));
        let table = Sources::new(&self.settings, generation, metrics).current();
        let url = WebhookUrl::of(request.uri());
        let named = url.and_then(|url| Some((url, table.source(url.source)?)));
        let (url, source) = named.ok_or(Problem::new(Slug::UnknownSource, ""))?;
        let admitted = Admitted::by_head(source, &url, request, &self.bounds)?;
        let client = admitted.unverified_client(source);
        let mut reservation = self.in_flight.begin(client)?;
        reservation.reserve(wire.len())?;
        reservation.complete()?;
        let webhook_id = admitted.by_signature(source, &wire)?;
        let decoded = admitted
            .encoding
            .decode(wire, self.bounds.max, &mut reservation)?;
        Ok(LetIn {
            source: source.index,
            said: admitted.url_kind,
            dry_run: admitted.dry_run,
            webhook_id: webhook_id.map(str::to_owned),
            body: match decoded {
                Decoded::Whole(body) => Some(body),
                Decoded::Corrupt(_) => None,
            },
        })
    }
}
