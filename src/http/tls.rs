//! TLS 1.2 and 1.3 on the webhook listener, with rustls.
//!
//! Guarantees: a new certificate or client authority is used without dropping a connection; a client certificate is
//! trusted only while the current authority verifies it, also on connections that were opened before the authority
//! changed. Sessions are not resumed, because a resumed session would rely on the authority of its first handshake.
//! Not responsible for: which names may post to which source (`auth`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme, version,
};

use super::certificate_name::{self, CertificateName};
use super::settings::TlsSettings;
use crate::certificates::{self, Identity, Unusable};

/// The certificate of the listener, and the authority for client certificates. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    provider: Arc<CryptoProvider>,
    files: RwLock<TlsFiles>,
    /// Counts how often `files` was replaced.
    generation: AtomicU64,
}

/// The content of the TLS files. The key belongs to the certificate.
#[derive(Debug)]
pub(super) struct TlsFiles {
    identity: Identity,
    client_verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl TlsFiles {
    /// Reads the files.
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, Unusable> {
        let identity = certificates::identity(&settings.cert_file, &settings.key_file)?;
        let client_verifier = settings.client_ca_file.as_deref().map(|file| {
            let roots = Arc::new(certificates::authority(file)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, certificates::provider());
            // Each source decides in its `auth` section whether a client certificate is needed.
            let verifier = verifier.allow_unauthenticated().build();
            verifier.map_err(|_| Unusable::Authority("it holds no authority"))
        });
        Ok(Self {
            identity,
            client_verifier: client_verifier.transpose()?,
        })
    }

    /// When the certificate expires, in seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        self.identity.not_after
    }
}

impl Tls {
    pub(super) fn new(files: TlsFiles) -> Self {
        Self(Arc::new(Shared {
            provider: certificates::provider(),
            files: RwLock::new(files),
            generation: AtomicU64::new(0),
        }))
    }

    /// Uses these files from now on.
    pub(super) fn replace(&self, files: TlsFiles) {
        *self.0.files.write().unwrap_or_else(PoisonError::into_inner) = files;
        self.0.generation.fetch_add(1, Relaxed);
    }

    pub(super) fn server_config(&self) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(self.0.provider.clone())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("the provider has suites for both")
            .with_client_cert_verifier(self.0.clone())
            .with_cert_resolver(self.0.clone());
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config
    }

    /// Returns a number that changes whenever the files are replaced.
    pub(super) fn generation(&self) -> u64 {
        self.0.generation.load(Relaxed)
    }

    /// Returns the certificate that the client of this connection has proved to own, if it presented one. `generation` is
    /// that of before the handshake: if the authority is replaced during the handshake, the certificate is verified again.
    pub(super) fn certificate(
        &self,
        connection: &ServerConnection,
        generation: u64,
    ) -> Option<ClientCertificate> {
        let chain = connection.peer_certificates()?;
        let (own, _) = chain.split_first()?;
        Some(ClientCertificate {
            names: certificate_name::presented(own),
            not_after: certificates::not_after(own)?,
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            verified_in: AtomicU64::new(generation),
            tls: self.clone(),
        })
    }
}

impl Shared {
    fn client_verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.files
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .client_verifier
            .clone()
    }
}

/// The client certificate of one connection.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: Vec<CertificateName>,
    not_after: i64,
    /// The generation in which the authority last verified the certificate.
    verified_in: AtomicU64,
    tls: Tls,
}

impl ClientCertificate {
    /// Whether the certificate has not expired at `now` (seconds since 1970) and the current authority verifies it.
    pub(super) fn is_trusted(&self, now: i64) -> bool {
        if now > self.not_after {
            return false;
        }
        let generation = self.tls.0.generation.load(Relaxed);
        if self.verified_in.load(Relaxed) == generation {
            return true;
        }
        let (own, chain) = self
            .chain
            .split_first()
            .expect("there is no certificate without one");
        let verified = self
            .tls
            .0
            .verify_client_cert(own, chain, UnixTime::now())
            .is_ok();
        if verified {
            self.verified_in.store(generation, Relaxed);
        }
        verified
    }

