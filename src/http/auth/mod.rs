//! Checks who may post to a source.
//!
//! Guarantees: a request passes only with a good credential of one scheme; the time of a check depends on the number of
//! credentials, never on how much of a credential was right.
//! Not responsible for: the answer to a refused request (`problem`), and which source a request is for (`webhooks`).
//!
//! A source has a list of schemes, and one that accepts the request is enough. Schemes that need only the head (tokens,
//! mTLS) are checked before a byte of the body is read. Signatures are checked when the body is complete, over its
//! bytes as received; a head whose signature cannot be valid, for example because its timestamp is too old, is refused
//! before the body is read.
//!
//! A request is refused if something that a scheme of the source reads is there more than once (a header with a
//! credential, a signature, an id or a timestamp, or `?token=`), even if it also has a good credential. A proxy in
//! front may have checked one value where the bridge would check another.
//!
//! `allow_from` restricts the addresses of clients in addition. It is checked last, so that only a client with good
//! credentials learns that its address is the reason.

mod hmac;
mod origin;
mod signature;
pub(super) mod standard_webhooks;
mod tokens;

use std::net::IpAddr;
use std::time::SystemTime;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use super::certificate_name::CertificateName;
use super::connection::Connection;
use super::settings::SourceSettings;
use super::tls::ClientCertificate;
use hmac::HmacScheme;
use origin::Origin;
use standard_webhooks::StandardWebhooks;
use tokens::Tokens;

/// The schemes of one source, and the addresses that may use them.
pub(super) struct Authenticator {
    origin: Origin,
    schemes: Vec<AuthScheme>,
}

/// One scheme.
enum AuthScheme {
    /// Everybody may post. The configuration has to say so explicitly (`none: true`).
    Open,
    /// A shared token, in a header or in the URL.
    Tokens(Tokens),
    /// An HMAC of the body.
    Hmac(HmacScheme),
    /// A signature by Standard Webhooks.
    StandardWebhooks(StandardWebhooks),
    /// A client certificate with one of these names, or any certificate if the list is empty.
    Mtls(Vec<CertificateName>),
}

/// The parts of a head that can have a credential, and what they are checked against.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) headers: &'a HeaderMap,
    /// The raw query of the URL.
    pub(super) query: Option<&'a str>,
    /// The address of the other end of the connection.
    pub(super) peer: Option<IpAddr>,
    /// The client certificate of the connection.
    pub(super) certificate: Option<&'a ClientCertificate>,
    /// When the head arrived, in seconds since 1970.
    pub(super) now: i64,
}

/// What the head of a request is sufficient for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthDecision {
    /// It has a good credential, and the address is allowed.
    Granted,
    /// It has no other good credential, but a signature that can be checked when the body is complete.
    NeedsSignature,
    /// It has no good credential, or has something twice.
    Denied,
    /// It has a good credential, but its address is not in `allow_from`.
    ForbiddenOrigin,
}

impl<'a> Head<'a> {
    pub(super) fn of(request: &'a HttpRequest) -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            headers: request.headers(),
            query: request.uri().query(),
            peer: request.peer_addr().map(|peer| peer.ip()),
            certificate: request
                .conn_data::<Connection>()
                .and_then(Connection::certificate),
            now: since_1970.map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            }),
        }
    }
}

impl Authenticator {
    /// Whether everybody may post.
    pub(super) fn is_open(&self) -> bool {
        self.schemes
            .iter()
            .any(|scheme| matches!(scheme, AuthScheme::Open))
    }

    pub(super) fn new(settings: &SourceSettings) -> Self {
        let auth = &settings.auth;
        let mut schemes = Vec::new();
        if auth.none {
            schemes.push(AuthScheme::Open);
        }
        if !auth.tokens.is_empty() {
            schemes.push(AuthScheme::Tokens(Tokens::new(&auth.tokens)));
        }
        schemes.extend(
            auth.hmac
                .as_ref()
                .map(|hmac| AuthScheme::Hmac(HmacScheme::new(hmac))),
        );
        let standard = auth.standard_webhooks.as_ref();
        schemes.extend(
            standard.map(|settings| AuthScheme::StandardWebhooks(StandardWebhooks::new(settings))),
        );
        schemes.extend(
            auth.mtls
                .as_ref()
                .map(|mtls| AuthScheme::Mtls(mtls.names.clone())),
        );
        Self {
            origin: Origin::new(&settings.allow_from, &settings.trusted_proxies),
            schemes,
        }
    }

