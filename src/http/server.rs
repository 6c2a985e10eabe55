//! Binds both listeners and runs them.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::{App, HttpRequest, HttpServer, web};

use super::admin::{self, Admin};
use super::body::Bounds;
use super::connection::Connection;
use super::edge::Edge;
use super::limits::InFlight;
use super::open_files;
use super::phase::SharedPhase;
use super::problem;
use super::settings::{AdminSettings, Settings, SourceSettings};
use super::source::Sources;
use super::stop::{Leave, Stopper};
use super::strangers::Strangers;
use super::webhooks::{self, Desk, Listener};
use crate::delivery::Delivery;
use crate::metrics::Metrics;

/// What stands behind the listeners.
#[derive(Clone)]
pub struct Behind {
    /// Seals payloads, and brings them to where its table says.
    pub delivery: Delivery,
    /// Counts what happens.
    pub metrics: Arc<Metrics>,
}

/// Where the listeners really are: with port 0 the system chose.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Takes webhooks.
    pub webhooks: SocketAddr,
    /// For those who run the bridge.
    pub admin: SocketAddr,
}

/// Both listeners, bound but not serving yet.
pub struct Bound {
    webhooks: Server,
    admin: Server,
    addresses: Addresses,
    stopper: Stopper,
    edge: Edge,
    phase: Arc<SharedPhase>,
    stop_delay: Duration,
    shutdown_timeout: Duration,
}

/// Connections of the admin listener: a few probes and scrapers.
const ADMIN_CONNECTIONS: usize = 256;

/// Connections that the system holds until a worker has room for them.
const BACKLOG: u32 = 4096;

/// Binds both listeners. Nothing is served before [`Bound::run`].
///
/// # Errors
/// When an address is taken or not the machine's.
pub fn bind(
    settings: &Settings,
    admin: &AdminSettings,
    sources: &[SourceSettings],
    behind: Behind,
) -> io::Result<Bound> {
    open_files::raise(settings.max_connections);
    let phase = Arc::new(SharedPhase::new());
    let shown = (
        behind.delivery.clone(),
        behind.metrics.clone(),
        phase.clone(),
    );
    let generation = behind.delivery.current();
    let edge = Edge::new(settings, sources, generation, behind.metrics.clone())
        .map_err(|why| io::Error::other(format!("http.tls: {why}")))?;
    let (webhooks, webhooks_at) = webhook_listener(settings, &edge, behind, &phase)?;
    let (admin, admin_at) = admin_listener(admin, shown)?;
    Ok(Bound {
        webhooks,
        admin,
        addresses: Addresses {
            webhooks: webhooks_at,
            admin: admin_at,
        },
        stopper: Stopper::new(),
        edge,
        phase,
        stop_delay: settings.stop_delay,
        shutdown_timeout: settings.shutdown_timeout,
    })
}

fn webhook_listener(
    settings: &Settings,
    edge: &Edge,
    behind: Behind,
    phase: &Arc<SharedPhase>,
) -> io::Result<(Server, SocketAddr)> {
    let connections = behind.metrics.clone();
    let delivery = behind.delivery.clone();
    let certificates = edge.tls.clone();
    let listener = Arc::new(listener(
        settings,
        edge.sources.clone(),
        behind,
        phase.clone(),
    ));
    let server = HttpServer::new(move || {
        let port = delivery.port();
        actix_web::rt::spawn(port.clone().answering());
        let desk = Rc::new(Desk {
            listener: listener.clone(),
            port,
        });
        App::new().default_service(web::to(
            move |request: HttpRequest, payload: web::Payload| {
                webhooks::answer(desk.clone(), request, payload.into_inner())
            },
        ))
    })
    .on_connect(move |connection: &dyn Any, data: &mut Extensions| {
        let certificate = certificates
            .as_ref()
            .and_then(|tls| tls.certificate(connection));
        data.insert(Connection::open(connections.clone(), certificate));
    })
    .workers(settings.workers)
    .max_connections(settings.max_connections.div_ceil(settings.workers.max(1)))
    .backlog(BACKLOG)
    .client_request_timeout(settings.header_timeout)
    .keep_alive(settings.keep_alive)
    .tcp_nodelay(true)
    // Ours counts in less than seconds; this one must only never be the shorter.
    .shutdown_timeout(settings.shutdown_timeout.as_secs() + 60)
    .tls_handshake_timeout(settings.header_timeout)
    // Of each worker. As many as connections: a handshake that does not come holds nobody else up.
    .max_connection_rate(settings.max_connections)
    .disable_signals();
    let server = match &edge.tls {
        Some(tls) => server.bind_rustls_0_23(settings.listen, tls.server_config())?,
        None => server.bind(settings.listen)?,
    };
    let address = server.addrs()[0];
    Ok((server.run(), address))
}

