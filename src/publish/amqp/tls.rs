//! TLS to the broker, its files read anew for each connection.
//!
//! The broker's certificate is always verified: against `ca_file` alone if there is one, else
//! against the system's authorities.

use std::path::Path;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::errors::DialError;
use super::settings::Tls;

/// What makes a TLS connection out of a plain one.
pub(super) fn connector(tls: Option<&Tls>) -> Result<RustlsConnector, DialError> {
    let config = match tls.and_then(|tls| tls.ca_file.as_deref()) {
        Some(file) => {
            RustlsConnectorConfig::default().with_parsable_certificates(certificates(file)?)
        }
        None => RustlsConnectorConfig::new_with_native_certs().map_err(|error| {
            DialError::certificate(format!("the system's authorities: {error}"))
        })?,
    };
    let files = tls.and_then(|tls| tls.cert_file.as_deref().zip(tls.key_file.as_deref()));
    let connector = match files {
        Some((certificate, key)) => {
            config.connector_with_single_cert(certificates(certificate)?, private_key(key)?)
        }
        None => config.connector_with_no_client_auth(),
    };
    connector.map_err(|error| DialError::certificate(error.to_string()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|error| unreadable(file, &error))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, DialError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &pem::Error) -> DialError {
    DialError::certificate(format!("{}: {error}", file.display()))
}
