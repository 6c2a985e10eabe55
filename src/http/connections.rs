//! The open connections of one listener, and which of them are evicted when a limit is reached.
//!
//! Guarantees: at most `limit` connections are open, and at most [`MAX_CLOSING`] more are still closing; clients
//! without credentials cannot keep others out: when a new connection comes and the limit is reached, one that has shown
//! no good credentials is evicted ([`Candidates`] chooses it). The new connection is closed instead if all others have
//! shown credentials, or if too many are still closing. Incomplete heads and TLS records that are larger than one read
//! take at most `head_bytes` of memory together.
//! Not responsible for: the time-outs of one connection (`connection`).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use futures_util::task::AtomicWaker;

use super::candidates::{Candidates, network};
use super::connection::MAX_READ;
use crate::metrics::{Endpoint, Metrics};

/// The limit on evicted connections that are not closed yet: half of the limit on open ones, but at least the first and
/// at most the second number. When it is reached, new connections are closed.
const MAX_CLOSING: (usize, usize) = (16, 256);

/// How many candidates are searched for one without a handler at work.
const MAX_EXAMINED: usize = 64;

/// The shortest time between two log lines about the limit.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The connections of one listener, shared by its worker threads.
pub(super) struct Connections {
    limit: usize,
    head_bytes: usize,
    pub(super) metrics: Arc<Metrics>,
    /// Whether the metrics count the connections. They count those of the webhook listener only.
    is_counted: bool,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    /// The open connections, without the evicted ones.
    open: BTreeMap<u64, Arc<Handle>>,
    /// How many connections were evicted for another and are not closed yet.
    closing: usize,
    /// The connections in `open` that have shown no good credentials.
    unauthenticated: Candidates,
    /// The bytes of incomplete heads and TLS records that are larger than one read, by connection, and their sum.
    large: BTreeMap<u64, usize>,
    large_bytes: usize,
    /// The listener is stopping: each connection ends as soon as no handler works on a request of it.
    is_draining: bool,
    logged_at: Option<Instant>,
}

/// The part of a connection that other threads use.
#[derive(Default)]
struct Handle {
    signal: AtomicU8,
    is_busy: AtomicBool,
    waker: AtomicWaker,
}

/// Whether a connection has to end. A later variant overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseSignal {
    None,
    /// The listener is stopping: end as soon as no handler works on a request.
    Drain,
    /// Another connection needs the place or the memory: end at once.
    Evict,
}

/// The registration of one connection. Dropping it removes the connection.
pub(super) struct Registration {
    connections: Arc<Connections>,
    id: u64,
    peer: IpAddr,
    handle: Arc<Handle>,
    is_authenticated: Cell<bool>,
    /// Bytes of the incomplete head and of the incomplete TLS record, by [`Incomplete`].
    incomplete: Cell<[usize; 2]>,
}

/// What a connection may have received a part of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Incomplete {
    /// A request's head.
    Head,
    /// A TLS record or handshake message.
    Tls,
}

impl Connections {
    /// The connections of the webhook listener, which the metrics count.
    pub(super) fn for_webhooks(limit: usize, head_bytes: usize, metrics: Arc<Metrics>) -> Self {
        metrics.max_connections(limit);
        Self {
            is_counted: true,
            ..Self::for_admin(limit, head_bytes, metrics)
        }
    }

