//! The admin listener: probes, metrics and the version. It has a port of its own, which should not be public.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::Payload;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

use super::connection;
use super::phase::{Phase, SharedPhase};
use super::problem::{self, Problem, Slug};
use crate::delivery::{Delivery, Readiness};
use crate::metrics::{self, Endpoint, Metrics};
use crate::telemetry::{self, panics};

/// What the answers of the admin listener are made from.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) delivery: Delivery,
    pub(super) metrics: Arc<Metrics>,
    pub(super) phase: Arc<SharedPhase>,
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers one request, whatever it contains. If the handler panics, this request alone gets a 500.
pub(super) async fn answer(
    admin: Rc<Admin>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let connection = connection::of(&request);
    let has_body = !matches!(payload, Payload::None);
    connection.begin_request(&request, has_body);
    let began = Instant::now();
    let endpoint = endpoint(request.path());
    if endpoint == Endpoint::Metrics {
        // Rendering takes milliseconds. Other requests, such as probes, are answered before it.
        tokio::task::yield_now().await;
    }
    let handled = panics::contained(|| admin.answer(endpoint, &request));
    let mut response =
        handled.unwrap_or_else(|_| Problem::new(Slug::Internal, "this is a bug").into_response());
    connection.end_request(&mut response);
    admin
        .metrics
        .request_finished(endpoint, response.status().as_u16(), began.elapsed());
    response
}

fn endpoint(path: &str) -> Endpoint {
    match path {
        "/livez" => Endpoint::Livez,
        "/readyz" => Endpoint::Readyz,
        "/metrics" => Endpoint::Metrics,
        "/version" => Endpoint::Version,
        _ => Endpoint::Other,
    }
}

impl Admin {
    fn answer(&self, endpoint: Endpoint, request: &HttpRequest) -> HttpResponse {
        let outcome = match (endpoint, request.method()) {
            (Endpoint::Other, _) => Err(Problem::new(
                Slug::NotFound,
                "the admin listener has /livez, /readyz, /metrics and /version",
            )),
            (_, &Method::GET | &Method::HEAD) => self.show(endpoint, request.query_string()),
            _ => Err(Problem::method_not_allowed("GET, HEAD")),
        };
        outcome.unwrap_or_else(Problem::into_response)
    }

    fn show(&self, endpoint: Endpoint, query: &str) -> Result<HttpResponse, Problem> {
        Ok(match endpoint {
            Endpoint::Livez => probe(self.delivery.liveness().map(|()| "ok\n".to_owned())),
            Endpoint::Readyz => probe(self.readiness(asks_for_verbose(query))),
            Endpoint::Metrics => respond(problem::OK, metrics::CONTENT_TYPE, self.metrics()?),
            _ => respond(problem::OK, "application/json", version()),
        })
    }

    fn readiness(&self, verbose: bool) -> Result<String, String> {
        let is_serving = self.phase.get() == Phase::Serving;
        let serving = Readiness {
            destination: "serving".to_owned(),
            ready: is_serving,
            detail: match is_serving {
                true => String::new(),
                false => "the bridge is stopping".to_owned(),
            },
        };
        let mut all = vec![serving];
        all.extend(self.delivery.readiness());
        readiness_report(&all, verbose)
    }

    fn metrics(&self) -> Result<Vec<u8>, Problem> {
        self.metrics
            .log_lines_dropped(telemetry::take_dropped_lines());
        self.metrics.render().map_err(|error| {
            tracing::error!(%error, "the metrics could not be written");
            Problem::new(Slug::Internal, "the metrics could not be written")
        })
    }
}

fn asks_for_verbose(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| pair.split('=').next() == Some("verbose"))
}

/// The body of `/readyz`, in the format of the probes of Kubernetes. If all checks pass and `verbose` is false, it is
/// just `ok`. Otherwise it has one line a check, with a detail if there is one. Returns `Err` if a check fails.
fn readiness_report(checks: &[Readiness], verbose: bool) -> Result<String, String> {
    let ready = checks.iter().all(|check| check.ready);
    if ready && !verbose {
        return Ok("ok\n".to_owned());
    }
    let mut text = String::new();
    for check in checks {
        let detail = check.detail.as_str();
        let (sign, word, detail) = match check.ready {
            true if detail.is_empty() => ('+', "ok", ""),
            true => ('+', "ok: ", detail),
            false => ('-', "failed: ", detail),
        };
        text.push_str(&format!("[{sign}]{} {word}{detail}\n", check.destination));
    }
    text.push_str(if ready {
        "readyz check passed\n"
    } else {
        "readyz check failed\n"
    });
    if ready { Ok(text) } else { Err(text) }
}

fn version() -> String {
    let revision = option_env!("MINCHAT_BRIDGE_REVISION").unwrap_or("unknown");
    format!(
        "{{\"version\":\"{}\",\"revision\":\"{revision}\"}}\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn probe(outcome: Result<String, String>) -> HttpResponse {
    match outcome {
        Ok(text) => respond(problem::OK, TEXT, text),
        Err(text) => respond(problem::NOT_READY, TEXT, text),
    }
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<bytes::Bytes>,
) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, body.into()).map_into_boxed_body();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(destination: &str, ready: bool, detail: &str) -> Readiness {
        Readiness {
            destination: destination.to_owned(),
            ready,
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn readiness_has_the_format_of_kubernetes() {
        let good = [
            check("kafka:a", true, ""),
            check("amqp:b", true, "into the spool: away"),
        ];
        assert_eq!(readiness_report(&good, false), Ok("ok\n".to_owned()));
        let text = "[+]kafka:a ok\n[+]amqp:b ok: into the spool: away\nreadyz check passed\n";
        assert_eq!(readiness_report(&good, true), Ok(text.to_owned()));
        let bad = [check("kafka:a", true, ""), check("amqp:b", false, "away")];
        let text = "[+]kafka:a ok\n[-]amqp:b failed: away\nreadyz check failed\n";
        assert_eq!(readiness_report(&bad, false), Err(text.to_owned()));
        assert_eq!(readiness_report(&bad, true), Err(text.to_owned()));
    }

    #[test]
    fn verbose_is_a_parameter_with_or_without_a_value() {
        for (query, verbose) in [
            ("verbose", true),
            ("a=b&verbose=true", true),
            ("verbose=", true),
            ("", false),
            ("verboser", false),
        ] {
            assert_eq!(asks_for_verbose(query), verbose, "{query}");
        }
    }
}
