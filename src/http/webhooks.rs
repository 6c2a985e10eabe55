//! Handles one webhook, from its head to its answer.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix_web::dev::Payload;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use uuid::Uuid;

use super::accepted::Accepted;
use super::admit::{Admitted, refused_head};
use super::body::{self, Bounds};
use super::connection::{self, Connection};
use super::encoding::Decoded;
use super::limits::{InFlight, Reservation};
use super::phase::{Phase, SharedPhase};
use super::problem::{Problem, Slug};
use super::source::{Source, Sources};
use super::unknown_keys::UnknownKeys;
use super::webhook_url::WebhookUrl;
use crate::delivery::{Delivering, Generation, Port, Receipt, Refused};
use crate::envelope::{Event, Received};
use crate::metrics::{Endpoint, Metrics};
use crate::minchat::{self, Drift, Kind, Malformed, Payload as ParsedPayload};
use crate::telemetry::panics;

/// What all workers of the webhook listener share.
pub(super) struct Listener {
    pub(super) sources: Arc<Sources>,
    pub(super) bounds: Bounds,
    pub(super) head_size: usize,
    pub(super) success: StatusCode,
    pub(super) in_flight: InFlight,
    pub(super) unknown_keys: UnknownKeys,
    pub(super) phase: Arc<SharedPhase>,
    pub(super) metrics: Arc<Metrics>,
}

/// Answers the webhooks that one worker thread receives.
pub(super) struct WebhookService {
    pub(super) listener: Arc<Listener>,
    pub(super) port: Port,
}

/// The source that a webhook was posted to, and the configuration that the webhook keeps from its head to its delivery,
/// even if a new configuration is loaded meanwhile.
#[derive(Clone, Copy)]
struct RequestContext<'a> {
    source: &'a Source,
    generation: &'a Generation,
}

/// The event or dead letter that a body has become, in its envelope.
enum Sealed {
    Event(Event, Kind),
    /// The event's envelope would be larger than the bridge can hold. This is its dead letter.
    TooLarge(Event, Kind),
    DeadLetter(Event, Malformed),
}

/// Answers one request, whatever it contains. If the handler panics, this request alone gets a 500.
pub(super) async fn answer(
    service: Rc<WebhookService>,
    request: HttpRequest,
    mut payload: Payload,
) -> HttpResponse {
    let connection = connection::of(&request);
    let has_body = !matches!(payload, Payload::None);
    connection.begin_request(&request, has_body);
    let began = Instant::now();
    let url = WebhookUrl::of(request.uri());
    let handled = {
        let handling = pin!(service.answer(url, &request, connection, &mut payload));
        panics::contained_future(handling).await
    };
    let mut response = handled.unwrap_or_else(|_| service.answer_panic(url));
    connection.end_request(&mut response);
    let endpoint = url.map_or(Endpoint::Other, |_| Endpoint::Webhooks);
    service.listener.metrics.request_finished(
        endpoint,
        response.status().as_u16(),
        began.elapsed(),
    );
    response
}

/// An answer without a body, like the one that actix-http gives to a head that it cannot parse.
fn without_body(status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::new(status);
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    response
}

impl WebhookService {
    /// Answers a request. If this returns before the whole payload was read, the rest is never read: the connection is
    /// closed after the answer.
    async fn answer(
        &self,
        url: Option<WebhookUrl<'_>>,
        request: &HttpRequest,
        connection: &Connection,
        payload: &mut Payload,
    ) -> HttpResponse {
        if let Some(status) = refused_head(request, self.listener.head_size) {
            return without_body(status);
        }
        let configured = self.listener.sources.current();
        let source = url.and_then(|url| configured.source(url.source));
        let outcome = match (url, source) {
            (Some(url), Some(source)) => {
                let context = RequestContext {
                    source,
                    generation: &configured.generation,
                };
                self.receive(context, &url, request, connection, payload)
                    .await
            }
            _ => Err(Problem::new(
                Slug::UnknownSource,
                "webhooks are posted to /webhooks/ and the name of a source",
            )),
        };
        if let Err(problem) = &outcome {
            self.listener.count_rejected(url, source, problem);
        }
        self.listener.respond(outcome)
    }

    /// Answers a request whose handler panicked.
    fn answer_panic(&self, url: Option<WebhookUrl<'_>>) -> HttpResponse {
        let configured = self.listener.sources.current();
        let source = url.and_then(|url| configured.source(url.source));
        let problem = Problem::new(Slug::Internal, "this is a bug; the event is not promised");
        self.listener.count_rejected(url, source, &problem);
        self.listener.respond(Err(problem))
    }

