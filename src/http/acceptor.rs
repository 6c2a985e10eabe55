//! Takes a new connection in: its place among the others, its TLS handshake, and HTTP over it.
//!
//! Runs on the workers' threads. The webhook listener and the admin listener both use it, with and without TLS.

use std::io;
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
use super::stream::{Encrypted, Stream, Transport};
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
                // The stream ends idle connections; the server is not to do it a second time.
                _ => KeepAlive::Os,
            },
            tls: tls.map(|tls| (TlsAcceptor::from(Arc::new(tls.server_config())), tls)),
        }
    }

    /// The service of one worker: serves `app` on each connection.
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
            // The stream has a time-out for each head, the server only one for the first.
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
                let stream = acceptor.accept(socket).await?;
                Ok((stream, Protocol::Http1, Some(peer)))
            }
        })
        .and_then(http)
        .map_err(move |error| {
            count(&error, &metrics);
            error
        })
    }

    async fn accept(self, socket: TcpStream) -> io::Result<Stream> {
        socket.set_nodelay(true)?;
        let peer = socket.peer_addr()?;
        let registration = self
            .connections
            .register(peer.ip())
            .map(Rc::new)
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        let (transport, certificate) = match &self.tls {
            None => (Transport::Plain(socket), None),
            Some((acceptor, tls)) => {
                self.shake_hands(socket, acceptor, tls, &registration)
                    .await?
            }
        };
        let connection = Connection::new(registration, certificate, self.limits);
        Ok(Stream::new(transport, connection))
    }

    /// A handshake has as long as a head, and a connection can be told to make room in the middle of it.
    async fn shake_hands(
        &self,
        socket: TcpStream,
        acceptor: &TlsAcceptor,
        tls: &Tls,
        registration: &Rc<Registration>,
    ) -> io::Result<(Transport, Option<ClientCertificate>)> {
        let encrypted = Encrypted::new(socket, registration.clone());
        let stream = tokio::select! {
            stream = timeout(self.limits.header_timeout, acceptor.accept(encrypted)) => stream.map_err(io::Error::from).flatten(),
            () = registration.ended() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let stream = stream.inspect_err(|error| {
            tracing::debug!(%error, "a TLS handshake failed");
            self.connections.metrics.tls_handshake_failed();
        })?;
        let certificate = tls.certificate(stream.get_ref().1);
        Ok((Transport::Tls(Box::new(stream)), certificate))
    }
}

/// Counts what the server has answered by itself, since it never was a request of the application.
fn count(ended_by: &DispatchError, metrics: &Metrics) {
    if let DispatchError::Parse(error) = ended_by {
        tracing::debug!(%error, "what came is no HTTP request");
        metrics.request_finished(Endpoint::Other, problem::BAD_HEAD.as_u16(), Duration::ZERO);
    }
}
