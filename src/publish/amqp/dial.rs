//! Making one connection: name resolution, TCP, TLS, login, within a bound of time.
//!
//! lapin drives a connection from a thread of its own, and that thread waits for the broker for as
//! long as the socket lives. So the room keeps a second handle of each socket: what is given up is
//! shut down, and its thread ends.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::Connection;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::AMQPUri;
use tokio::time::timeout;

use super::address::{Address, properties};
use super::settings::{Settings, Tls};
use super::{errors, tls};
use crate::publish::Failure;

/// How long a broker may take from the first packet to the end of the login.
const WITHIN: Duration = Duration::from_secs(5);

/// Ends a connection for good when it is dropped, whatever the broker does.
#[derive(Debug, Default)]
pub(super) struct Cut(Arc<OnceLock<TcpStream>>);

/// Connects to the broker at this place in the settings.
pub(super) async fn dial(settings: &Settings, place: usize) -> Result<(Connection, Cut), Failure> {
    let address = Address::new(settings, place)?;
    let at = address.place();
    let cut = Cut::default();
    let connecting = connect(address, settings.tls.clone(), Arc::clone(&cut.0));
    let failure = match timeout(WITHIN, connecting).await {
        Ok(Ok(connection)) => return Ok((connection, cut)),
        Ok(Err(error)) => errors::sort(&error),
        Err(_) => errors::timed_out("no connection in time"),
    };
    Err(Failure {
        detail: format!("{at}: {}", failure.detail),
        ..failure
    })
}

async fn connect(
    address: Address,
    tls: Option<Tls>,
    socket: Arc<OnceLock<TcpStream>>,
) -> lapin::Result<Connection> {
    let runtime = lapin::runtime::default_runtime()?;
    let is_tls = address.is_tls();
    let reactor = runtime.clone();
    let open = async move |uri: AMQPUri, _| {
        let host = uri.authority.host.as_str();
        let addresses = resolve(host, uri.authority.port).await?;
        let stream = within(AsyncTcpStream::connect(&reactor, addresses)).await?;
        if let AsyncTcpStream::Plain(stream) = &stream {
            let second = stream.get_ref().as_fd().try_clone_to_owned()?;
            // There is one attempt a dial: the slot is empty.
            let _ = socket.set(second.into());
        }
        if !is_tls {
            return Ok(stream);
        }
        let connector = tls::connector(tls.as_ref()).map_err(io::Error::other)?;
        let shaken = within(stream.into_rustls(&connector, host)).await;
        Ok(shaken.map_err(errors::DialError::handshake)?)
    };
    Connection::connector(address.uri, runtime, open, properties()).await
}

/// Asked anew for each connection: a broker's address changes when it moves.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = within(tokio::net::lookup_host((host, port))).await;
    Ok(found.map_err(errors::DialError::name)?.collect())
}

/// Each step on its own too: lapin's thread takes them, and nobody can call it back.
async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(WITHIN, step)
        .await
        .unwrap_or_else(|elapsed| Err(elapsed.into()))
}

impl Cut {
    /// Ends the connection now.
    pub(super) fn now(&self) {
        if let Some(socket) = self.0.get() {
            // Fails if it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.now();
    }
}
