//! Who may post to a source.
//!
//! Guarantees: a request that no way lets in reaches nothing behind this room; what the check costs
//! depends on the number of credentials, never on how much of one was right.
//! Leaves to others: saying no (`problem`), and which source a request is for (`webhooks`).
//!
//! A source has a list of ways, and any one that passes is enough. A way that can tell from the head
//! is asked before a byte of the body is read. A way that needs the body, as a signature does, is
//! asked again once the bytes on the wire are there; a head without a signature that could pass is
//! turned away before.
//!
//! A request that carries twice what one of the source's ways reads (a header with a credential, a signature, an id or a
//! timestamp, or `?token=`) is turned away, whatever else it carries: a proxy in front may have looked at the other one.
//!
//! Where a request comes from narrows all of it. It is looked at last, so that only who has good credentials is told that
//! the address is the reason.

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
use hmac::HmacWay;
use origin::Origin;
use standard_webhooks::StandardWebhooks;
use tokens::Tokens;

/// The ways into one source.
pub(super) struct Doors {
    origin: Origin,
    ways: Vec<Way>,
}

/// One way to be let in.
enum Way {
    /// Everybody is: said out loud in the configuration.
    Open,
    /// A shared token, in one of the places that a token can stand.
    Tokens(Tokens),
    /// A signature of the body.
    Hmac(HmacWay),
    /// The same, by a standard.
    StandardWebhooks(StandardWebhooks),
    /// A client certificate, made out to one of these, or to whomever if there is none.
    Mtls(Vec<CertificateName>),
}

/// What of a request's head can carry a credential.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) headers: &'a HeaderMap,
    /// The raw query of the URL.
    pub(super) query: Option<&'a str>,
    /// The other end of the connection.
    pub(super) peer: Option<IpAddr>,
    /// The certificate that the other end has proved to own.
    pub(super) certificate: Option<&'a ClientCertificate>,
    /// When it came, in seconds since 1970.
    pub(super) now: i64,
}

/// What a head is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It lets the request in.
    Granted,
    /// It carries a signature, which can be judged with the body.
    OnceSigned,
    /// It carries no good credential.
    Denied,
    /// It carries a good credential, and comes from where the source takes no webhooks from.
    Elsewhere,
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

impl Doors {
    /// Whether the configuration lets everybody in.
    pub(super) fn is_open(&self) -> bool {
        self.ways.iter().any(|way| matches!(way, Way::Open))
    }

    pub(super) fn new(settings: &SourceSettings) -> Self {
        let auth = &settings.auth;
        let mut ways = Vec::new();
        if auth.none {
            ways.push(Way::Open);
        }
        if !auth.tokens.is_empty() {
            ways.push(Way::Tokens(Tokens::new(&auth.tokens)));
        }
        ways.extend(auth.hmac.as_ref().map(|hmac| Way::Hmac(HmacWay::new(hmac))));
        let standard = auth.standard_webhooks.as_ref();
        ways.extend(
            standard.map(|settings| Way::StandardWebhooks(StandardWebhooks::new(settings))),
        );
        ways.extend(auth.mtls.as_ref().map(|mtls| Way::Mtls(mtls.names.clone())));
        Self {
            origin: Origin::new(&settings.allow_from, &settings.trusted_proxies),
            ways,
        }
    }

    /// What the head alone is worth.
    pub(super) fn entry(&self, head: &Head<'_>) -> Entry {
        if self.ways.iter().any(|way| way.is_ambiguous(head)) {
            return Entry::Denied;
        }
        let granted = self.ways.iter().any(|way| match way {
            Way::Open => true,
            Way::Tokens(tokens) => tokens.pass(head),
            Way::Mtls(names) => head.certificate.is_some_and(|certificate| {
                (names.is_empty() || certificate.has_one_of(names)) && certificate.is_good(head.now)
            }),
            Way::Hmac(_) | Way::StandardWebhooks(_) => false,
        });
        let is_tried = || {
            self.ways.iter().any(|way| match way {
                Way::Open | Way::Tokens(_) | Way::Mtls(_) => false,
                Way::Hmac(hmac) => hmac.is_tried(head),
                Way::StandardWebhooks(standard) => standard.is_tried(head),
            })
        };
        match granted {
            true if self.allows_origin(head) => Entry::Granted,
            true => Entry::Elsewhere,
            false if is_tried() => Entry::OnceSigned,
            false => Entry::Denied,
        }
    }

    /// Whether a signature lets the request in, now that the bytes on the wire are there.
    pub(super) fn signed<'h>(&self, head: &Head<'h>, wire: &[u8]) -> Option<Signed<'h>> {
        self.ways.iter().find_map(|way| match way {
            Way::Open | Way::Tokens(_) | Way::Mtls(_) => None,
            Way::Hmac(hmac) => hmac.pass(head, wire).then_some(Signed { webhook_id: None }),
            Way::StandardWebhooks(standard) => {
                let webhook_id = Some(standard.pass(head, wire)?);
                Some(Signed { webhook_id })
            }
        })
    }

    /// Whether the source takes webhooks from where the request comes from.
    pub(super) fn allows_origin(&self, head: &Head<'_>) -> bool {
        self.origin.allows(self.origin(head))
    }

    /// The address that a request comes from, as far as that can be told.
    pub(super) fn origin(&self, head: &Head<'_>) -> Option<IpAddr> {
        self.origin.of(head.peer, head.headers)
    }
}

impl Way {
    /// Whether the head has twice what this way reads.
    fn is_ambiguous(&self, head: &Head<'_>) -> bool {
        match self {
            Way::Open | Way::Mtls(_) => false,
            Way::Tokens(_) => Tokens::is_ambiguous(head),
            Way::Hmac(hmac) => hmac.is_ambiguous(head),
            Way::StandardWebhooks(_) => StandardWebhooks::is_ambiguous(head),
        }
    }
}

/// The one header of that name, if it is text. One that is there twice is none: which of them would count?
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name);
    let value = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(value)
}

/// Whether a header is there more than once.
fn is_repeated(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(name).nth(1).is_some()
}

/// What a good signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed<'h> {
    /// The webhook's id, where that is signed too.
    pub(super) webhook_id: Option<&'h str>,
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    /// A head with these headers, each as often as it is named.
    pub(super) fn headers(sent: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let value = HeaderValue::from_str(value).expect("the tests use visible ASCII");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    /// These headers, come at that time.
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