    /// The connections of the admin listener.
    pub(super) fn for_admin(limit: usize, head_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            limit,
            head_bytes,
            metrics,
            is_counted: false,
            table: Mutex::default(),
        }
    }

    /// Registers a connection, and evicts another one for it if the limit is reached. Returns `None` if none can be
    /// evicted: the caller has to close the new connection.
    pub(super) fn register(self: &Arc<Self>, peer: IpAddr) -> Option<Registration> {
        let peer = network(peer);
        let mut table = self.table();
        if table.open.len() >= self.limit {
            self.log_full(&mut table);
            let has_room = table.closing < self.max_closing() && table.evict_for_another();
            if self.is_counted {
                self.metrics.connection_evicted();
            }
            if !has_room {
                return None;
            }
        }
        let id = table.next_id;
        table.next_id += 1;
        let handle = Arc::new(Handle::default());
        if table.is_draining {
            handle.send(CloseSignal::Drain);
        }
        table.open.insert(id, handle.clone());
        table.unauthenticated.add(id, peer, 1);
        if self.is_counted {
            self.metrics.connection_opened();
        }
        Some(Registration {
            connections: self.clone(),
            id,
            peer,
            handle,
            is_authenticated: Cell::new(false),
            incomplete: Cell::default(),
        })
    }

    /// Ends all connections, also future ones, each as soon as no handler works on a request of it.
    pub(super) fn drain(&self) {
        let mut table = self.table();
        table.is_draining = true;
        for handle in table.open.values() {
            handle.send(CloseSignal::Drain);
        }
    }

    fn max_closing(&self) -> usize {
        let (least, most) = MAX_CLOSING;
        (self.limit / 2).clamp(least, most)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_full(&self, table: &mut Table) {
        let now = Instant::now();
        let is_due = table
            .logged_at
            .is_none_or(|logged_at| logged_at + LOG_INTERVAL <= now);
        if is_due {
            table.logged_at = Some(now);
            tracing::warn!(
                limit = self.limit,
                "as many connections are open as allowed: for each new one, one that has shown no good credentials is closed"
            );
        }
    }
}

impl Table {
    /// Evicts a connection that has shown no good credentials: the first candidate without a handler at work, or the
    /// first of all if the first [`MAX_EXAMINED`] all have one. Returns false if there is no candidate.
    fn evict_for_another(&mut self) -> bool {
        let is_idle = |(id, _): &(u64, IpAddr)| !self.open[id].is_busy.load(Relaxed);
        let candidates = || self.unauthenticated.eviction_order();
        let idle = candidates().take(MAX_EXAMINED).find(is_idle);
        let Some((id, peer)) = idle.or_else(|| candidates().next()) else {
            return false;
        };
        self.unauthenticated.remove(id, peer);
        if let Some(handle) = self.open.remove(&id) {
            self.closing += 1;
            handle.send(CloseSignal::Evict);
        }
        true
    }

    fn release(&mut self, id: u64) {
        if let Some(bytes) = self.large.remove(&id) {
            self.large_bytes -= bytes;
        }
    }
}

impl Handle {
    fn send(&self, signal: CloseSignal) {
        self.signal.fetch_max(signal as u8, SeqCst);
        self.waker.wake();
    }
}

impl Registration {
    /// Whether the connection has to end. The task of `cx` is woken when that changes.
    pub(super) fn close_signal(&self, cx: &mut Context<'_>) -> CloseSignal {
        self.handle.waker.register(cx.waker());
        match self.handle.signal.load(SeqCst) {
            0 => CloseSignal::None,
            1 => CloseSignal::Drain,
            _ => CloseSignal::Evict,
        }
    }

    /// Waits until the connection has to end.
    pub(super) async fn close_requested(&self) {
        poll_fn(|cx| match self.close_signal(cx) {
            CloseSignal::None => Poll::Pending,
            CloseSignal::Drain | CloseSignal::Evict => Poll::Ready(()),
        })
        .await;
    }

    /// Call this when a handler begins and ends its work on a request of the connection.
    pub(super) fn set_busy(&self, is_busy: bool) {
        self.handle.is_busy.store(is_busy, Relaxed);
    }

    /// Call this when the current request has shown good credentials. The connection is not evicted for another one
    /// until a later request has shown none.
    pub(super) fn authenticated(&self) {
        if !self.is_authenticated.replace(true) {
            let mut table = self.connections.table();
            table.unauthenticated.remove(self.id, self.peer);
        }
    }

