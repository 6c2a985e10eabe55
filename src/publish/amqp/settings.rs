//! The settings of the AMQP publisher. They compile without the feature `amqp`, so that a
//! configuration can be read and refused by name.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::secret::Secret;
use crate::units::duration_setting;

/// The section `amqp`. The broker is on when it is there.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Tried in turn, at least one: `amqp[s]://[user[:password]@]host[:port][/vhost]`, without
    /// parameters. Secret because of the password.
    #[serde(default)]
    pub uris: Vec<Secret>,
    /// The user's password, when it is not in the URIs.
    pub password: Option<Secret>,
    /// Plain.
    pub auth_mechanism: AuthMechanism,
    /// Files for TLS. None: the system's authorities, no client certificate.
    pub tls: Option<Tls>,
    /// Whether exchanges that are missing are created. True.
    pub declare: bool,
    /// How an event becomes a message. Structured.
    pub content_mode: ContentMode,
    /// A broker that is silent for two of these is gone. 5 s.
    #[serde(deserialize_with = "duration_setting")]
    pub heartbeat: Duration,
}

/// How the bridge says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMechanism {
    /// User and password.
    Plain,
    /// The client's certificate.
    External,
}

/// How an event becomes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentMode {
    /// The body is the whole envelope.
    Structured,
    /// The body is `data` alone, and the attributes are in headers, `cloudEvents_*`.
    Binary,
}

/// The section `amqp.tls`. A certificate comes with its key.
#[derive(Clone, Debug, Deserialize)]
pub struct Tls {
    /// The authority that signed the broker's certificate, PEM. None: the system's.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM.
    pub key_file: Option<PathBuf>,
}
