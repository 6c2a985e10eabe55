//! Answers to requests whose body was not read.
//!
//! Guarantees: what is left of the body is never taken for the next request, and no client can keep
//! a refused connection open by sending on.
//!
//! The server closes such a connection by itself, after a second in which it throws away what still
//! comes, so that the answer arrives. The exception are bodies without a declared length: as soon
//! as nobody holds their stream, they would be read to their end, however far that is. So the
//! answer holds on to the stream until it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use bytes::Bytes;

/// Makes the answer the connection's last one, unless the body was read to its end.
pub(super) fn close(response: HttpResponse, payload: Payload) -> HttpResponse {
    if matches!(payload, Payload::None) {
        return response;
    }
    response.map_body(|_, body| match body.try_into_bytes() {
        Ok(text) => BoxBody::new(Holding {
            text,
            _payload: payload,
        }),
        Err(body) => body,
    })
}

/// A body that keeps the request's stream alive as long as itself.
struct Holding {
    text: Bytes,
    _payload: Payload,
}

impl MessageBody for Holding {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.text.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        match self.text.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Ready(Some(Ok(std::mem::take(&mut self.text)))),
        }
    }
}
