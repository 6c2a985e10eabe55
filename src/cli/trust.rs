//! Whose certificates a command trusts at an `https` URL.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, io};

use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::target::Target;
use crate::certificates::{self, Unusable};
use crate::regular_file;

/// The flag of every command that asks a URL.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TrustArgs {
    /// The authorities that vouch for the certificate of an https URL, PEM; no other is trusted then
    /// [default: the system's, or those that SSL_CERT_FILE and SSL_CERT_DIR name].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    #[error("--ca-file {file}: {why}; name a file with the certificates of authorities, in PEM")]
    File { file: String, why: Unusable },
    #[error("the system has no authorities of certificates{why}; name the bridge's with --ca-file")]
    System { why: String },
}

impl TrustArgs {
    /// How to speak TLS with the URL's server. A file that is named is read whatever the URL is.
    pub(super) fn tls(&self, url: &Target) -> Result<TlsConfig, TrustError> {
        let authorities = match &self.ca_file {
            Some(file) => from_file(file)?,
            None if url.is_https() => from_system()?,
            None => Vec::new(),
        };
        let authorities = authorities.iter();
        let authorities = authorities.map(|one| Certificate::from_der(one).to_owned());
        Ok(TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(authorities.collect())))
            .unversioned_rustls_crypto_provider(certificates::provider())
            .build())
    }
}

fn from_file(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    certificates::authority_certificates(file).map_err(|why| TrustError::File {
        file: file.display().to_string(),
        why,
    })
}

fn from_system() -> Result<Vec<CertificateDer<'static>>, TrustError> {
    if let Some(file) = env::var_os("SSL_CERT_FILE")
        && let Err(error) = regular_file::open(Path::new(&file))
    {
        let file = Path::new(&file).display();
        let why = format!(": SSL_CERT_FILE names {file}, which can't be read ({error})");
        return Err(TrustError::System { why });
    }
    let loaded = rustls_native_certs::load_native_certs();
    if loaded.certs.is_empty() {
        let why = loaded.errors.first();
        let why = why.map_or_else(String::new, |error| format!(" ({error})"));
        return Err(TrustError::System { why });
    }
    Ok(loaded.certs)
}

/// Why a request got no answer, as a sentence's end; of a certificate or of the wrong scheme, what to do about it.
pub(super) fn no_answer(error: &ureq::Error, is_https: bool) -> String {
    if !is_https && may_be_of_tls(error) {
        return format!("{error}; if the server speaks TLS, write https:// in place of http://");
    }
    let refused = match error {
        ureq::Error::Rustls(refused) => Some(refused),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
        _ => None,
    };
    let refused = match refused {
        Some(rustls::Error::InvalidCertificate(refused)) => refused,
        Some(rustls::Error::InvalidMessage(_)) => {
            return "the server does not speak TLS; write http:// in place of https://".to_owned();
        }
        _ => return error.to_string(),
    };
    match refused {
        // The signature is bad where a trusted authority has the name of the certificate's, and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is of no authority that is trusted; name its authority with --ca-file"
                .to_owned()
        }
        CertificateError::Other(other) if is_authority(&*other.0) => {
            "the server's certificate is an authority's own (CA:TRUE); have the authority issue one for the server"
                .to_owned()
        }
        refused => format!("the server's certificate will not do: {refused}"),
    }
}

/// Whether this is what comes of a request without TLS to a server that speaks it: an alert in place of an answer, or
/// the connection's end.
fn may_be_of_tls(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Protocol(_) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        ),
        _ => false,
    }
}

/// Whether a certificate was refused because it is that of an authority. Its type is not for us to name.
fn is_authority(refused: &(dyn Error + Send + Sync)) -> bool {
    refused.to_string() == "CaUsedAsEndEntity"
}