fn listener(
    settings: &Settings,
    sources: Arc<Sources>,
    behind: Behind,
    phase: Arc<SharedPhase>,
) -> Listener {
    Listener {
        sources,
        bounds: Bounds {
            max: settings.max_body,
            timeout: settings.body_timeout,
            min_rate: settings.body_min_rate as u64,
        },
        head_size: settings.head_size,
        success: problem::success(settings.success_status),
        in_flight: InFlight::new(
            settings.max_in_flight,
            settings.max_in_flight_bytes,
            behind.metrics.clone(),
        ),
        strangers: Strangers::default(),
        phase,
        metrics: behind.metrics,
    }
}

fn admin_listener(
    settings: &AdminSettings,
    (delivery, metrics, phase): (Delivery, Arc<Metrics>, Arc<SharedPhase>),
) -> io::Result<(Server, SocketAddr)> {
    let server = HttpServer::new(move || {
        let admin = Rc::new(Admin {
            delivery: delivery.clone(),
            metrics: metrics.clone(),
            phase: phase.clone(),
        });
        App::new().default_service(web::to(move |request: HttpRequest| {
            admin::answer(admin.clone(), request)
        }))
    })
    .workers(1)
    .max_connections(ADMIN_CONNECTIONS)
    .disable_signals()
    .bind(settings.listen)?;
    let address = server.addrs()[0];
    Ok((server.run(), address))
}

impl Bound {
    /// Where the listeners are.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What stops them.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// What of them can be changed while they serve.
    #[must_use]
    pub fn edge(&self) -> Edge {
        self.edge.clone()
    }

    /// Serves until stopped, and returns when nothing is in flight any more or its time is up.
    /// The admin listener is the last to go.
    ///
    /// # Errors
    /// When a listener ends by itself.
    pub async fn run(self) -> io::Result<()> {
        let leave = Leave {
            webhooks: self.webhooks.handle(),
            wishes: self.stopper.wishes(),
            phase: self.phase,
            stop_delay: self.stop_delay,
            shutdown_timeout: self.shutdown_timeout,
        };
        let admin_handle = self.admin.handle();
        let wished = leave.wished();
        let mut webhooks = tokio::spawn(self.webhooks);
        let mut admin = tokio::spawn(self.admin);
        let outcome = tokio::select! {
            () = wished => Ok(()),
            ended = &mut webhooks => Err(ended_by_itself(ended)),
            ended = &mut admin => Err(ended_by_itself(ended)),
        };
        if outcome.is_ok() {
            leave.in_order().await;
        }
        // What is left of a server that did not stop in time goes with its task.
        webhooks.abort();
        admin_handle.stop(false).await;
        outcome
    }
}

fn ended_by_itself(ended: Result<io::Result<()>, tokio::task::JoinError>) -> io::Error {
    match ended {
        Ok(Ok(())) => io::Error::other("a listener ended"),
        Ok(Err(error)) => error,
        Err(error) => io::Error::other(error),
    }
}
