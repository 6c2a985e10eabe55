//! All refusals as one table. This is the only place that names status codes.
//!
//! The answers have the format of RFC 9457. Their texts are fixed and contain nothing of the request, except the name
//! of an invalid parameter or header, which is escaped and cut.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use uuid::Uuid;

use super::answer::{self, AnswerBody};
use crate::minchat::Malformed;

/// The beginning of the `type` of a problem. It is a tag URI (RFC 4151): a name, not an address to fetch.
const TYPE: &str = "tag:minchat.io,2026:bridge:problem:";

/// Why a webhook was not accepted. The sender's fault is a 4xx, the bridge's or a broker's a 5xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slug {
    /// The body is not JSON, or is nested too deep.
    MalformedJson,
    /// A parameter or header about a dry run that is not clear and must not be ignored.
    InvalidParameter,
    /// No credentials, or wrong credentials.
    Unauthorized,
    /// Good credentials, but the address of the client is not allowed.
    Forbidden,
    /// The URL names no source.
    UnknownSource,
    /// The URL names a kind that does not exist.
    UnknownKind,
    /// The method is not allowed at this path.
    MethodNotAllowed,
    /// The body arrived too slowly, or ended early.
    BodyTimeout,
    /// The body is larger than `http.max_body`, or decompresses to too much.
    PayloadTooLarge,
    /// The content-encoding is not supported.
    UnsupportedEncoding,
    /// Too much is in flight, or the rate limit of the source is used up.
    TooManyRequests,
    /// A bug in the bridge.
    Internal,
    /// No destination took the event in time.
    StorageUnavailable,
    /// The bridge is shutting down.
    Stopping,
    /// The admin listener has nothing at this path. Webhooks are never refused with it.
    NotFound,
}

struct Row {
    slug: &'static str,
    status: StatusCode,
    title: &'static str,
}

impl Slug {
    /// All slugs, in the order of [`Slug::index`].
    pub const ALL: [Slug; 15] = [
        Slug::MalformedJson,
        Slug::InvalidParameter,
        Slug::Unauthorized,
        Slug::Forbidden,
        Slug::UnknownSource,
        Slug::UnknownKind,
        Slug::MethodNotAllowed,
        Slug::BodyTimeout,
        Slug::PayloadTooLarge,
        Slug::UnsupportedEncoding,
        Slug::TooManyRequests,
        Slug::Internal,
        Slug::StorageUnavailable,
        Slug::Stopping,
        Slug::NotFound,
    ];

    #[rustfmt::skip]
    const fn row(self) -> Row {
        let (slug, status, title) = match self {
            Slug::MalformedJson       => ("malformed-json",       StatusCode::BAD_REQUEST,            "The body is not JSON"),
            Slug::InvalidParameter    => ("invalid-parameter",    StatusCode::BAD_REQUEST,            "A parameter of the URL is invalid"),
            Slug::Unauthorized        => ("unauthorized",         StatusCode::UNAUTHORIZED,           "No or wrong credentials"),
            Slug::Forbidden           => ("forbidden",            StatusCode::FORBIDDEN,              "The address is not allowed"),
            Slug::UnknownSource       => ("unknown-source",       StatusCode::NOT_FOUND,              "No such source"),
            Slug::UnknownKind         => ("unknown-kind",         StatusCode::NOT_FOUND,              "No such kind"),
            Slug::MethodNotAllowed    => ("method-not-allowed",   StatusCode::METHOD_NOT_ALLOWED,     "The method is not allowed"),
            Slug::BodyTimeout         => ("body-timeout",         StatusCode::REQUEST_TIMEOUT,        "The body did not come in time"),
            Slug::PayloadTooLarge     => ("payload-too-large",    StatusCode::PAYLOAD_TOO_LARGE,      "The body is too large"),
            Slug::UnsupportedEncoding => ("unsupported-encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The content-encoding is not supported"),
            Slug::TooManyRequests     => ("too-many-requests",    StatusCode::TOO_MANY_REQUESTS,      "Too many requests"),
            Slug::Internal            => ("internal",             StatusCode::INTERNAL_SERVER_ERROR,  "The bridge failed"),
            Slug::StorageUnavailable  => ("storage-unavailable",  StatusCode::SERVICE_UNAVAILABLE,    "No broker took the event in time"),
            Slug::Stopping            => ("stopping",             StatusCode::SERVICE_UNAVAILABLE,    "The bridge is stopping"),
            Slug::NotFound            => ("not-found",            StatusCode::NOT_FOUND,              "Nothing is here"),
        };
        Row { slug, status, title }
    }

