//! The settings of the Kafka publisher. They compile without the feature `kafka`, so that a
//! configuration can be read and refused by name.

use std::collections::BTreeMap;
#[cfg(feature = "kafka")]
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

#[cfg(feature = "kafka")]
use crate::publish::Failure;
use crate::secret::Secret;
use crate::units::duration_setting;

/// The section `kafka`. The broker is on when it is there.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Where to meet the cluster: `host:port`, at least one.
    pub bootstrap_servers: Vec<String>,
    /// Topics that are missing at start are created so. None: they are waited for.
    pub create_topics: Option<CreateTopics>,
    /// How an event becomes a record. Structured.
    pub content_mode: ContentMode,
    /// Codec of the batches. lz4: the cheapest for the size it saves.
    pub compression: Compression,
    /// How long a batch waits for more. 0.2 ms: cheaper than 0 and faster than 1 ms.
    #[serde(deserialize_with = "duration_setting")]
    pub linger: Duration,
    /// Plaintext.
    pub security_protocol: SecurityProtocol,
    /// There exactly when the protocol is one of the SASL ones.
    pub sasl: Option<Sasl>,
    /// Files for TLS. None: the system's authorities, no client certificate.
    pub tls: Option<Tls>,
    /// Further properties of librdkafka, none of them among those that the promises rest on.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

#[cfg(feature = "kafka")]
impl Settings {
    /// The largest message that the configuration lets through, in bytes, if it has such a bound.
    pub(super) fn max_message(&self) -> Option<usize> {
        self.properties.get("message.max.bytes")?.parse().ok()
    }

    /// A failure that is not a topic's own, in the words of the connection's last trouble, or at least with the
    /// addresses that were tried.
    pub(super) fn explain(&self, failure: Failure, last_error: Option<Failure>) -> Failure {
        if !failure.reason.is_of_the_whole_broker() {
            return failure;
        }
        last_error.unwrap_or_else(|| Failure {
            detail: format!("{}: {}", self.bootstrap_servers.join(","), failure.detail),
            ..failure
        })
    }

    /// Takes the login and the certificates of other settings. Returns whether they differ: their names,
    /// or what the files hold now.
    pub(super) fn take_credentials(&mut self, other: Settings) -> bool {
        let differ = self.sasl != other.sasl || self.tls != other.tls;
        self.sasl = other.sasl;
        self.tls = other.tls;
        differ
    }

    /// What is in the files of the login and of TLS, as one number.
    pub(super) fn fingerprint_of_files(&self) -> u64 {
        let tls = self.tls.iter();
        let tls = tls.flat_map(|tls| [&tls.ca_file, &tls.cert_file, &tls.key_file]);
        let oauth = self.sasl.iter().filter_map(|sasl| sasl.oauth.as_ref());
        let files = tls.chain(oauth.map(|oauth| &oauth.ca_file)).flatten();
        let mut hasher = DefaultHasher::new();
        for file in files {
            std::fs::read(file).ok().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// The section `kafka.create_topics`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CreateTopics {
    /// None: the broker's `num.partitions`.
    pub partitions: Option<i32>,
    /// None: the broker's `default.replication.factor`.
    pub replication_factor: Option<i32>,
    /// Topic configuration, such as `retention.ms`.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// How an event becomes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentMode {
    /// The value is the whole envelope.
    Structured,
    /// The value is `data` alone, and the attributes are in headers, `ce_*`.
    Binary,
}

/// Codec of the batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As they are.
    None,
    /// zlib.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The name that librdkafka knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// How the connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither TLS nor a login.
    Plaintext,
    /// TLS.
    Ssl,
    /// A login in the clear.
    SaslPlaintext,
    /// A login over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// The name that librdkafka knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    /// Whether it logs in.
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Whether it runs over TLS.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

/// The section `kafka.sasl`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Sasl {
    /// SCRAM-SHA-512.
    pub mechanism: Mechanism,
    /// Who logs in. Some, unless it is by OAUTHBEARER.
    pub username: Option<String>,
    /// With what. Some, unless it is by OAUTHBEARER.
    pub password: Option<Secret>,
    /// Some exactly if it is by OAUTHBEARER.
    pub oauth: Option<OAuth>,
}

/// The section `kafka.sasl.oauth`: tokens by OIDC's client credentials (RFC 6749, section 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OAuth {
    /// Where tokens are fetched.
    pub token_endpoint: String,
    /// Who fetches them.
    pub client_id: String,
    /// With what.
    pub client_secret: Secret,
    /// For what. None: whatever the endpoint gives.
    pub scope: Option<String>,
    /// The authority of the endpoint's certificate, PEM. None: the system's.
    pub ca_file: Option<PathBuf>,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of it, by SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof of it, by SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// A token that somebody else gives out.
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

impl Mechanism {
    /// The name that librdkafka knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

/// The section `kafka.tls`. A certificate comes with its key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Tls {
    /// The authority that signed the brokers' certificates, PEM. None: the system's.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
}
