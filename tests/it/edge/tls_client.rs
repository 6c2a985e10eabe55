//! A client that speaks TLS, and sends exactly the bytes that a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::authority::Certificate;

/// How a client connects.
pub struct TlsClient {
    authority: String,
    identity: Option<(String, String)>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

/// One connection.
pub struct TlsConnection(StreamOwned<ClientConnection, TcpStream>);

impl TlsClient {
    pub fn trusting(authority: &str) -> Self {
        TlsClient {
            authority: authority.to_owned(),
            identity: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
        }
    }

    pub fn with(mut self, certificate: &Certificate) -> Self {
        self.identity = Some((certificate.cert.clone(), certificate.key.clone()));
        self
    }

    pub fn speaking(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Connects; an error is that of the handshake.
    pub fn connect(&self, address: SocketAddr) -> std::io::Result<TlsConnection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let name = "localhost".try_into().expect("it is a name");
        let session =
            ClientConnection::new(Arc::new(self.config()), name).expect("the settings hold");
        let mut stream = StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsConnection(stream))
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.authority.as_bytes()) {
            roots
                .add(certificate.expect("it is PEM"))
                .expect("it is a certificate");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("the provider has suites")
            .with_root_certificates(roots);
        match &self.identity {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = CertificateDer::pem_slice_iter(cert.as_bytes())
                    .map(|one| one.expect("it is PEM"));
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it is PEM");
                config
                    .with_client_auth_cert(chain.collect(), key)
                    .expect("they fit together")
            }
        }
    }
}

impl TlsConnection {
    /// Sends a request, and gives its answer's status. An error is what became of the connection.
    pub fn exchange(&mut self, request: &[u8]) -> std::io::Result<u16> {
        Ok(self.exchange_text(request)?.0)
    }

    /// The same, with the whole answer.
    pub fn exchange_text(&mut self, request: &[u8]) -> std::io::Result<(u16, String)> {
        self.0.write_all(request)?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = self.0.read(&mut buffer)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
                if body.len() >= length {
                    return Ok((head[9..12].parse().expect("a status"), text.into_owned()));
                }
            }
        }
    }

    /// The bytes inside of TLS.
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        self.0
    }

    pub fn version(&self) -> Option<rustls::ProtocolVersion> {
        self.0.conn.protocol_version()
    }

    /// The certificate that the bridge presented.
    pub fn certificate(&self) -> Vec<u8> {
        let chain = self
            .0
            .conn
            .peer_certificates()
            .expect("there was a handshake");
        chain[0].to_vec()
    }
}
