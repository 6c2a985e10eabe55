//! One request from its head to its unpacked body, without a connection: what tests/fuzz drives. Compiled by cargo-fuzz
//! alone, which sets `cfg(fuzzing)`.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;

use super::address::Address;
use super::admit::{Admitted, refused_head};
use super::body::Bounds;
use super::encoding::Unpacked;
use super::limits::InFlight;
use super::problem::{Problem, Slug};
use super::settings::SourceSettings;
use super::source::Sources;
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

/// A webhook that was let in.
#[derive(Debug)]
pub struct LetIn {
    /// The place of its source.
    pub source: usize,
    /// The kind that its URL says.
    pub said: Option<Kind>,
    /// Whether nothing is to be published.
    pub dry_run: bool,
    /// The id that its signature covers.
    pub webhook_id: Option<String>,
    /// The body, its content-encoding undone; none if it is not what that says.
    pub body: Option<Bytes>,
}

impl Checks {
    /// Those of these sources.
    ///
    /// # Panics
    /// When the metrics contradict each other, which their tests rule out.
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

    /// Takes one request through the stages, in their order. No request knows of an earlier one.
    ///
    /// # Errors
    /// The answer of one that is not let in.
    pub fn judge(&self, request: &HttpRequest, wire: Bytes) -> Result<LetIn, Box<HttpResponse>> {
        if let Some(status) = refused_head(request, self.head_size) {
            return Err(Box::new(HttpResponse::new(status)));
        }
        let answered = |problem: Problem| Box::new(problem.into_response());
        self.stages(request, wire).map_err(answered)
    }

    fn stages(&self, request: &HttpRequest, wire: Bytes) -> Result<LetIn, Problem> {
        let (generation, metrics) = (Arc::clone(&self.generation), Arc::clone(&self.metrics));
        let serving = Sources::new(&self.settings, generation, metrics).current();
        let address = Address::of(request.uri());
        let named = address.and_then(|address| Some((address, serving.source(address.source)?)));
        let (address, source) = named.ok_or(Problem::new(Slug::UnknownSource, ""))?;
        let admitted = Admitted::by_head(source, &address, request, &self.bounds)?;
        let client = admitted.unverified_client(source);
        let mut flight = self.in_flight.begin(client)?;
        flight.hold(wire.len())?;
        flight.complete()?;
        let webhook_id = admitted.by_signature(source, &wire)?;
        let unpacked = admitted.encoding.undo(wire, self.bounds.max, &mut flight)?;
        Ok(LetIn {
            source: source.place,
            said: admitted.said,
            dry_run: admitted.dry_run,
            webhook_id: webhook_id.map(str::to_owned),
            body: match unpacked {
                Unpacked::Whole(body) => Some(body),
                Unpacked::Corrupt(_) => None,
            },
        })
    }
}
