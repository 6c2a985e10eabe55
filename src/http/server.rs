//! Binds both listeners and runs them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_server::Server;
use actix_web::{App, HttpRequest, web};
use socket2::{Domain, Socket, Type};

use super::acceptor::Acceptor;
use super::admin::{self, Admin};
use super::body::Bounds;
use super::connections::Connections;
use super::edge::Edge;
use super::limits::InFlight;
use super::open_files::{self, ConnectionLimits};
use super::phase::SharedPhase;
use super::problem;
use super::settings::{AdminSettings, Settings, SourceSettings};
use super::source::Sources;
use super::stop::{Shutdown, Stopper};
use super::unknown_keys::UnknownKeys;
use super::webhooks::{self, Listener, WebhookService};
use crate::delivery::Delivery;
use crate::metrics::Metrics;

/// What the listeners use of the rest of the bridge.
#[derive(Clone)]
pub struct Behind {
    /// Puts payloads into envelopes, and publishes them to their destinations.
    pub delivery: Delivery,
    /// The metrics of the bridge.
    pub metrics: Arc<Metrics>,
}

/// The addresses that the listeners are bound to. With port 0, the system has chosen the port.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The address of the webhook listener.
    pub webhooks: SocketAddr,
    /// The address of the admin listener.
    pub admin: SocketAddr,
}

/// A listener could not be bound, or a setting cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BindError {
    /// The address and its setting, or the setting alone.
    pub what: String,
    /// The cause.
    pub source: io::Error,
}

/// One listener, bound but not serving yet, and its connections.
struct BoundListener {
    server: Server,
    connections: Arc<Connections>,
}

/// Both listeners, bound but not serving yet.
pub struct Bound {
    webhooks: BoundListener,
    admin: BoundListener,
    addresses: Addresses,
    stopper: Stopper,
    edge: Edge,
    phase: Arc<SharedPhase>,
    stop_delay: Duration,
    shutdown_timeout: Duration,
}

/// The limit on connections of the admin listener, which has only a few probes and scrapers.
const ADMIN_CONNECTIONS: usize = 256;

/// The limit on the memory of incomplete heads on the admin listener. Heads that are smaller than one read are not
/// counted.
const ADMIN_HEAD_BYTES: usize = 1024 * 1024;

/// The `backlog` of `listen(2)`: connections that the system queues until they are accepted.
const BACKLOG: i32 = 4096;

/// How many connections more than its share a worker may have. actix-server limits each worker, and this keeps its
/// limit above ours, which is for all workers together.
const MAX_IMBALANCE: usize = 512;

/// Binds both listeners. Nothing is served before [`Bound::run`].
///
/// # Errors
/// When an address is in use or does not belong to this machine, when the TLS files cannot be used, or when the limit
/// on open files is too low.
pub fn bind(
    settings: &Settings,
    admin: &AdminSettings,
    sources: &[SourceSettings],
    behind: Behind,
) -> Result<Bound, BindError> {
    let limits = open_files::connection_limits(ConnectionLimits {
        webhooks: settings.max_connections,
        admin: ADMIN_CONNECTIONS,
    })
    .map_err(|source| BindError {
        what: "http.max_connections".to_owned(),
        source,
    })?;
    let phase = Arc::new(SharedPhase::new());
    let admin_service = Admin {
        delivery: behind.delivery.clone(),
        metrics: behind.metrics.clone(),
        phase: phase.clone(),
    };
    let generation = behind.delivery.current();
    let edge = Edge::new(settings, sources, generation, behind.metrics.clone()).map_err(|why| {
        BindError {
            what: "http.tls".to_owned(),
            source: io::Error::other(why.to_string()),
        }
    })?;
    let failed = |setting: &str, address: SocketAddr| {
        let what = format!("can't listen on {address} ({setting})");
        |source| BindError { what, source }
    };
    let (webhooks, webhooks_at) =
        webhook_listener(settings, limits.webhooks, &edge, behind, &phase)
            .map_err(failed("http.listen", settings.listen))?;
    let (admin, admin_at) = admin_listener(settings, admin, limits.admin, admin_service)
        .map_err(failed("admin.listen", admin.listen))?;
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

/// The connections that one worker may have, so that the limit over all workers decides, and not this one.
fn max_of_worker(max_connections: usize, workers: usize) -> usize {
    let share = max_connections.div_ceil(workers.max(1));
    share + share.min(MAX_IMBALANCE)
}

fn webhook_listener(
    settings: &Settings,
    max_connections: usize,
    edge: &Edge,
    behind: Behind,
    phase: &Arc<SharedPhase>,
) -> io::Result<(BoundListener, SocketAddr)> {
    let connections = Arc::new(Connections::for_webhooks(
        max_connections,
        (settings.max_in_flight_bytes / 4).max(2 * settings.head_size),
        behind.metrics.clone(),
    ));
    let delivery = behind.delivery.clone();
    let listener = Arc::new(listener(
        settings,
        edge.sources.clone(),
        behind,
        phase.clone(),
    ));
    let acceptor = Acceptor::new(settings, &connections, edge.tls.clone());
    let socket = socket(settings.listen)?;
    let address = socket.local_addr()?;
    let server = Server::build()
        .workers(settings.workers)
        .max_concurrent_connections(max_of_worker(max_connections, settings.workers))
        // `Shutdown` has the time-out that counts. The one of actix-server has whole seconds only, and must not be
        // shorter.
        .shutdown_timeout(settings.shutdown_timeout.as_secs() + 60)
        .disable_signals()
        .listen("webhooks", socket, move || {
            let port = delivery.port();
            actix_web::rt::spawn(port.clone().answering());
            let service = Rc::new(WebhookService {
                listener: listener.clone(),
                port,
            });
            let app = App::new().default_service(web::to(
                move |request: HttpRequest, payload: web::Payload| {
                    webhooks::answer(service.clone(), request, payload.into_inner())
                },
            ));
            acceptor.service(app)
        })?;
    let listening = BoundListener {
        server: server.run(),
        connections,
    };
    Ok((listening, address))
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
        unknown_keys: UnknownKeys::default(),
        phase,
        metrics: behind.metrics,
    }
}

