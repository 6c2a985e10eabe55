//! The settings of both listeners and of the sources.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::certificate_name::CertificateName;
use crate::secret::Secret;
use crate::units::{duration_setting, size_setting};

/// The section `http`: the listener that takes webhooks, and its limits.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Address and port. 127.0.0.1:8080, so that a bridge that is not configured yet is not reachable from the network.
    pub listen: SocketAddr,
    /// Threads that serve connections. By default one a core.
    pub workers: usize,
    /// Open connections of all workers together. 12000: above `max_in_flight`, so that requests over that limit can
    /// still be answered with a 429. When the limit is reached, a connection without good credentials is closed for
    /// each new one.
    pub max_connections: usize,
    /// Requests in flight: from the end of their head to their answer. 10000.
    pub max_in_flight: usize,
    /// Bytes of the bodies and events of requests in flight. 64 MiB. This limit bounds the memory.
    #[serde(deserialize_with = "size_setting")]
    pub max_in_flight_bytes: usize,
    /// Bytes of one body, both compressed and decompressed. 512 KiB: with its envelope it fits into the usual 1 MiB
    /// limit of brokers.
    #[serde(deserialize_with = "size_setting")]
    pub max_body: usize,
    /// Bytes of a request's line and headers. 64 KiB.
    #[serde(deserialize_with = "size_setting")]
    pub head_size: usize,
    /// How long the head of each request may take, from its first byte. 5 s.
    #[serde(deserialize_with = "duration_setting")]
    pub header_timeout: Duration,
    /// How long a body may take. 5 s.
    #[serde(deserialize_with = "duration_setting")]
    pub body_timeout: Duration,
    /// The minimum rate of a body in bytes a second, after its first two seconds. 1 KiB.
    #[serde(deserialize_with = "size_setting")]
    pub body_min_rate: usize,
    /// How long a connection may be idle between requests. 75 s: longer than the 60 s of common load balancers.
    #[serde(deserialize_with = "duration_setting")]
    pub keep_alive: Duration,
    /// How long requests are still served after SIGTERM, while `/readyz` fails. 0 s; the Helm chart sets 5 s.
    #[serde(deserialize_with = "duration_setting")]
    pub stop_delay: Duration,
    /// How long requests in flight may take to finish during a shutdown. 12 s: more than a slow body and a slow broker
    /// together.
    #[serde(deserialize_with = "duration_setting")]
    pub shutdown_timeout: Duration,
    /// Status of an accepted webhook: 202, 200 or 204.
    pub success_status: u16,
    /// TLS on the webhook listener. None: plain HTTP.
    pub tls: Option<TlsSettings>,
}

impl Settings {
    /// The scheme of the URLs of the webhook listener.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// The section `http.tls`.
#[derive(Clone, Debug, Deserialize)]
pub struct TlsSettings {
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// The authority that client certificates are verified with, PEM.
    pub client_ca_file: Option<PathBuf>,
}

/// The section `admin`: health, metrics and the version, on a port of its own, which should not be public.
#[derive(Clone, Debug, Deserialize)]
pub struct AdminSettings {
    /// Address and port. 127.0.0.1:8081.
    pub listen: SocketAddr,
}

/// One entry of the section `sources`: a MinChat app and its credentials.
#[derive(Clone, Debug, Deserialize)]
pub struct SourceSettings {
    /// The key of the entry: the part of the path after `/webhooks/`.
    pub name: String,
    /// The attribute `source` of its envelopes. `/webhooks/<name>`, the path that webhooks are posted to.
    pub uri: String,
    /// The prefix of its topics, exchanges and files. `<name>.`
    pub prefix: String,
    /// The rate limit of the source. None: only the other limits apply.
    pub rate_limit: Option<RateLimit>,
    /// Who may post.
    pub auth: AuthSettings,
    /// The networks that requests may come from, in addition to good credentials. Empty: any.
    #[serde(default, deserialize_with = "networks")]
    pub allow_from: Vec<IpNet>,
    /// The proxies whose `X-Forwarded-For` is used. Empty: none.
    #[serde(default, deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

/// The section `sources.*.rate_limit`: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct RateLimit {
    /// Webhooks a second on average.
    pub per_second: u32,
    /// Webhooks at once after a pause.
    pub burst: u32,
}

/// The section `sources.*.auth`. Either there are credentials, or `none` is true.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct AuthSettings {
    /// A request with any one of these tokens is accepted. Non-empty visible ASCII, without duplicates.
    #[serde(default)]
    pub tokens: Vec<Secret>,
    /// HMAC signatures in a configurable header. None: not checked.
    pub hmac: Option<HmacSettings>,
    /// Signatures by Standard Webhooks 1.0. None: not checked.
    pub standard_webhooks: Option<StandardWebhooksSettings>,
    /// Client certificates. Needs `http.tls.client_ca_file`.
    pub mtls: Option<MtlsSettings>,
    /// Everybody who can reach the listener may post. True by default only on loopback and without a configuration
    /// file.
    #[serde(default)]
    pub none: bool,
}

