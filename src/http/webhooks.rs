//! The way of one webhook through this room: from its head to its answer.

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
use super::address::Address;
use super::admit::{Admitted, refused_head};
use super::body::{self, Bounds};
use super::connection::{self, Connection};
use super::encoding::Unpacked;
use super::limits::{Flight, InFlight};
use super::phase::{Phase, SharedPhase};
use super::problem::{Problem, Slug};
use super::source::{Source, Sources};
use super::strangers::Strangers;
use crate::delivery::{Delivering, Generation, Port, Receipt, Refused};
use crate::envelope::{Event, Received};
use crate::metrics::{Endpoint, Metrics};
use crate::minchat::{self, Drift, Kind, Malformed, Payload as Read};
use crate::telemetry::panics;

/// What all workers of the webhook listener share.
pub(super) struct Listener {
    pub(super) sources: Arc<Sources>,
    pub(super) bounds: Bounds,
    pub(super) head_size: usize,
    pub(super) success: StatusCode,
    pub(super) in_flight: InFlight,
    pub(super) strangers: Strangers,
    pub(super) phase: Arc<SharedPhase>,
    pub(super) metrics: Arc<Metrics>,
}

/// One worker's desk, where webhooks are taken in.
pub(super) struct Desk {
    pub(super) listener: Arc<Listener>,
    pub(super) port: Port,
}

/// What a webhook was posted to, from its head to its delivery, whatever is loaded meanwhile.
#[derive(Clone, Copy)]
struct At<'a> {
    source: &'a Source,
    generation: &'a Generation,
}

/// What a body became, in its envelope.
enum Sealed {
    Event(Event, Kind),
    /// It would be larger than the bridge can hold: its dead letter.
    TooLarge(Event, Kind),
    DeadLetter(Event, Malformed),
}

/// Answers one request, whatever it is. A bug costs the request that it happened to, and nothing else.
pub(super) async fn answer(
    desk: Rc<Desk>,
    request: HttpRequest,
    mut payload: Payload,
) -> HttpResponse {
    let connection = connection::of(&request);
    let has_body = !matches!(payload, Payload::None);
    connection.begin_request(&request, has_body);
    let began = Instant::now();
    let address = Address::of(request.uri());
    let handled = {
        let handling = pin!(desk.answer(address, &request, connection, &mut payload));
        panics::contained_future(handling).await
    };
    let mut response = handled.unwrap_or_else(|_| desk.has_a_bug(address));
    connection.end_request(&mut response);
    let endpoint = address.map_or(Endpoint::Other, |_| Endpoint::Webhooks);
    desk.listener
        .metrics
        .request_finished(endpoint, response.status().as_u16(), began.elapsed());
    response
}

/// As the server answers what is no request.
fn without_body(status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::new(status);
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    response
}

impl Desk {
    /// What of the payload is not read when this ends is never read: the connection is closed after the answer.
    async fn answer(
        &self,
        address: Option<Address<'_>>,
        request: &HttpRequest,
        connection: &Connection,
        payload: &mut Payload,
    ) -> HttpResponse {
        if let Some(status) = refused_head(request, self.listener.head_size) {
            return without_body(status);
        }
        let serving = self.listener.sources.current();
        let source = address.and_then(|address| serving.source(address.source));
        let outcome = match (address, source) {
            (Some(address), Some(source)) => {
                let at = At {
                    source,
                    generation: &serving.generation,
                };
                self.receive(at, &address, request, connection, payload)
                    .await
            }
            _ => Err(Problem::new(
                Slug::UnknownSource,
                "webhooks are posted to /webhooks/ and the name of a source",
            )),
        };
        if let Err(problem) = &outcome {
            self.listener.rejected(address, source, problem);
        }
        self.listener.respond(outcome)
    }

    /// Answers a request whose handler panicked.
    fn has_a_bug(&self, address: Option<Address<'_>>) -> HttpResponse {
        let serving = self.listener.sources.current();
        let source = address.and_then(|address| serving.source(address.source));
        let problem = Problem::new(Slug::Internal, "this is a bug; the event is not promised");
        self.listener.rejected(address, source, &problem);
        self.listener.respond(Err(problem))
    }

    /// The stages of a webhook. Between the last byte of its body and its delivery nothing is
    /// waited for, so that a client that hangs up can't tear an event.
    async fn receive(
        &self,
        at: At<'_>,
        address: &Address<'_>,
        request: &HttpRequest,
        connection: &Connection,
        payload: &mut Payload,
    ) -> Result<Accepted, Problem> {
        let (listener, source) = (&*self.listener, at.source);
        let admitted = Admitted::by_head(source, address, request, &listener.bounds)?;
        let needs_credentials = !source.doors.is_open();
        if needs_credentials && !admitted.once_signed {
            connection.authenticated();
        }
        let mut flight = listener.begin(source, &admitted)?;
        if !admitted.once_signed {
            source.take_one()?;
        }
        let wire = body::read(payload, admitted.declared, &listener.bounds, &mut flight).await?;
        connection.body_read();
        let sealed = listener.take_in(at, &admitted, wire, &mut flight)?;
        if needs_credentials {
            connection.authenticated();
        }
        if admitted.dry_run {
            return rehearse(at.generation, sealed);
        }
        let (answer, promised) = self.deliver(at, sealed);
        match answer.await {
            Ok(receipt) => promised.kept(source, receipt),
            Err(why) => Err(refused(&why).of_event(promised.id)),
        }
    }