    /// Call this when a request has ended that showed no good credentials. The connection may be evicted for another
    /// one again.
    pub(super) fn unauthenticated(&self) {
        if self.is_authenticated.replace(false) {
            let mut table = self.connections.table();
            if table.open.contains_key(&self.id) {
                table.unauthenticated.add(self.id, self.peer, 1);
            }
        }
    }

    /// Sets how many bytes the connection holds of an incomplete head or TLS record. Only parts that are larger than one
    /// read count. If those of all connections take more than `head_bytes`, connections with such parts are evicted, the
    /// oldest first.
    pub(super) fn reserve(&self, part: Incomplete, bytes: usize) {
        let mut parts = self.incomplete.get();
        let counted = if bytes > MAX_READ { bytes } else { 0 };
        if std::mem::replace(&mut parts[part as usize], counted) == counted {
            return;
        }
        self.incomplete.set(parts);
        let mut table = self.connections.table();
        table.release(self.id);
        let total = parts.iter().sum();
        if total == 0 {
            return;
        }
        table.large.insert(self.id, total);
        table.large_bytes += total;
        while table.large_bytes > self.connections.head_bytes
            && let Some((&id, _)) = table.large.first_key_value()
        {
            table.release(id);
            if let Some(handle) = table.open.get(&id) {
                handle.send(CloseSignal::Evict);
            }
        }
    }

