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
    /// Address and port. 127.0.0.1:8080: what is not set up yet is not on the network.
    pub listen: SocketAddr,
    /// Threads that serve connections. As many as there are cores.
    pub workers: usize,
    /// Open connections, over all workers. 12000: above `max_in_flight`, so that a 429 can still be given. For one more, a
    /// connection without good credentials is closed.
    pub max_connections: usize,
    /// Requests between head and answer. 10000.
    pub max_in_flight: usize,
    /// Bytes of bodies held by them. 64 MiB: what bounds memory.
    #[serde(deserialize_with = "size_setting")]
    pub max_in_flight_bytes: usize,
    /// Bytes of one body, packed or unpacked. 512 KiB: with its envelope it fits a broker's usual 1 MiB.
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
    /// Bytes a second that a body has to keep up after its first two seconds. 1 KiB.
    #[serde(deserialize_with = "size_setting")]
    pub body_min_rate: usize,
    /// How long a connection may idle between requests. 75 s: above the 60 s of common load balancers.
    #[serde(deserialize_with = "duration_setting")]
    pub keep_alive: Duration,
    /// After SIGTERM: how long to serve on while not ready. 0 s; the chart sets 5 s.
    #[serde(deserialize_with = "duration_setting")]
    pub stop_delay: Duration,
    /// How long what is in flight may take to end. 12 s: more than a slow body and a slow broker together.
    #[serde(deserialize_with = "duration_setting")]
    pub shutdown_timeout: Duration,
    /// Status of an accepted webhook: 202, 200 or 204.
    pub success_status: u16,
    /// TLS on the webhook listener. None: plain HTTP.
    pub tls: Option<TlsSettings>,
}

impl Settings {
    /// What a URL of the webhook listener begins with.
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
    /// The authority whose clients are let in, PEM.
    pub client_ca_file: Option<PathBuf>,
}

/// The section `admin`: health, metrics and documents, never on the public port.
#[derive(Clone, Debug, Deserialize)]
pub struct AdminSettings {
    /// Address and port. 127.0.0.1:8081.
    pub listen: SocketAddr,
}

/// One entry of the section `sources`: a MinChat app and its credentials.
#[derive(Clone, Debug, Deserialize)]
pub struct SourceSettings {
    /// The key of the entry: the last part of the path that is posted to.
    pub name: String,
    /// The attribute `source` of its envelopes. `/webhooks/<name>`: the path it is posted to.
    pub uri: String,
    /// What its topics, exchanges and files begin with. `<name>.`
    pub prefix: String,
    /// How much it may post. None: as much as the other limits allow.
    pub rate_limit: Option<RateLimit>,
    /// Who gets in.
    pub auth: AuthSettings,
    /// Where a request may come from, whatever its credentials. Empty: from anywhere.
    #[serde(default, deserialize_with = "networks")]
    pub allow_from: Vec<IpNet>,
    /// Whose `X-Forwarded-For` is believed. Empty: nobody's.
    #[serde(default, deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

/// The section `sources.*.rate_limit`: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct RateLimit {
    /// Webhooks a second, in the long run.
    pub per_second: u32,
    /// Webhooks at once, after a rest.
    pub burst: u32,
}

/// The section `sources.*.auth`. Either there are credentials, or `none` is true.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct AuthSettings {
    /// Any one of these lets a request in. Non-empty visible ASCII, each once.
    #[serde(default)]
    pub tokens: Vec<Secret>,
    /// Signatures in a header of the sender's choice. None: none is looked at.
    pub hmac: Option<HmacSettings>,
    /// Signatures by Standard Webhooks 1.0. None: none is looked at.
    pub standard_webhooks: Option<StandardWebhooksSettings>,
    /// Client certificates. Some only if `http.tls.client_ca_file` is given.
    pub mtls: Option<MtlsSettings>,
    /// Whoever reaches the listener gets in. True by default only on loopback and without a configuration file.
    #[serde(default)]
    pub none: bool,
}

impl AuthSettings {
    /// Whether there is a credential that lets somebody in.
    pub fn has_credentials(&self) -> bool {
        !self.tokens.is_empty()
            || self.hmac.is_some()
            || self.standard_webhooks.is_some()
            || self.mtls.is_some()
    }
}

/// The section `sources.*.auth.hmac`: HMAC by SHA-256 of the bytes on the wire.
#[derive(Clone, Debug, Deserialize)]
pub struct HmacSettings {
    /// A signature by any one of these lets a request in. As the key, each is taken as its text stands.
    pub secrets: Vec<Secret>,
    /// The header with the signature. `x-signature`.
    pub header: String,
    /// What stands before the signature there, such as `sha256=`. Nothing.
    #[serde(default)]
    pub prefix: String,
    /// How the signature is written. Hex.
    pub encoding: SignatureEncoding,
    /// The header with the seconds since 1970, signed before the body with a full stop between. None:
    /// the body alone is signed.
    pub timestamp_header: Option<String>,
    /// How far the timestamp may be from the clock. 5 min, as Standard Webhooks has it.
    #[serde(deserialize_with = "duration_setting")]
    pub tolerance: Duration,
}

/// How a signature is written.
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
    /// A signature by any one of these lets a request in. `whsec_` and 24 to 64 bytes in base64.
    pub secrets: Vec<Secret>,
    /// How far `webhook-timestamp` may be from the clock. 5 min, as the specification's libraries have it.
    #[serde(deserialize_with = "duration_setting")]
    pub tolerance: Duration,
}

/// The section `sources.*.auth.mtls`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct MtlsSettings {
    /// The names of clients that are let in. A certificate presents a name as a subject alternative name of the same
    /// type, or, if it has none of any type, a DNS name as its common name. Empty: any certificate of the authority.
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

/// A network, or one address as the network of itself. Numbers with a leading zero are none: other programs read them as
/// octal.
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