fn admin_listener(
    settings: &Settings,
    admin: &AdminSettings,
    max_connections: usize,
    service: Admin,
) -> io::Result<(BoundListener, SocketAddr)> {
    let connections = Arc::new(Connections::for_admin(
        max_connections,
        ADMIN_HEAD_BYTES.max(2 * settings.head_size),
        service.metrics.clone(),
    ));
    let acceptor = Acceptor::new(settings, &connections, None);
    let socket = socket(admin.listen)?;
    let address = socket.local_addr()?;
    let server = Server::build()
        .workers(1)
        .max_concurrent_connections(max_of_worker(max_connections, 1))
        .disable_signals()
        .listen("admin", socket, move || {
            let service = Rc::new(service.clone());
            acceptor.service(App::new().default_service(web::to(
                move |request: HttpRequest, payload: web::Payload| {
                    admin::answer(service.clone(), request, payload.into_inner())
                },
            )))
        })?;
    let listening = BoundListener {
        server: server.run(),
        connections,
    };
    Ok((listening, address))
}

/// Returns a socket that listens at this address.
fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Bound {
    /// The addresses that the listeners are bound to.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Returns what stops the listeners.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Returns what changes sources and certificates while the listeners are serving.
    #[must_use]
    pub fn edge(&self) -> Edge {
        self.edge.clone()
    }

    /// Serves until stopped. Returns when no request is in flight any more, or after `http.shutdown_timeout`. The admin
    /// listener stops last.
    ///
    /// # Errors
    /// When a listener ends without being stopped.
    pub async fn run(self) -> io::Result<()> {
        let shutdown = Shutdown {
            webhooks: self.webhooks.server.handle(),
            connections: self.webhooks.connections,
            stop_requests: self.stopper.stop_requests(),
            phase: self.phase,
            stop_delay: self.stop_delay,
            shutdown_timeout: self.shutdown_timeout,
        };
        let admin_handle = self.admin.server.handle();
        let stop_requested = shutdown.stop_requested();
        let mut webhooks = tokio::spawn(self.webhooks.server);
        let mut admin = tokio::spawn(self.admin.server);
        let outcome = tokio::select! {
            () = stop_requested => Ok(()),
            ended = &mut webhooks => Err(listener_failed(ended)),
            ended = &mut admin => Err(listener_failed(ended)),
        };
        if outcome.is_ok() {
            shutdown.run().await;
        }
        // If the server did not stop in time, aborting its task ends the rest of it.
        webhooks.abort();
        admin_handle.stop(false).await;
        outcome
    }
}

fn listener_failed(ended: Result<io::Result<()>, tokio::task::JoinError>) -> io::Error {
    match ended {
        Ok(Ok(())) => io::Error::other("a listener ended"),
        Ok(Err(error)) => error,
        Err(error) => io::Error::other(error),
    }
}
