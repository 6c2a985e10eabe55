//! What the head of a webhook decides, before a byte of its body is read.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, UPGRADE};
use actix_web::http::{Method, StatusCode, Version};

use super::address::{self, Address};
use super::auth::{self, Entry, Head};
use super::body::{self, Bounds};
use super::encoding::Encoding;
use super::problem::{self, Problem, Slug};
use super::source::Source;
use crate::minchat::Kind;

static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A head that was let in. Only [`Admitted::by_head`] makes one, and only with one is a body read.
pub(super) struct Admitted<'a> {
    /// The kind that the URL says.
    pub(super) said: Option<Kind>,
    pub(super) encoding: Encoding,
    /// The length that the head declares.
    pub(super) declared: Option<u64>,
    pub(super) dry_run: bool,
    /// Whether its signature, which the body is needed for, has yet to let it in.
    pub(super) once_signed: bool,
    pub(super) head: Head<'a>,
}

impl<'a> Admitted<'a> {
    /// The checks, in the order that the contract names.
    pub(super) fn by_head(
        source: &Source,
        address: &Address<'_>,
        request: &'a HttpRequest,
        bounds: &Bounds,
    ) -> Result<Self, Problem> {
        let head = Head::of(request);
        let headers: &HeaderMap = head.headers;
        if request.method() != Method::POST {
            return Err(Problem::method_not_allowed("POST"));
        }
        let once_signed = match source.doors.entry(&head) {
            Entry::Granted => false,
            Entry::OnceSigned => true,
            Entry::Denied => return Err(source.turned_away(&head)),
            Entry::Elsewhere => return Err(source.turned_away_from_there(&head)),
        };
        let said = said_kind(address)?;
        let dry_run = address.dry_run()?;
        address::no_dry_run_by_header(headers)?;
        let encoding = Encoding::of(headers)?;
        let declared = body::declared(headers);
        bounds.admit(declared)?;
        Ok(Self {
            said,
            encoding,
            declared,
            dry_run,
            once_signed,
            head,
        })
    }

    /// The address of the client, if a signature has yet to let the request in.
    pub(super) fn unverified_client(&self, source: &Source) -> Option<IpAddr> {
        let address = source.doors.origin(&self.head).or(self.head.peer);
        self.once_signed
            .then(|| address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// Lets in by its signature what was not by its head. The webhook's id, if that is signed too.
    pub(super) fn by_signature(
        &self,
        source: &Source,
        wire: &[u8],
    ) -> Result<Option<&'a str>, Problem> {
        if !self.once_signed {
            return Ok(None);
        }
        let signed = source.doors.signed(&self.head, wire);
        let signed = signed.ok_or_else(|| source.turned_away(&self.head))?;
        if !source.doors.allows_origin(&self.head) {
            return Err(source.turned_away_from_there(&self.head));
        }
        source.take_one()?;
        Ok(signed.webhook_id)
    }

    /// The request's `content-type`, if it has exactly one. It decides nothing.
    pub(super) fn content_type(&self) -> Option<&'a str> {
        auth::only(self.head.headers, CONTENT_TYPE.as_str())
    }

    /// Whether the `content-type` names something else than JSON, or is there twice. It is counted; without one, nothing
    /// was named.
    pub(super) fn has_odd_type(&self) -> bool {
        self.head.headers.contains_key(CONTENT_TYPE) && !self.content_type().is_some_and(is_json)
    }

    /// The request's `traceparent`. Of several, none counts (W3C Trace Context, section 3.2).
    pub(super) fn traceparent(&self) -> Option<&'a str> {
        auth::only(self.head.headers, "traceparent")
    }

    /// The request's `tracestate`. Several are one list, in their order (W3C Trace Context, section 3.3).
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

/// Whether a media type is one of JSON's (RFC 8259; RFC 6839 for the suffix), whatever its parameters.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    let suffix = essence.rsplit_once('+').map(|(_, suffix)| suffix);
    is("application/json")
        || is("text/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
}

fn said_kind(address: &Address<'_>) -> Result<Option<Kind>, Problem> {
    let known = |name| {
        Kind::from_url(name).ok_or(Problem::new(
            Slug::UnknownKind,
            "the URL names a kind that there is not",
        ))
    };
    address.kind.map(known).transpose()
}

/// What the server lets pass, and is no request for all that: a head over `http.head_size`; one without exactly one
/// host (RFC 9112, section 3.2); one that asks for a WebSocket, whose `content-length` actix-http 3.20 ignores.
pub(super) fn refused_head(request: &HttpRequest, most: usize) -> Option<StatusCode> {
    if head_size(request) > most {
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

/// Whether this can be a host, perhaps with a port (RFC 9110, section 7.2): it has no byte that one never has.
fn is_host(host: &[u8]) -> bool {
    let is_allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
    host.iter().all(is_allowed)
}

/// Bytes of a request's line and headers, about as they came.
fn head_size(request: &HttpRequest) -> usize {
    const COLON_SPACE_AND_LINE_END: usize = 4;
    let uri = request.uri();
    let line = uri.path().len() + uri.query().map_or(0, str::len);
    let headers = request.headers().iter();
    headers.fold(line, |size, (name, value)| {
        size + name.as_str().len() + value.len() + COLON_SPACE_AND_LINE_END
    })
}