    /// The name in `type` and in metrics.
    pub const fn name(self) -> &'static str {
        self.row().slug
    }

    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        self.row().status.as_u16()
    }

    /// Whether a webhook can be refused with this slug.
    pub fn is_of_webhooks(self) -> bool {
        self != Slug::NotFound
    }

    /// The index in [`Slug::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The status of an accepted webhook: `http.success_status`.
pub(super) const fn success(status: u16) -> StatusCode {
    match status {
        200 => StatusCode::OK,
        204 => NO_BODY,
        _ => StatusCode::ACCEPTED,
    }
}

/// The status of an answer that has no body.
pub(super) const NO_BODY: StatusCode = StatusCode::NO_CONTENT;
/// The status of a successful probe, of a dry run, and of the other pages of the admin listener.
pub(super) const OK: StatusCode = StatusCode::OK;
/// The status of a failed probe.
pub(super) const NOT_READY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
/// The status for a head over `http.head_size`. The answer has no body, like that of actix-http to a head with too many
/// lines.
pub(super) const HEAD_TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;

/// An answer that the stream of a connection writes itself, because the head is not complete and so no handler runs.
pub(super) struct RawAnswer {
    pub(super) status: StatusCode,
    pub(super) bytes: &'static [u8],
}

/// The answer to a head that is too large. It may be incomplete.
pub(super) const HEAD_TOO_LARGE_ANSWER: RawAnswer = RawAnswer {
    status: HEAD_TOO_LARGE,
    bytes: b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
};

/// The answer to a head that was not complete within `http.header_timeout`.
pub(super) const HEAD_TIMEOUT_ANSWER: RawAnswer = RawAnswer {
    status: StatusCode::REQUEST_TIMEOUT,
    bytes: b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
};

/// The status for a head that is not a valid request. The answer has no body, like that of actix-http to a head that it
/// cannot parse.
pub(super) const BAD_HEAD: StatusCode = StatusCode::BAD_REQUEST;

/// One refusal, with what the sender needs to know.
#[derive(Debug)]
pub(super) struct Problem {
    slug: Slug,
    detail: Cow<'static, str>,
    allow: Option<&'static str>,
    retry_after: Option<u64>,
    dead_letter: Option<Uuid>,
    event: Option<Uuid>,
}

impl Problem {
    pub(super) const fn new(slug: Slug, detail: &'static str) -> Self {
        let detail = Cow::Borrowed(detail);
        Self {
            slug,
            detail,
            allow: None,
            retry_after: None,
            dead_letter: None,
            event: None,
        }
    }