impl AuthSettings {
    /// Whether at least one kind of credential is configured.
    pub fn has_credentials(&self) -> bool {
        !self.tokens.is_empty()
            || self.hmac.is_some()
            || self.standard_webhooks.is_some()
            || self.mtls.is_some()
    }
}

/// The section `sources.*.auth.hmac`: HMAC-SHA256 of the body as received.
#[derive(Clone, Debug, Deserialize)]
pub struct HmacSettings {
    /// A signature with any one of these secrets is accepted. The key is the text of the secret, byte for byte.
    pub secrets: Vec<Secret>,
    /// The header with the signature. `x-signature`.
    pub header: String,
    /// The text before the signature in the header, such as `sha256=`. Empty.
    #[serde(default)]
    pub prefix: String,
    /// The encoding of the signature. Hex.
    pub encoding: SignatureEncoding,
    /// The header with the time in seconds since 1970. The signature covers this text, a full stop and the body. None:
    /// the signature covers the body alone.
    pub timestamp_header: Option<String>,
    /// How far the timestamp may be from the clock. 5 min, like Standard Webhooks.
    #[serde(deserialize_with = "duration_setting")]
    pub tolerance: Duration,
}

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureEncoding {
    /// 64 digits.
    Hex,
    /// With padding.
    Base64,
}

/// The section `sources.*.auth.standard_webhooks`.
#[derive(Clone, Debug, Deserialize)]
pub struct StandardWebhooksSettings {
    /// A signature with any one of these secrets is accepted. `whsec_` and 24 to 64 bytes in base64.
    pub secrets: Vec<Secret>,
    /// How far `webhook-timestamp` may be from the clock. 5 min, like the libraries of the specification.
    #[serde(deserialize_with = "duration_setting")]
    pub tolerance: Duration,
}

/// The section `sources.*.auth.mtls`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct MtlsSettings {
    /// The names of the clients that may post. A certificate presents a name as a subject alternative name of the same
    /// type, or, if it has none of any type, a DNS name as its common name. Empty: any certificate that the authority
    /// has issued.
    #[serde(default)]
    pub names: Vec<CertificateName>,
}

/// Whether a text is a name that a client's certificate can present.
pub(crate) fn is_certificate_name(text: &str) -> bool {
    CertificateName::parse(text).is_some()
}

/// Whether a text is a secret of Standard Webhooks.
pub(crate) fn is_whsec(text: &str) -> bool {
    super::auth::standard_webhooks::key(text).is_some()
}

/// Parses a network. An address without a length is a network of this one address. Numbers with a leading zero are
/// refused, because other programs read them as octal.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return Some(IpNet::from(text.parse::<IpAddr>().ok()?));
    };
    let is_number = length == "0" || !length.starts_with(['0', '+']);
    let length = length.parse().ok().filter(|_| is_number)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let networks = texts.iter().map(|text| network(text));
    networks
        .collect::<Option<_>>()
        .ok_or(serde::de::Error::custom("not a network"))
}