    /// Gives what is sealed to its lanes. Not itself waiting: the request's future would have room for an event, too.
    fn deliver(&self, at: At<'_>, sealed: Sealed) -> (Delivering, Promised) {
        let (event, what) = match sealed {
            Sealed::Event(event, kind) => (event, What::Event(kind)),
            Sealed::TooLarge(event, kind) => (event, What::TooLarge(kind)),
            Sealed::DeadLetter(event, why) => (event, What::Malformed(why)),
        };
        let id = event.id();
        let answer = self.port.deliver(at.generation, event);
        (answer, Promised { id, what })
    }
}

/// What was given to its lanes, for its answer.
struct Promised {
    id: Uuid,
    what: What,
}

enum What {
    Event(Kind),
    TooLarge(Kind),
    Malformed(Malformed),
}

impl Promised {
    fn kept(self, source: &Source, receipt: Receipt) -> Result<Accepted, Problem> {
        let (id, name) = (self.id, source.name.as_str());
        let receipt = match self.what {
            What::TooLarge(_) => Receipt::DeadLettered,
            _ => receipt,
        };
        match self.what {
            What::Event(kind) | What::TooLarge(kind) => {
                source.counts.accepted(kind, receipt);
                tracing::debug!(source = name, kind = kind.name(), %id, receipt = receipt.name(), "accepted");
                Ok(Accepted::event(id, kind, receipt))
            }
            What::Malformed(why) => {
                tracing::debug!(source = name, %id, %why, "dead-lettered");
                Err(Problem::malformed(&why).dead_lettered(id))
            }
        }
    }
}

impl Listener {
    /// Counts a webhook that was refused. What was posted elsewhere is none.
    fn rejected(&self, address: Option<Address<'_>>, source: Option<&Source>, why: &Problem) {
        let slug = why.slug().name();
        match source {
            Some(source) => source.counts.rejected(slug),
            None if address.is_some() => self.metrics.webhook_without_source(slug),
            None => {}
        }
    }

    /// Takes a request in, if the bridge stays and no limit is reached.
    fn begin(&self, source: &Source, admitted: &Admitted<'_>) -> Result<Flight<'_>, Problem> {
        if self.phase.get() == Phase::Stopping {
            return Err(refused(&Refused::Stopping));
        }
        self.in_flight.begin(admitted.unverified_client(source))
    }

    /// What follows a body's last byte, up to its delivery.
    fn take_in(
        &self,
        at: At<'_>,
        admitted: &Admitted<'_>,
        wire: Bytes,
        flight: &mut Flight<'_>,
    ) -> Result<Sealed, Problem> {
        let webhook_id = admitted.by_signature(at.source, &wire)?;
        let body = admitted.encoding.undo(wire, self.bounds.max, flight)?;
        self.seal(at, admitted, webhook_id, &body, flight)
    }

    /// Reads the body, and puts what it is in an envelope. What the envelope takes counts before it is written:
    /// normalization can make it many times as long as the body.
    fn seal(
        &self,
        at: At<'_>,
        admitted: &Admitted<'_>,
        webhook_id: Option<&str>,
        body: &Unpacked,
        flight: &mut Flight<'_>,
    ) -> Result<Sealed, Problem> {
        let tracestate = admitted.tracestate();
        let received = Received {
            source: at.source.place,
            said: admitted.said,
            content_type: admitted.content_type(),
            traceparent: admitted.traceparent(),
            tracestate: tracestate.as_deref(),
            webhook_id,
            body: body.bytes(),
            at: SystemTime::now(),
        };
        let sealer = at.generation.sealer();
        let read = body
            .whole()
            .and_then(|body| minchat::read(body, admitted.said));
        let payload = match read {
            Ok(payload) => payload,
            Err(why) => {
                let event = sealer.dead_letter(&received, &why);
                flight.hold_event(event.size())?;
                return Ok(Sealed::DeadLetter(event, why));
            }
        };
        let size = sealer.size_of(&received, &payload);
        let sealed = match at.generation.limits().check(size) {
            Ok(()) => {
                flight.hold_event(size.memory)?;
                Sealed::Event(sealer.seal(&received, &payload), payload.kind())
            }
            Err(why) => {
                let event = sealer.dead_letter_too_large(&received, &payload, why);
                flight.hold_event(event.size())?;
                Sealed::TooLarge(event, payload.kind())
            }
        };
        if !admitted.dry_run {
            self.count(at.source, admitted, &payload);
        }
        Ok(sealed)
    }

    fn count(&self, source: &Source, admitted: &Admitted<'_>, payload: &Read<'_>) {
        source.counts.received(payload.kind());
        let mut drift = payload.drift();
        if admitted.has_odd_type() {
            drift.insert(Drift::ContentType);
        }
        if !drift.is_empty() {
            self.metrics.drift(payload.kind(), drift);
            self.strangers.tell(payload);
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

/// What would have become of it.
fn rehearse(generation: &Generation, sealed: Sealed) -> Result<Accepted, Problem> {
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

    /// The server boxes each request's future with some words of its own. glibc keeps blocks of up to 1,032 bytes at
    /// hand for each thread (malloc's `tcache`).
    #[test]
    fn what_a_request_waits_with_is_small() {
        fn size<F>(_: impl FnOnce(Rc<Desk>, HttpRequest, Payload) -> F) -> usize {
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