    /// Takes a webhook through its stages. There is no `await` between the last byte of the body and the hand-over to
    /// delivery, so a client that disconnects cannot interrupt that part.
    async fn receive(
        &self,
        context: RequestContext<'_>,
        url: &WebhookUrl<'_>,
        request: &HttpRequest,
        connection: &Connection,
        payload: &mut Payload,
    ) -> Result<Accepted, Problem> {
        let (listener, source) = (&*self.listener, context.source);
        let admitted = Admitted::by_head(source, url, request, &listener.bounds)?;
        let needs_credentials = !source.authenticator.is_open();
        if needs_credentials && !admitted.needs_signature {
            connection.authenticated();
        }
        let mut reservation = listener.begin(source, &admitted)?;
        if !admitted.needs_signature {
            source.check_rate_limit()?;
        }
        let content_length = admitted.content_length;
        let wire = body::read(payload, content_length, &listener.bounds, &mut reservation).await?;
        connection.body_read();
        let sealed = listener.verify_and_seal(context, &admitted, wire, &mut reservation)?;
        if admitted.needs_signature {
            connection.authenticated();
        }
        if admitted.dry_run {
            return dry_run_answer(context.generation, sealed);
        }
        let (delivering, pending) = self.deliver(context, sealed);
        match delivering.await {
            Ok(receipt) => pending.with_receipt(source, receipt),
            Err(why) => Err(refused(&why).of_event(pending.id)),
        }
    }

    /// Hands the event or dead letter to its lanes. This is not an `async fn`, so that the future of the request does
    /// not need room for an event.
    fn deliver(&self, context: RequestContext<'_>, sealed: Sealed) -> (Delivering, PendingAnswer) {
        let (event, content) = match sealed {
            Sealed::Event(event, kind) => (event, Content::Event(kind)),
            Sealed::TooLarge(event, kind) => (event, Content::TooLarge(kind)),
            Sealed::DeadLetter(event, why) => (event, Content::Malformed(why)),
        };
        let id = event.id();
        let delivering = self.port.deliver(context.generation, event);
        (delivering, PendingAnswer { id, content })
    }
}

/// What the answer needs to know of an event or dead letter that was handed to its lanes.
struct PendingAnswer {
    id: Uuid,
    content: Content,
}

/// The variants of [`Sealed`], without the event.
enum Content {
    Event(Kind),
    TooLarge(Kind),
    Malformed(Malformed),
}

impl PendingAnswer {
    /// Counts and answers a webhook that delivery has given a receipt for.
    fn with_receipt(self, source: &Source, receipt: Receipt) -> Result<Accepted, Problem> {
        let (id, name) = (self.id, source.name.as_str());
        let receipt = match self.content {
            Content::TooLarge(_) => Receipt::DeadLettered,
            _ => receipt,
        };
        match self.content {
            Content::Event(kind) | Content::TooLarge(kind) => {
                source.counts.accepted(kind, receipt);
                tracing::debug!(source = name, kind = kind.name(), %id, receipt = receipt.name(), "accepted");
                Ok(Accepted::event(id, kind, receipt))
            }
            Content::Malformed(why) => {
                tracing::debug!(source = name, %id, %why, "dead-lettered");
                Err(Problem::malformed(&why).dead_lettered(id))
            }
        }
    }
}

impl Listener {
    /// Counts a webhook that was refused. A request to another path than `/webhooks/` is not a webhook and is not
    /// counted here.
    fn count_rejected(&self, url: Option<WebhookUrl<'_>>, source: Option<&Source>, why: &Problem) {
        let slug = why.slug().name();
        match source {
            Some(source) => source.counts.rejected(slug),
            None if url.is_some() => self.metrics.webhook_without_source(slug),
            None => {}
        }
    }

