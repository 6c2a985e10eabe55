//! Certificates, keys and authorities, from PEM files.
//!
//! Guarantees: what is given out fits together; an error names the file and what is wrong with it,
//! and quotes nothing of it.
//! Leaves to others: whom to trust for what.

use std::fmt;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::regular_file;

/// A certificate with its chain and its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// As rustls presents it.
    pub key: Arc<CertifiedKey>,
    /// When the certificate expires, in seconds since 1970.
    pub not_after: i64,
}

/// When a certificate is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub not_before: i64,
    /// Up to then.
    pub not_after: i64,
}

/// Why files can't be used. The files are told by the caller, who knows their settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The certificate's file has none, or one that is broken.
    Certificate(&'static str),
    /// The key's file has none, or one that is broken.
    Key(&'static str),
    /// The key is of a sort that rustls does not know.
    UnknownKey,
    /// Both are good, and not of one another.
    Mismatch,
    /// The authority's file has none, or one that is broken.
    Authority(&'static str),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate(why) | Self::Key(why) | Self::Authority(why) => why,
            Self::UnknownKey => "it holds a key of a sort that is not known",
            Self::Mismatch => "the key is not that of the certificate",
        })
    }
}

/// What all TLS of the bridge's own is done with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads a certificate, its chain behind it, and its key.
///
/// # Errors
/// When a file holds nothing of its sort, or the two are not of one another.
pub fn identity(cert_file: &Path, key_file: &Path) -> Result<Identity, Unusable> {
    let chain = chain(cert_file).map_err(Unusable::Certificate)?;
    let not_after = chain.first().and_then(not_after);
    let not_after = not_after.ok_or(Unusable::Certificate(BROKEN))?;
    let key = regular_file::open(key_file)
        .map_err(pem::Error::Io)
        .and_then(|file| PrivateKeyDer::from_pem_reader(BufReader::new(file)))
        .map_err(|error| Unusable::Key(told(&error, NO_KEY)))?;
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| Unusable::UnknownKey)?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Identity {
            key: Arc::new(key),
            not_after,
        }),
        Err(Error::InconsistentKeys(_)) => Err(Unusable::Mismatch),
        Err(_) => Err(Unusable::Certificate(BROKEN)),
    }
}

/// Reads the certificates of one or more authorities.
///
/// # Errors
/// When there is none in the file, or one that is broken.
pub fn authority(file: &Path) -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authority_certificates(file)?);
    Ok(roots)
}

/// The same, for a client that makes its own store of them.
///
/// # Errors
/// When there is none in the file, or one that is broken.
pub fn authority_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let chain = chain(file).map_err(Unusable::Authority)?;
    let mut roots = RootCertStore::empty();
    let mut added = chain
        .iter()
        .map(|certificate| roots.add(certificate.clone()));
    match added.all(|outcome| outcome.is_ok()) {
        true => Ok(chain),
        false => Err(Unusable::Authority(BROKEN)),
    }
}

/// Whether a certificate says of itself that its owner may issue others. Those of version 1 can't say it.
pub fn is_of_authority(certificate: &CertificateDer<'_>) -> bool {
    let parsed = X509Certificate::from_der(certificate);
    parsed.is_ok_and(|(_, parsed)| parsed.version().0 == 0 || parsed.is_ca())
}

/// When a certificate expires, in seconds since 1970.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// When the first certificate of a file is valid. None: there is none that can be read.
pub fn validity(file: &Path) -> Option<Validity> {
    let chain = chain(file).ok()?;
    let (_, parsed) = X509Certificate::from_der(chain.first()?).ok()?;
    let validity = parsed.validity();
    Some(Validity {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

const BROKEN: &str = "it holds a certificate that can't be read";
const NO_CERTIFICATE: &str = "it holds no certificate (PEM)";
const NO_KEY: &str = "it holds no private key (PEM, without a password)";

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let read = regular_file::open(file)
        .map_err(pem::Error::Io)
        .and_then(|file| {
            CertificateDer::pem_reader_iter(BufReader::new(file)).collect::<Result<Vec<_>, _>>()
        });
    match read {
        Ok(chain) if chain.is_empty() => Err(NO_CERTIFICATE),
        Ok(chain) => Ok(chain),
        Err(error) => Err(told(&error, NO_CERTIFICATE)),
    }
}

fn told(error: &pem::Error, none: &'static str) -> &'static str {
    match error {
        pem::Error::Io(error) => match error.kind() {
            io::ErrorKind::NotFound => "it can't be read, as there is no such file",
            io::ErrorKind::PermissionDenied => "it can't be read, as permission is denied",
            // See `regular_file`.
            io::ErrorKind::InvalidInput => {
                "it can't be read, as it is a directory or no file at all"
            }
            _ => "it can't be read",
        },
        pem::Error::NoItemsFound => none,
        _ => "it is not PEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_place_of_a_file_of_certificates_is_told_as_one() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let told = chain(dir.path()).expect_err("it holds no certificate");
        assert_eq!(
            told,
            "it can't be read, as it is a directory or no file at all"
        );
    }
}
