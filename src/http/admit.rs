//! What the head of a webhook decides, before a byte of its body is read.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};

use super::address::Address;
use super::auth::Head;
use super::body::{self, Bounds};
use super::encoding::Encoding;
use super::problem::{Problem, Slug};
use super::source::Source;
use crate::minchat::Kind;

/// A head that was let in. Only [`Admitted::by_head`] makes one, and only with one is a body read.
pub(super) struct Admitted<'a> {
    /// The kind that the URL says.
    pub(super) said: Option<Kind>,
    pub(super) encoding: Encoding,
    /// The length that the head declares.
    pub(super) declared: Option<u64>,
    pub(super) dry_run: bool,
    headers: &'a HeaderMap,
}

impl<'a> Admitted<'a> {
    /// The checks, in the order that the contract names.
    pub(super) fn by_head(
        source: &Source,
        address: &Address<'_>,
        request: &'a HttpRequest,
        bounds: &Bounds,
    ) -> Result<Self, Problem> {
        let headers = request.headers();
        if request.method() != Method::POST {
            return Err(Problem::method_not_allowed("POST"));
        }
        if !source.doors.let_in(&Head {
            headers,
            query: address.query,
        }) {
            return Err(Problem::new(
                Slug::Unauthorized,
                "credentials that the source takes are needed",
            ));
        }
        let said = said_kind(address)?;
        let encoding = Encoding::of(headers)?;
        let declared = body::declared(headers);
        bounds.admit(declared)?;
        Ok(Self {
            said,
            encoding,
            declared,
            dry_run: address.dry_run(),
            headers,
        })
    }

    /// The request's `content-type`. It decides nothing.
    pub(super) fn content_type(&self) -> Option<&'a str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }

    /// Whether the `content-type` names something else than JSON. It is counted; without one, nothing was named.
    pub(super) fn has_odd_type(&self) -> bool {
        self.headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| !value.to_str().is_ok_and(is_json))
    }

    /// The text of a header.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whether a media type is one of JSON's (RFC 8259; RFC 6839 for the suffix), whatever its parameters.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    ["application/json", "text/json"].contains(&&*essence) || essence.ends_with("+json")
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

/// Bytes of a request's line and headers, about as they came.
pub(super) fn head_size(request: &HttpRequest) -> usize {
    const COLON_SPACE_AND_LINE_END: usize = 4;
    let uri = request.uri();
    let line = uri.path().len() + uri.query().map_or(0, str::len);
    let headers = request.headers().iter();
    headers.fold(line, |size, (name, value)| {
        size + name.as_str().len() + value.len() + COLON_SPACE_AND_LINE_END
    })
}
