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
use super::open_files::{self, Room};
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

/// Why the listeners can't be had.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BindError {
    /// The listener, or the setting.
    pub what: String,
    /// Why.
    pub source: io::Error,
}

/// One listener, bound but not serving yet, and its connections.
struct Listening {
    server: Server,
    connections: Arc<Connections>,
}

/// Both listeners, bound but not serving yet.
pub struct Bound {
    webhooks: Listening,
    admin: Listening,
    addresses: Addresses,
    stopper: Stopper,
    edge: Edge,
    phase: Arc<SharedPhase>,
    stop_delay: Duration,
    shutdown_timeout: Duration,
}

/// Connections of the admin listener: a few probes and scrapers.
const ADMIN_CONNECTIONS: usize = 256;

/// Bytes that incomplete heads on the admin listener may take beyond one read each.
const ADMIN_HEAD_BYTES: usize = 1024 * 1024;

/// Connections that the system holds until a worker has room for them.
const BACKLOG: i32 = 4096;

/// Connections over its share that a worker may have, so that the limit over all workers decides, and not actix's
/// limit for each of them.
const UNEVEN_SHARE: usize = 512;

/// Binds both listeners. Nothing is served before [`Bound::run`].
///
/// # Errors
/// When an address is taken or not the machine's. It is told which.
pub fn bind(
    settings: &Settings,
    admin: &AdminSettings,
    sources: &[SourceSettings],
    behind: Behind,
) -> Result<Bound, BindError> {
    let room = open_files::room(Room {
        webhooks: settings.max_connections,
        admin: ADMIN_CONNECTIONS,
    })
    .map_err(|source| BindError {
        what: "http.max_connections".to_owned(),
        source,
    })?;
    let phase = Arc::new(SharedPhase::new());
    let shown = (
        behind.delivery.clone(),
        behind.metrics.clone(),
        phase.clone(),
    );
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
    let (webhooks, webhooks_at) = webhook_listener(settings, room.webhooks, &edge, behind, &phase)
        .map_err(failed("http.listen", settings.listen))?;
    let (admin, admin_at) = admin_listener(settings, admin, room.admin, shown)
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

fn webhook_listener(
    settings: &Settings,
    max_connections: usize,
    edge: &Edge,
    behind: Behind,
    phase: &Arc<SharedPhase>,
) -> io::Result<(Listening, SocketAddr)> {
    let connections = Arc::new(Connections::of_webhooks(
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
        .max_concurrent_connections(
            max_connections.div_ceil(settings.workers.max(1)) + UNEVEN_SHARE,
        )
        // Ours counts in less than seconds; this one must only never be the shorter.
        .shutdown_timeout(settings.shutdown_timeout.as_secs() + 60)
        .disable_signals()
        .listen("webhooks", socket, move || {
            let port = delivery.port();
            actix_web::rt::spawn(port.clone().answering());
            let desk = Rc::new(Desk {
                listener: listener.clone(),
                port,
            });
            let app = App::new().default_service(web::to(
                move |request: HttpRequest, payload: web::Payload| {
                    webhooks::answer(desk.clone(), request, payload.into_inner())
                },
            ));
            acceptor.service(app)
        })?;
    let listening = Listening {
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
        strangers: Strangers::default(),
        phase,
        metrics: behind.metrics,
    }
}

fn admin_listener(
    settings: &Settings,
    admin: &AdminSettings,
    max_connections: usize,
    (delivery, metrics, phase): (Delivery, Arc<Metrics>, Arc<SharedPhase>),
) -> io::Result<(Listening, SocketAddr)> {
    let connections = Arc::new(Connections::of_admin(
        max_connections,
        ADMIN_HEAD_BYTES.max(2 * settings.head_size),
        metrics.clone(),
    ));
    let acceptor = Acceptor::new(settings, &connections, None);
    let socket = socket(admin.listen)?;
    let address = socket.local_addr()?;
    let server = Server::build()
        .workers(1)
        .max_concurrent_connections(max_connections + UNEVEN_SHARE)
        .disable_signals()
        .listen("admin", socket, move || {
            let admin = Rc::new(Admin {
                delivery: delivery.clone(),
                metrics: metrics.clone(),
                phase: phase.clone(),
            });
            acceptor.service(App::new().default_service(web::to(
                move |request: HttpRequest, payload: web::Payload| {
                    admin::answer(admin.clone(), request, payload.into_inner())
                },
            )))
        })?;
    let listening = Listening {
        server: server.run(),
        connections,
    };
    Ok((listening, address))
}

/// A socket that listens at that address.
fn socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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
            webhooks: self.webhooks.server.handle(),
            connections: self.webhooks.connections,
            wishes: self.stopper.wishes(),
            phase: self.phase,
            stop_delay: self.stop_delay,
            shutdown_timeout: self.shutdown_timeout,
        };
        let admin_handle = self.admin.server.handle();
        let wished = leave.wished();
        let mut webhooks = tokio::spawn(self.webhooks.server);
        let mut admin = tokio::spawn(self.admin.server);
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