    /// Whether the certificate has one of these names.
    pub(super) fn has_one_of(&self, names: &[CertificateName]) -> bool {
        self.names.iter().any(|name| names.contains(name))
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        Some(files.identity.key.clone())
    }
}

impl ClientCertVerifier for Shared {
    fn offer_client_auth(&self) -> bool {
        self.client_verifier().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // rustls borrows the hints, so they could not change with the authority. Clients usually have one certificate
        // only, so they need no hints.
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.client_verifier() {
            Some(client_verifier) => client_verifier.verify_client_cert(own, chain, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            own,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            own,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// An authority, and a certificate of it for servers and clients.
    pub(in crate::http) struct Issued {
        authority: String,
        certificate: String,
        key: String,
    }

    pub(in crate::http) fn issued(names: &[String]) -> Issued {
        let key = || KeyPair::generate().expect("it takes nothing");
        let params = |names: &[String]| CertificateParams::new(names).expect("they are ASCII");
        let mut authority = params(&["authority.example".to_owned()]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("it is valid");
        let own_key = key();
        let own = params(names).signed_by(&own_key, &authority);
        Issued {
            authority: authority.pem(),
            certificate: own.expect("it is valid").pem(),
            key: own_key.serialize_pem(),
        }
    }

    fn relay() -> Issued {
        issued(&["relay.example".to_owned()])
    }

    pub(in crate::http) fn files(own: &Issued, authority: &Issued) -> TlsFiles {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let written = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("there is room for a file");
            path
        };
        TlsFiles::read(&TlsSettings {
            cert_file: written("cert", &own.certificate),
            key_file: written("key", &own.key),
            client_ca_file: Some(written("ca", &authority.authority)),
        })
        .expect("the files are valid")
    }

    /// The configuration of a client that presents the certificate.
    pub(in crate::http) fn client_config(issued: &Issued) -> ClientConfig {
        let certificate = |pem: &str| {
            CertificateDer::from_pem_slice(pem.as_bytes()).expect("it was written by rcgen")
        };
        let mut roots = RootCertStore::empty();
        let added = roots.add(certificate(&issued.authority));
        added.expect("it is an authority");
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("it is a key");
        ClientConfig::builder_with_provider(certificates::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for them")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate(&issued.certificate)], key)
            .expect("the key is that of the certificate")
    }

    /// Does a handshake in memory.
    fn handshake(tls: &Tls, issued: &Issued) -> ServerConnection {
        let name = ServerName::try_from("relay.example").expect("it is a name");
        let client = ClientConnection::new(Arc::new(client_config(issued)), name);
        let mut client = client.expect("the configuration is valid");
        let server = ServerConnection::new(Arc::new(tls.server_config()));
        let mut server = server.expect("the configuration is valid");
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("it writes to memory");
            }
            server.read_tls(&mut &*bytes).expect("it reads from memory");
            server.process_new_packets().expect("the client is valid");
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).expect("it writes to memory");
            }
            client.read_tls(&mut &*bytes).expect("it reads from memory");
            client.process_new_packets().expect("the server is valid");
        }
        server
    }

    #[test]
    fn a_client_certificate_is_trusted_only_while_the_current_authority_verifies_it() {
        let (first, second) = (relay(), relay());
        let tls = Tls::new(files(&first, &first));
        let generation = tls.generation();
        let server = handshake(&tls, &first);
        let before = tls.certificate(&server, generation).expect("it has one");
        assert!(before.is_trusted(0));
        assert!(!before.is_trusted(i64::MAX), "it has expired");
        tls.replace(files(&first, &second));
        assert!(!before.is_trusted(0));
        tls.replace(files(&first, &first));
        assert!(before.is_trusted(0));
    }

    #[test]
    fn an_authority_that_is_replaced_during_a_handshake_does_not_count_after_it() {
        let (first, second) = (relay(), relay());
        let tls = Tls::new(files(&first, &first));
        let generation = tls.generation();
        let server = handshake(&tls, &first);
        tls.replace(files(&first, &second));
        let certificate = tls.certificate(&server, generation).expect("it has one");
        assert!(!certificate.is_trusted(0));
    }
}
