//! Accepts new connections: registers each one, does its TLS handshake, and serves HTTP on it.
//!
//! Runs on the worker threads. The webhook listener uses it with or without TLS, the admin listener without.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, LINGER, Limits};
use super::connections::{Connections, Registration};
use super::problem;
use super::settings::Settings;
use super::stream::{Stream, TlsSocket, Transport};
use super::tls::{ClientCertificate, Tls};
use crate::metrics::{Endpoint, Metrics};

/// What a listener does with each new connection.
#[derive(Clone)]
pub(super) struct Acceptor {
    connections: Arc<Connections>,
    limits: Limits,
    keep_alive: KeepAlive,
    tls: Option<(TlsAcceptor, Tls)>,
}

impl Acceptor {
    pub(super) fn new(
        settings: &Settings,
        connections: &Arc<Connections>,
        tls: Option<Tls>,
    ) -> Self {
        Self {
            connections: connections.clone(),
            limits: Limits {
                header_timeout: settings.header_timeout,
                keep_alive: settings.keep_alive,
                head_size: settings.head_size,
            },
            keep_alive: match settings.keep_alive {
                Duration::ZERO => KeepAlive::Disabled,
                // [`Stream`] closes idle connections. `Os` turns off the keep-alive timer of actix-http.
                _ => KeepAlive::Os,
            },
            tls: tls.map(|tls| (TlsAcceptor::from(Arc::new(tls.server_config())), tls)),
        }
    }

    /// Builds the service of one worker thread, which serves `app` on each connection.
    pub(super) fn service<A, S, B>(
        &self,
        app: A,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
    > + use<A, S, B>
    where
        A: IntoServiceFactory<S, Request>,
        S: ServiceFactory<
                Request,
                Config = AppConfig,
                Response = ServiceResponse<B>,
                Error = Error,
                InitError = (),
            > + 'static,
        S::Future: 'static,
        <S::Service as Service<Request>>::Future: 'static,
        B: MessageBody + 'static,
    {
        let http = HttpService::build()
            .keep_alive(self.keep_alive)
            // [`Stream`] has a time-out for every head; actix-http has one only for the first head.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(|stream: &Stream, data| {
                data.insert(stream.connection().clone());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        let metrics = self.connections.metrics.clone();
        let acceptor = self.clone();
        fn_service(move |socket: TcpStream| {
            let acceptor = acceptor.clone();
            async move {
                let peer = socket.peer_addr()?;
                let stream = acceptor.accept(socket, peer.ip()).await?;
                Ok((stream, Protocol::Http1, Some(peer)))
            }
        })
        .and_then(http)
        .map_err(move |error| {
            count_parse_error(&error, &metrics);
            error
        })
    }

    async fn accept(self, socket: TcpStream, peer: IpAddr) -> io::Result<Stream> {
        socket.set_nodelay(true)?;
        let registration = self
            .connections
            .register(peer)
            .map(Rc::new)
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        let (transport, certificate) = match &self.tls {
            None => (Transport::Plain(socket), None),
            Some((acceptor, tls)) => {
                self.tls_handshake(socket, acceptor, tls, &registration)
                    .await?
            }
        };
        let connection = Connection::new(registration, certificate, self.limits);
        Ok(Stream::new(transport, connection))
    }

    /// Does the TLS handshake. It may take as long as a head (`http.header_timeout`), and ends early if the connection
    /// is told to close meanwhile.
    async fn tls_handshake(
        &self,
        socket: TcpStream,
        acceptor: &TlsAcceptor,
        tls: &Tls,
        registration: &Rc<Registration>,
    ) -> io::Result<(Transport, Option<ClientCertificate>)> {
        let generation = tls.generation();
        let socket = TlsSocket::new(socket, registration.clone());
        let stream = tokio::select! {
            stream = timeout(self.limits.header_timeout, acceptor.accept(socket)) => stream.map_err(io::Error::from).flatten(),
            () = registration.close_requested() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let mut stream = stream.inspect_err(|error| {
            tracing::debug!(%error, "a TLS handshake failed");
            self.connections.metrics.tls_handshake_failed();
        })?;
        // rustls has decrypted the handshake messages. It reports only application data to the stream.
        stream.get_mut().0.decrypted();
        let certificate = tls.certificate(stream.get_ref().1, generation);
        Ok((Transport::Tls(Box::new(stream)), certificate))
    }
}

/// Counts a request that actix-http could not parse. actix-http has answered it by itself, so no handler has counted
/// it.
fn count_parse_error(ended_by: &DispatchError, metrics: &Metrics) {
    if let DispatchError::Parse(error) = ended_by {
        tracing::debug!(%error, "a request could not be parsed");
        metrics.request_finished(Endpoint::Other, problem::BAD_HEAD.as_u16(), Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use rustls::pki_types::ServerName;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::super::connection::MAX_READ;
    use super::super::connections::{CloseSignal, Incomplete};
    use super::super::tls::tests::{client_config, files, issued};
    use super::*;
    use crate::metrics::Labels;

    #[tokio::test]
    async fn the_bytes_of_a_large_handshake_do_not_count_after_it() {
        const HEAD_BYTES: usize = 3 * MAX_READ;
        let labels = Labels {
            brokers: Vec::new(),
            problems: Vec::new(),
            success_status: 202,
        };
        let metrics = Metrics::new(&labels).expect("the metrics don't contradict each other");
        let connections = Arc::new(Connections::for_admin(10, HEAD_BYTES, Arc::new(metrics)));
        let names: Vec<String> = (0..500).map(|n| format!("relay-{n}.example.com")).collect();
        let issued = issued(&names);
        let tls = Tls::new(files(&issued, &issued));
        let acceptor = Acceptor {
            connections: connections.clone(),
            limits: Limits {
                header_timeout: Duration::from_secs(60),
                keep_alive: Duration::from_secs(60),
                head_size: HEAD_BYTES,
            },
            keep_alive: KeepAlive::Os,
            tls: Some((TlsAcceptor::from(Arc::new(tls.server_config())), tls)),
        };
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("there is a port");
        let address = listener.local_addr().expect("it is bound");
        let client = async {
            let socket = TcpStream::connect(address).await.expect("it listens");
            let name = ServerName::try_from("relay-0.example.com").expect("it is a name");
            let connector = TlsConnector::from(Arc::new(client_config(&issued)));
            connector.connect(name, socket).await
        };
        let server = async {
            let (socket, peer) = listener.accept().await.expect("it is bound");
            acceptor.accept(socket, peer.ip()).await
        };
        let (_client, server) = tokio::join!(client, server);
        let stream = server.expect("the handshake is valid");
        let other = connections.register(address.ip()).expect("there is room");
        other.reserve(Incomplete::Head, HEAD_BYTES);
        let registration = stream.connection().registration();
        let signal = poll_fn(|cx| Poll::Ready(registration.close_signal(cx))).await;
        assert_eq!(signal, CloseSignal::None);
    }
}