    /// Counts a request as in flight, unless the bridge is stopping or a limit is reached.
    fn begin(&self, source: &Source, admitted: &Admitted<'_>) -> Result<Reservation<'_>, Problem> {
        if self.phase.get() == Phase::Stopping {
            return Err(refused(&Refused::Stopping));
        }
        self.in_flight.begin(admitted.unverified_client(source))
    }

    /// The stages between the last byte of the body and its delivery: signature, content-encoding, envelope.
    fn verify_and_seal(
        &self,
        context: RequestContext<'_>,
        admitted: &Admitted<'_>,
        wire: Bytes,
        reservation: &mut Reservation<'_>,
    ) -> Result<Sealed, Problem> {
        let webhook_id = admitted.by_signature(context.source, &wire)?;
        let body = admitted
            .encoding
            .decode(wire, self.bounds.max, reservation)?;
        self.seal(context, admitted, webhook_id, &body, reservation)
    }

    /// Parses the body and makes an event or a dead letter of it. The memory of an event is reserved before its envelope
    /// is written, because normalization can make the envelope many times as long as the body.
    fn seal(
        &self,
        context: RequestContext<'_>,
        admitted: &Admitted<'_>,
        webhook_id: Option<&str>,
        body: &Decoded,
        reservation: &mut Reservation<'_>,
    ) -> Result<Sealed, Problem> {
        let tracestate = admitted.tracestate();
        let received = Received {
            source: context.source.index,
            said: admitted.url_kind,
            content_type: admitted.content_type(),
            traceparent: admitted.traceparent(),
            tracestate: tracestate.as_deref(),
            webhook_id,
            body: body.bytes(),
            at: SystemTime::now(),
        };
        let sealer = context.generation.sealer();
        let parsed = body
            .whole()
            .and_then(|body| minchat::read(body, admitted.url_kind));
        let payload = match parsed {
            Ok(payload) => payload,
            Err(why) => {
                let event = sealer.dead_letter(&received, &why);
                reservation.reserve_event(event.size())?;
                return Ok(Sealed::DeadLetter(event, why));
            }
        };
        let size = sealer.size_of(&received, &payload);
        let sealed = match context.generation.limits().check(size) {
            Ok(()) => {
                reservation.reserve_event(size.memory)?;
                Sealed::Event(sealer.seal(&received, &payload), payload.kind())
            }
            Err(why) => {
                let event = sealer.dead_letter_too_large(&received, &payload, why);
                reservation.reserve_event(event.size())?;
                Sealed::TooLarge(event, payload.kind())
            }
        };
        if !admitted.dry_run {
            self.count_received(context.source, admitted, &payload);
        }
        Ok(sealed)
    }

    fn count_received(
        &self,
        source: &Source,
        admitted: &Admitted<'_>,
        payload: &ParsedPayload<'_>,
    ) {
        source.counts.received(payload.kind());
        let mut drift = payload.drift();
        if admitted.has_odd_type() {
            drift.insert(Drift::ContentType);
        }
        if !drift.is_empty() {
            self.metrics.drift(payload.kind(), drift);
            self.unknown_keys.log_new(payload);
        }
    }

    fn respond(&self, outcome: Result<Accepted, Problem>) -> HttpResponse {
        let mut response = match outcome {
            Ok(accepted) => accepted.into_response(self.success),
            Err(problem) => problem.into_response(),
        };
        if self.phase.get() != Phase::Serving {
            response
                .head_mut()
                .set_connection_type(ConnectionType::Close);
        }
        response
    }
}

/// The answer to a dry run: the envelope that would have been published, and where.
fn dry_run_answer(generation: &Generation, sealed: Sealed) -> Result<Accepted, Problem> {
    match sealed {
        Sealed::Event(event, kind) | Sealed::TooLarge(event, kind) => {
            let destinations = generation.destinations(&event);
            let destinations = destinations.map(ToString::to_string);
            Ok(Accepted::dry_run(&event, kind, destinations.collect()))
        }
        Sealed::DeadLetter(_, why) => Err(Problem::malformed(&why)),
    }
}

fn refused(why: &Refused) -> Problem {
    match why {
        Refused::Unavailable => Problem::unavailable(
            Slug::StorageUnavailable,
            "nothing took the event in time; it may still be published once",
            5,
        ),
        Refused::Stopping => Problem::unavailable(
            Slug::Stopping,
            "another replica, or this one soon again, takes it",
            5,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// actix-web boxes the future of each request together with some words of its own. glibc caches freed blocks of up
    /// to 1,032 bytes for each thread (the `tcache` of malloc), so a larger future would be slower to allocate.
    #[test]
    fn what_a_request_waits_with_is_small() {
        fn size<F>(_: impl FnOnce(Rc<WebhookService>, HttpRequest, Payload) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(answer) <= 896, "{} bytes", size(answer));
    }

    #[test]
    fn each_refusal_of_delivery_has_its_problem() {
        assert_eq!(
            refused(&Refused::Unavailable).slug(),
            Slug::StorageUnavailable
        );
        assert_eq!(refused(&Refused::Stopping).slug(), Slug::Stopping);
    }
}
