//! Checks the head of a webhook before a byte of its body is read.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, UPGRADE};
use actix_web::http::{Method, StatusCode, Version};

use super::auth::{self, AuthDecision, Head};
use super::body::{self, Bounds};
use super::encoding::Encoding;
use super::problem::{self, Problem, Slug};
use super::source::Source;
use super::webhook_url::{self, WebhookUrl};
use crate::minchat::Kind;

static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A head that has passed all checks. Only [`Admitted::by_head`] creates one, and a body is read only after that.
pub(super) struct Admitted<'a> {
    /// The kind in the URL.
    pub(super) url_kind: Option<Kind>,
    pub(super) encoding: Encoding,
    /// The `content-length` of the head.
    pub(super) content_length: Option<u64>,
    pub(super) dry_run: bool,
    /// Whether the request has shown no other good credential, so that [`Admitted::by_signature`] has to check its
    /// signature.
    pub(super) needs_signature: bool,
    pub(super) head: Head<'a>,
}

impl<'a> Admitted<'a> {
    /// Does the checks, in the order that the contract names.
    pub(super) fn by_head(
        source: &Source,
        url: &WebhookUrl<'_>,
        request: &'a HttpRequest,
        bounds: &Bounds,
    ) -> Result<Self, Problem> {
        let head = Head::of(request);
        let headers: &HeaderMap = head.headers;
        if request.method() != Method::POST {
            return Err(Problem::method_not_allowed("POST"));
        }
        let needs_signature = match source.authenticator.decide(&head) {
            AuthDecision::Granted => false,
            AuthDecision::NeedsSignature => true,
            AuthDecision::Denied => return Err(source.unauthorized(&head)),
            AuthDecision::ForbiddenOrigin => return Err(source.forbidden(&head)),
        };
        let url_kind = url_kind(url)?;
        let dry_run = url.dry_run()?;
        webhook_url::no_dry_run_by_header(headers)?;
        let encoding = Encoding::of(headers)?;
        let content_length = body::content_length(headers);
        bounds.admit(content_length)?;
        Ok(Self {
            url_kind,
            encoding,
            content_length,
            dry_run,
            needs_signature,
            head,
        })
    }

    /// The address of the client, if the signature of the request has to be checked. 0.0.0.0 if the address is not
    /// known.
    pub(super) fn unverified_client(&self, source: &Source) -> Option<IpAddr> {
        self.needs_signature.then(|| {
            let address = source.authenticator.origin(&self.head).or(self.head.peer);
            address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        })
    }

    /// Checks the signature, if the request needs one. Returns the id of the webhook, if the signature covers an id.
    pub(super) fn by_signature(
        &self,
        source: &Source,
        wire: &[u8],
    ) -> Result<Option<&'a str>, Problem> {
        if !self.needs_signature {
            return Ok(None);
        }
        let signed = source.authenticator.signed(&self.head, wire);
        let signed = signed.ok_or_else(|| source.unauthorized(&self.head))?;
        if !source.authenticator.allows_origin(&self.head) {
            return Err(source.forbidden(&self.head));
        }
        source.check_rate_limit()?;
        Ok(signed.webhook_id)
    }

    /// The `content-type` of the request, if it has exactly one. The request is handled the same whatever it is.
    pub(super) fn content_type(&self) -> Option<&'a str> {
        auth::only(self.head.headers, CONTENT_TYPE.as_str())
    }

    /// Whether the request has a `content-type` that is not JSON, or has more than one. Such requests are counted as
    /// drift.
    pub(super) fn has_odd_type(&self) -> bool {
        self.head.headers.contains_key(CONTENT_TYPE) && !self.content_type().is_some_and(is_json)
    }

    /// The `traceparent` of the request. If there are several, all are ignored (W3C Trace Context, section 3.2).
    pub(super) fn traceparent(&self) -> Option<&'a str> {
        auth::only(self.head.headers, "traceparent")
    }

    /// The `tracestate` of the request. Several are joined in their order (W3C Trace Context, section 3.3).
    pub(super) fn tracestate(&self) -> Option<Cow<'a, str>> {
        let lists = self.head.headers.get_all(&TRACESTATE);
        let lists: Option<Vec<&str>> = lists.map(|list| list.to_str().ok()).collect();
        match lists?[..] {
            [] => None,
            [list] => Some(Cow::Borrowed(list)),
            ref lists => Some(Cow::Owned(lists.join(","))),
        }
    }
}

/// Whether a media type is JSON (RFC 8259; RFC 6839 for the suffix). Parameters are ignored.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    let suffix = essence.rsplit_once('+').map(|(_, suffix)| suffix);
    is("application/json")
        || is("text/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
}

fn url_kind(url: &WebhookUrl<'_>) -> Result<Option<Kind>, Problem> {
    let known = |name| {
        Kind::from_url(name).ok_or(Problem::new(
            Slug::UnknownKind,
            "the URL names a kind that there is not",
        ))
    };
    url.kind.map(known).transpose()
}

/// Returns the status of the answer if actix-http accepts a head that has to be refused: a head over `http.head_size`;
/// a head without exactly one valid host (RFC 9112, section 3.2); a head that asks for a WebSocket, because actix-http
/// 3.20 ignores the `content-length` of such a request.
pub(super) fn refused_head(request: &HttpRequest, max: usize) -> Option<StatusCode> {
    if head_size(request) > max {
        return Some(problem::HEAD_TOO_LARGE);
    }
    let mut hosts = request.headers().get_all(HOST);
    let has_one_host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) => request.version() < Version::HTTP_11,
        _ => false,
    };
    let asks_for_websocket = request.headers().get_all(UPGRADE).any(|value| {
        let protocols = value.to_str().unwrap_or_default();
        protocols.to_ascii_lowercase().contains("websocket")
    });
    (!has_one_host || asks_for_websocket).then_some(problem::BAD_HEAD)
}

/// Whether this can be a host with or without a port (RFC 9110, section 7.2). Only the set of bytes is checked.
fn is_host(host: &[u8]) -> bool {
    let is_allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
    host.iter().all(is_allowed)
}

/// The approximate size in bytes of a request line and its headers.
fn head_size(request: &HttpRequest) -> usize {
    const COLON_SPACE_AND_LINE_END: usize = 4;
    let uri = request.uri();
    let line = uri.path().len() + uri.query().map_or(0, str::len);
    let headers = request.headers().iter();
    headers.fold(line, |size, (name, value)| {
        size + name.as_str().len() + value.len() + COLON_SPACE_AND_LINE_END
    })
}