    /// Decides by the head alone.
    pub(super) fn decide(&self, head: &Head<'_>) -> AuthDecision {
        if self.schemes.iter().any(|scheme| scheme.is_ambiguous(head)) {
            return AuthDecision::Denied;
        }
        let granted = self.schemes.iter().any(|scheme| match scheme {
            AuthScheme::Open => true,
            AuthScheme::Tokens(tokens) => tokens.pass(head),
            AuthScheme::Mtls(names) => head.certificate.is_some_and(|certificate| {
                (names.is_empty() || certificate.has_one_of(names))
                    && certificate.is_trusted(head.now)
            }),
            AuthScheme::Hmac(_) | AuthScheme::StandardWebhooks(_) => false,
        });
        let could_pass = || {
            self.schemes.iter().any(|scheme| match scheme {
                AuthScheme::Open | AuthScheme::Tokens(_) | AuthScheme::Mtls(_) => false,
                AuthScheme::Hmac(hmac) => hmac.could_pass(head),
                AuthScheme::StandardWebhooks(standard) => standard.could_pass(head),
            })
        };
        match granted {
            true if self.allows_origin(head) => AuthDecision::Granted,
            true => AuthDecision::ForbiddenOrigin,
            false if could_pass() => AuthDecision::NeedsSignature,
            false => AuthDecision::Denied,
        }
    }

    /// Checks the signature over the body as received. Returns `None` if no signature is valid.
    pub(super) fn signed<'h>(&self, head: &Head<'h>, wire: &[u8]) -> Option<Signed<'h>> {
        self.schemes.iter().find_map(|scheme| match scheme {
            AuthScheme::Open | AuthScheme::Tokens(_) | AuthScheme::Mtls(_) => None,
            AuthScheme::Hmac(hmac) => hmac.pass(head, wire).then_some(Signed { webhook_id: None }),
            AuthScheme::StandardWebhooks(standard) => {
                let webhook_id = Some(standard.pass(head, wire)?);
                Some(Signed { webhook_id })
            }
        })
    }

    /// Whether the address of the client is allowed.
    pub(super) fn allows_origin(&self, head: &Head<'_>) -> bool {
        self.origin.allows(self.origin(head))
    }

    /// The address of the client. `None` if a trusted proxy has named none that can be read.
    pub(super) fn origin(&self, head: &Head<'_>) -> Option<IpAddr> {
        self.origin.of(head.peer, head.headers)
    }
}

impl AuthScheme {
    /// Whether something that this scheme reads is in the head more than once.
    fn is_ambiguous(&self, head: &Head<'_>) -> bool {
        match self {
            AuthScheme::Open | AuthScheme::Mtls(_) => false,
            AuthScheme::Tokens(_) => Tokens::is_ambiguous(head),
            AuthScheme::Hmac(hmac) => hmac.is_ambiguous(head),
            AuthScheme::StandardWebhooks(_) => StandardWebhooks::is_ambiguous(head),
        }
    }
}

/// The value of a header, if it is text. `None` if the header is there more than once, because it is not clear which
/// value counts.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name);
    let value = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(value)
}

/// Whether a header is there more than once.
fn is_repeated(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(name).nth(1).is_some()
}

/// What a valid signature covers besides the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed<'h> {
    /// The id of the webhook, if the scheme signs one.
    pub(super) webhook_id: Option<&'h str>,
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    /// A header map with these headers, in which a name may be repeated.
    pub(super) fn headers(sent: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let value = HeaderValue::from_str(value).expect("the tests use visible ASCII");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    /// A head with these headers that arrived at this time.
    pub(super) fn head_at(headers: &HeaderMap, now: i64) -> Head<'_> {
        Head {
            headers,
            query: None,
            peer: None,
            certificate: None,
            now,
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_none() {
        let once = headers(&[("x-signature", "a")]);
        let twice = headers(&[("x-signature", "a"), ("x-signature", "a")]);
        assert_eq!(only(&HeaderMap::new(), "x-signature"), None);
        assert_eq!(only(&once, "X-Signature"), Some("a"));
        assert_eq!(only(&twice, "x-signature"), None);
        assert!(!is_repeated(&HeaderMap::new(), "x-signature"));
        assert!(!is_repeated(&once, "X-Signature"));
        assert!(is_repeated(&twice, "X-Signature"));
    }
}