    /// 405: the path allows these methods only.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(Slug::MethodNotAllowed, "the path does not take this method")
        }
    }

    /// 400: what is wrong with the body, and at which byte. The text contains nothing of the body.
    pub(super) fn malformed(why: &Malformed) -> Self {
        Self {
            detail: Cow::Owned(why.to_string()),
            ..Self::new(Slug::MalformedJson, "")
        }
    }

    /// 400: which parameter or header is invalid, and what would be valid.
    pub(super) fn invalid_parameter(detail: String) -> Self {
        Self {
            detail: Cow::Owned(detail),
            ..Self::new(Slug::InvalidParameter, "")
        }
    }

    /// 429: a limit is reached. The sender may retry after this many seconds.
    pub(super) fn too_many(detail: &'static str, retry_after: u64) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(Slug::TooManyRequests, detail)
        }
    }

    /// 503: the bridge cannot accept the webhook now. The sender may retry after this many seconds.
    pub(super) fn unavailable(slug: Slug, detail: &'static str, retry_after: u64) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(slug, detail)
        }
    }

    /// Adds that the body was published as a dead letter with this id.
    pub(super) fn dead_lettered(self, id: Uuid) -> Self {
        Self {
            dead_letter: Some(id),
            event: Some(id),
            ..self
        }
    }

    /// Uses the id of this event as the id of the request.
    pub(super) fn of_event(self, id: Uuid) -> Self {
        Self {
            event: Some(id),
            ..self
        }
    }

    pub(super) const fn slug(&self) -> Slug {
        self.slug
    }

    /// Builds the HTTP response.
    pub(super) fn into_response(self) -> HttpResponse {
        let row = self.slug.row();
        let mut response =
            answer::respond(row.status, "application/problem+json", self.written(&row));
        for (name, value) in self.headers().into_iter().flatten() {
            response.headers_mut().insert(name, value);
        }
        response
    }

    fn written(&self, row: &Row) -> AnswerBody {
        let mut body = AnswerBody::with_capacity(320);
        body.text("{\"type\":\"");
        body.text(TYPE);
        body.text(row.slug);
        body.text("\",\"title\":\"");
        body.text(row.title);
        body.text("\",\"status\":");
        body.text(row.status.as_str());
        body.text(",\"detail\":");
        body.json(&self.detail);
        body.text(",\"instance\":\"urn:uuid:");
        body.request_id(self.event.unwrap_or_else(Uuid::now_v7));
        if let Some(id) = self.dead_letter {
            body.text("\",\"dead_letter_id\":\"");
            body.uuid(id);
        }
        body.text("\"}");
        body
    }

    fn headers(&self) -> [Option<(HeaderName, HeaderValue)>; 2] {
        let own = match self.slug {
            Slug::MethodNotAllowed => self.allow.map(|methods| (header::ALLOW, methods)),
            Slug::Unauthorized => Some((header::WWW_AUTHENTICATE, "Bearer realm=\"webhooks\"")),
            Slug::UnsupportedEncoding => Some((header::ACCEPT_ENCODING, "gzip, zstd, identity")),
            _ => None,
        };
        [
            own.map(|(name, value)| (name, HeaderValue::from_static(value))),
            self.retry_after
                .map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    async fn answered(problem: Problem) -> (HttpResponse<()>, serde_json::Value) {
        let (response, body) = problem.into_response().into_parts();
        let body = to_bytes(body).await.unwrap_or_default();
        (
            response,
            serde_json::from_slice(&body).expect("a problem is JSON"),
        )
    }

    #[tokio::test]
    async fn every_problem_is_told_in_full() {
        for (place, slug) in Slug::ALL.into_iter().enumerate() {
            assert_eq!(slug.index(), place);
            let (response, body) = answered(Problem::new(slug, "why")).await;
            let instance = response
                .headers()
                .get("x-request-id")
                .and_then(|id| id.to_str().ok())
                .map(|id| format!("urn:uuid:{id}"));
            assert_eq!(
                body,
                serde_json::json!({
                    "type": format!("tag:minchat.io,2026:bridge:problem:{}", slug.name()),
                    "title": slug.row().title,
                    "status": response.status().as_u16(),
                    "detail": "why",
                    "instance": instance,
                })
            );
            assert_eq!(
                response.headers().get("content-type"),
                Some(&HeaderValue::from_static("application/problem+json"))
            );
            assert_eq!(
                response.headers().get("cache-control"),
                Some(&HeaderValue::from_static("no-store"))
            );
        }
    }

    #[tokio::test]
    async fn a_dead_letter_gives_the_request_its_id() {
        let id = Uuid::now_v7();
        let (_, body) = answered(Problem::new(Slug::MalformedJson, "why").dead_lettered(id)).await;
        assert_eq!(body["dead_letter_id"], id.to_string());
        assert_eq!(body["instance"], format!("urn:uuid:{id}"));
    }

    #[tokio::test]
    async fn what_a_status_asks_for_stands_in_a_header() {
        for (problem, name, value) in [
            (Problem::method_not_allowed("POST"), "allow", "POST"),
            (
                Problem::new(Slug::Unauthorized, ""),
                "www-authenticate",
                "Bearer realm=\"webhooks\"",
            ),
            (
                Problem::new(Slug::UnsupportedEncoding, ""),
                "accept-encoding",
                "gzip, zstd, identity",
            ),
            (Problem::too_many("", 7), "retry-after", "7"),
            (
                Problem::unavailable(Slug::Stopping, "", 5),
                "retry-after",
                "5",
            ),
        ] {
            let (response, _) = answered(problem).await;
            assert_eq!(
                response.headers().get(name).and_then(|v| v.to_str().ok()),
                Some(value),
                "{name}"
            );
        }
    }
}
