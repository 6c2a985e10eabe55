//! TLS on the webhook listener: 1.2 and 1.3, by rustls.
//!
//! Guarantees: a new certificate or authority is taken into use without a connection being dropped;
//! a client's certificate is good only as long as the authority of now vouches for it, on
//! connections that were made before too. No session is resumed: a resumed one would go by the
//! authority of then.
//! Leaves to others: which names may post to what (`auth`).

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

/// What the listener presents, and whom it believes. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    provider: Arc<CryptoProvider>,
    present: RwLock<Present>,
    /// Counts the changes of `present`.
    generation: AtomicU64,
}

/// What was read from the files, and fits together.
#[derive(Debug)]
pub(super) struct Present {
    identity: Identity,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Present {
    /// Reads the files.
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, Unusable> {
        let identity = certificates::identity(&settings.cert_file, &settings.key_file)?;
        let clients = settings.client_ca_file.as_deref().map(|file| {
            let roots = Arc::new(certificates::authority(file)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, certificates::provider());
            // Whether a certificate is needed is said for each source.
            let verifier = verifier.allow_unauthenticated().build();
            verifier.map_err(|_| Unusable::Authority("it holds no authority"))
        });
        Ok(Self {
            identity,
            clients: clients.transpose()?,
        })
    }

    /// When the certificate expires, in seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        self.identity.not_after
    }
}

impl Tls {
    pub(super) fn new(present: Present) -> Self {
        Self(Arc::new(Shared {
            provider: certificates::provider(),
            present: RwLock::new(present),
            generation: AtomicU64::new(0),
        }))
    }

    /// Presents and believes this from now on.
    pub(super) fn replace(&self, present: Present) {
        *self
            .0
            .present
            .write()
            .unwrap_or_else(PoisonError::into_inner) = present;
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

    /// The certificate that the client of this connection has proved to own, if it presented one.
    pub(super) fn certificate(&self, connection: &ServerConnection) -> Option<ClientCertificate> {
        let chain = connection.peer_certificates()?;
        let (own, _) = chain.split_first()?;
        Some(ClientCertificate {
            names: certificate_name::presented(own),
            not_after: certificates::not_after(own)?,
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            verified_in: AtomicU64::new(self.0.generation.load(Relaxed)),
            tls: self.clone(),
        })
    }
}

impl Shared {
    fn clients(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.present
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clients
            .clone()
    }
}

/// The certificate of a connection's client.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: Vec<CertificateName>,
    not_after: i64,
    /// The generation in which the authority last vouched for it.
    verified_in: AtomicU64,
    tls: Tls,
}

impl ClientCertificate {
    /// Whether the authority vouches for it now, in seconds since 1970.
    pub(super) fn is_good(&self, now: i64) -> bool {
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

    /// Whether it is made out to one of these.
    pub(super) fn has_one_of(&self, names: &[CertificateName]) -> bool {
        self.names.iter().any(|name| names.contains(name))
    }
}

impl ResolvesServerCert for Shared {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        Some(present.identity.key.clone())
    }
}

impl ClientCertVerifier for Shared {
    fn offer_client_auth(&self) -> bool {
        self.clients().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // They would have to outlive a change of the authority. A client has one certificate for us.
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.clients() {
            Some(clients) => clients.verify_client_cert(own, chain, now),
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
