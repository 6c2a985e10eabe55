//! Builds responses: their JSON bodies, and the headers that every response has.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The body of a response while it is written. It remembers the position of the request's id, so that the header
/// `x-request-id` can share these bytes.
pub(super) struct AnswerBody {
    body: Vec<u8>,
    request_id: usize,
}

impl AnswerBody {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            body: Vec::with_capacity(capacity),
            request_id: 0,
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.body.extend_from_slice(text.as_bytes());
    }

    /// Writes a value as JSON.
    pub(super) fn json(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut self.body, value)
            .expect("texts and lists of them are always JSON");
    }

    pub(super) fn uuid(&mut self, id: Uuid) {
        let mut text = Uuid::encode_buffer();
        self.text(id.hyphenated().encode_lower(&mut text));
    }

    /// Writes the id of this request, and remembers its position.
    pub(super) fn request_id(&mut self, id: Uuid) {
        self.request_id = self.body.len();
        self.uuid(id);
    }
}

/// Returns a response with this body, which must contain the request's id.
pub(super) fn respond(
    status: StatusCode,
    content_type: &'static str,
    written: AnswerBody,
) -> HttpResponse {
    let body = Bytes::from(written.body);
    let request_id =
        body.slice(written.request_id..written.request_id + uuid::fmt::Hyphenated::LENGTH);
    let mut response = with_request_id(status, request_id, body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Returns a response without a body. The id of the request is in the header only.
pub(super) fn respond_empty(status: StatusCode, id: Uuid) -> HttpResponse {
    let mut written = AnswerBody::with_capacity(uuid::fmt::Hyphenated::LENGTH);
    written.request_id(id);
    with_request_id(status, Bytes::from(written.body), Bytes::new())
}

fn with_request_id(status: StatusCode, request_id: Bytes, body: Bytes) -> HttpResponse {
    let request_id = HeaderValue::from_maybe_shared(request_id)
        .expect("hexadecimal digits and hyphens are a header's value");
    let mut response = HttpResponse::with_body(status, body).map_into_boxed_body();
    response
        .headers_mut()
        .insert(X_REQUEST_ID.clone(), request_id);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