    /// Counts a head that the stream has answered with this status by itself. The endpoint is not known.
    pub(super) fn head_refused(&self, status: StatusCode) {
        let metrics = &self.connections.metrics;
        metrics.request_finished(Endpoint::Other, status.as_u16(), Duration::ZERO);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.release(self.id);
        table.unauthenticated.remove(self.id, self.peer);
        if table.open.remove(&self.id).is_none() {
            table.closing -= 1;
        }
        if self.connections.is_counted {
            self.connections.metrics.connection_closed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Labels;

    fn connections(limit: usize, head_bytes: usize) -> Arc<Connections> {
        let labels = Labels {
            brokers: Vec::new(),
            problems: Vec::new(),
            success_status: 202,
        };
        let metrics = Metrics::new(&labels).expect("the metrics don't contradict each other");
        Arc::new(Connections::for_admin(limit, head_bytes, Arc::new(metrics)))
    }

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn register(connections: &Arc<Connections>, number: u8) -> Registration {
        connections.register(peer(number)).expect("there is room")
    }

    fn is_evicted(registration: &Registration) -> bool {
        registration.handle.signal.load(SeqCst) == CloseSignal::Evict as u8
    }

    #[test]
    fn the_oldest_of_the_address_that_has_most_makes_room() {
        let connections = connections(5, 0);
        let single = register(&connections, 1);
        let many: Vec<_> = (0..4).map(|_| register(&connections, 2)).collect();
        let new = register(&connections, 3);
        let evicted: Vec<bool> = many.iter().map(is_evicted).collect();
        assert_eq!(evicted, [true, false, false, false]);
        let _another = register(&connections, 3);
        assert!(is_evicted(&many[1]));
        assert!(!is_evicted(&single) && !is_evicted(&new));
    }

    #[test]
    fn among_addresses_that_have_as_many_the_oldest_makes_room() {
        let connections = connections(3, 0);
        let all = [9, 1, 5].map(|number| register(&connections, number));
        let _fourth = register(&connections, 7);
        assert_eq!(all.each_ref().map(is_evicted), [true, false, false]);
        let _fifth = register(&connections, 3);
        assert_eq!(all.each_ref().map(is_evicted), [true, true, false]);
    }

    #[test]
    fn the_newer_half_stays_though_its_address_has_the_most() {
        let connections = connections(8, 0);
        let unauthenticated = [1, 2, 3, 4].map(|number| register(&connections, number));
        let good = [(); 4].map(|()| register(&connections, 9));
        let _fifth = register(&connections, 9);
        assert_eq!(
            unauthenticated.each_ref().map(is_evicted),
            [true, false, false, false]
        );
        assert!(!good.iter().any(is_evicted));
    }

    #[test]
    fn who_has_shown_credentials_stays_and_a_new_one_is_closed_if_all_have() {
        let connections = connections(2, 0);
        let (first, second) = (register(&connections, 1), register(&connections, 1));
        first.authenticated();
        first.authenticated();
        let third = register(&connections, 2);
        assert!(is_evicted(&second) && !is_evicted(&first));
        third.authenticated();
        assert!(connections.register(peer(3)).is_none());
        drop(first);
        assert!(connections.register(peer(3)).is_some());
        drop((second, third));
        let table = connections.table();
        assert_eq!((table.open.len(), table.closing), (0, 0));
        assert_eq!(table.unauthenticated.weight(), 0);
    }

    #[test]
    fn a_connection_that_a_handler_works_for_is_not_the_first_to_go() {
        let connections = connections(4, 0);
        let (busy, idle) = (register(&connections, 1), register(&connections, 1));
        busy.set_busy(true);
        let newer = [(); 2].map(|()| register(&connections, 1));
        let _next = register(&connections, 1);
        assert!(is_evicted(&idle) && !is_evicted(&busy));
        newer[0].set_busy(true);
        let _another = register(&connections, 1);
        assert!(is_evicted(&busy), "if all are busy, the oldest goes");
        assert!(!newer.iter().any(is_evicted));
    }

    #[test]
    fn no_more_than_so_many_are_closing_at_once() {
        for (limit, closing) in [(1, 16), (100, 50), (600, 256)] {
            let connections = connections(limit, 0);
            let all: Vec<_> = (0..2000)
                .filter_map(|_| connections.register(peer(1)))
                .collect();
            assert_eq!(all.len(), limit + closing);
        }
    }

    #[test]
    fn incomplete_heads_that_are_larger_than_one_read_take_no_more_than_allowed_together() {
        const LARGE: usize = 3 * MAX_READ;
        let connections = connections(10, 10 * MAX_READ);
        let all: Vec<_> = (0..5).map(|_| register(&connections, 1)).collect();
        for registration in &all {
            for size in [MAX_READ, 2 * MAX_READ, LARGE] {
                registration.reserve(Incomplete::Head, size);
            }
        }
        let evicted: Vec<bool> = all.iter().map(is_evicted).collect();
        assert_eq!(evicted, [true, true, false, false, false]);
        all[2].reserve(Incomplete::Head, 0);
        all[3].reserve(Incomplete::Head, 7 * MAX_READ);
        assert!(!is_evicted(&all[3]));
        drop(all);
        assert_eq!(connections.table().large_bytes, 0);
    }

    #[test]
    fn an_incomplete_tls_record_counts_in_addition_to_the_incomplete_head_in_the_records_before_it()
    {
        const LARGE: usize = 2 * MAX_READ;
        let connections = connections(10, 4 * MAX_READ);
        let (one, other) = (register(&connections, 1), register(&connections, 2));
        let counted = || connections.table().large_bytes;
        one.reserve(Incomplete::Head, LARGE);
        one.reserve(Incomplete::Tls, MAX_READ);
        assert_eq!(counted(), LARGE, "a record of one read is not counted");
        one.reserve(Incomplete::Tls, LARGE);
        assert_eq!(counted(), 2 * LARGE);
        one.reserve(Incomplete::Tls, 0);
        assert_eq!(counted(), LARGE, "the head is still incomplete");
        one.reserve(Incomplete::Tls, LARGE);
        other.reserve(Incomplete::Head, LARGE);
        assert!(is_evicted(&one) && !is_evicted(&other));
        drop((one, other));
        assert_eq!(counted(), 0);
    }

    #[test]
    fn a_listener_that_stops_tells_every_connection() {
        let connections = connections(3, 0);
        let before = register(&connections, 1);
        connections.drain();
        let after = register(&connections, 1);
        for registration in [before, after] {
            assert_eq!(
                registration.handle.signal.load(SeqCst),
                CloseSignal::Drain as u8
            );
        }
    }
}
