//! The open connections of one listener, and which of them make room for others.
//!
//! Guarantees: at most `limit` connections are open, besides a few that are being closed; nobody without credentials
//! keeps others out: when a connection comes and there is no room, one that has shown no good credentials is closed
//! ([`Candidates`] chooses it). Only if all have shown credentials, the new one is closed.
//! Incomplete heads that are larger than one read take at most `head_bytes` of memory together.
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
use crate::metrics::{Endpoint, Metrics};

/// Connections that may still be open though they were told to close, at least and at most; in between, half of the limit.
/// A new one is closed beyond that.
const MAX_CLOSING: (usize, usize) = (16, 256);

/// How many of the candidates are looked at for one that no handler works for.
const MAX_LOOKED_AT: usize = 64;

/// The shortest time between two log lines about a listener that is full.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The connections of one listener, shared by its workers.
pub(super) struct Connections {
    limit: usize,
    head_bytes: usize,
    pub(super) metrics: Arc<Metrics>,
    /// Whether the connections themselves are counted: those of the webhook listener are.
    is_counted: bool,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    /// All that are open and were not told to close for another.
    open: BTreeMap<u64, Arc<Handle>>,
    /// How many were told to close for another, and are still there.
    closing: usize,
    /// Those without good credentials.
    unauthenticated: Candidates,
    /// The bytes of incomplete heads beyond one read, by connection, and their sum.
    large_heads: BTreeMap<u64, usize>,
    large_head_bytes: usize,
    /// The listener is stopping: connections end as soon as no handler works for them.
    is_draining: bool,
    logged_at: Option<Instant>,
}

/// What others may tell a connection, from any thread.
#[derive(Default)]
struct Handle {
    told: AtomicU8,
    is_busy: AtomicBool,
    waker: AtomicWaker,
}

/// What a connection was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// To end as soon as no handler works for it: the listener is stopping.
    Drain,
    /// To end at once: another connection needs the room.
    Evicted,
}

/// A connection's place among the others, which it gives back when it is dropped.
pub(super) struct Registration {
    connections: Arc<Connections>,
    id: u64,
    peer: IpAddr,
    handle: Arc<Handle>,
    is_authenticated: Cell<bool>,
    has_large_head: Cell<bool>,
}

impl Connections {
    /// The connections of the webhook listener, which are counted.
    pub(super) fn of_webhooks(limit: usize, head_bytes: usize, metrics: Arc<Metrics>) -> Self {
        metrics.max_connections(limit);
        Self {
            is_counted: true,
            ..Self::of_admin(limit, head_bytes, metrics)
        }
    }

    /// The connections of the admin listener.
    pub(super) fn of_admin(limit: usize, head_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            limit,
            head_bytes,
            metrics,
            is_counted: false,
            table: Mutex::default(),
        }
    }

    /// Registers a connection, if necessary in another's place. `None`: there is no room, and it is to be closed.
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
            handle.tell(Told::Drain);
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
            has_large_head: Cell::new(false),
        })
    }

    /// Ends all connections, each as soon as no handler works for it, and those that come from now on too.
    pub(super) fn drain(&self) {
        let mut table = self.table();
        table.is_draining = true;
        for handle in table.open.values() {
            handle.tell(Told::Drain);
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
    /// Closes one connection that has shown no good credentials: of the first candidates one that no handler works for,
    /// or else the first. Returns false if there is none.
    fn evict_for_another(&mut self) -> bool {
        let is_idle = |(id, _): &(u64, IpAddr)| !self.open[id].is_busy.load(Relaxed);
        let candidates = || self.unauthenticated.first();
        let idle = candidates().take(MAX_LOOKED_AT).find(is_idle);
        let Some((id, peer)) = idle.or_else(|| candidates().next()) else {
            return false;
        };
        self.unauthenticated.remove(id, peer);
        if let Some(handle) = self.open.remove(&id) {
            self.closing += 1;
            handle.tell(Told::Evicted);
        }
        true
    }

    fn release_head(&mut self, id: u64) {
        if let Some(bytes) = self.large_heads.remove(&id) {
            self.large_head_bytes -= bytes;
        }
    }
}

impl Handle {
    fn tell(&self, told: Told) {
        self.told.fetch_max(told as u8, SeqCst);
        self.waker.wake();
    }
}

impl Registration {
    /// What the connection was told. The task of `cx` is woken when that changes.
    pub(super) fn told(&self, cx: &mut Context<'_>) -> Told {
        self.handle.waker.register(cx.waker());
        match self.handle.told.load(SeqCst) {
            0 => Told::Nothing,
            1 => Told::Drain,
            _ => Told::Evicted,
        }
    }

    /// Waits until the connection was told to end.
    pub(super) async fn ended(&self) {
        poll_fn(|cx| match self.told(cx) {
            Told::Nothing => Poll::Pending,
            Told::Drain | Told::Evicted => Poll::Ready(()),
        })
        .await;
    }

    /// Whether a handler works for the connection.
    pub(super) fn set_busy(&self, is_busy: bool) {
        self.handle.is_busy.store(is_busy, Relaxed);
    }

    /// The current request has shown good credentials: the connection is not closed in favour of others until one has
    /// not.
    pub(super) fn authenticated(&self) {
        if !self.is_authenticated.replace(true) {
            let mut table = self.connections.table();
            table.unauthenticated.remove(self.id, self.peer);
        }
    }

    /// The last request on the connection has shown no good credentials: the connection may be closed in favour of others
    /// again.
    pub(super) fn unauthenticated(&self) {
        if self.is_authenticated.replace(false) {
            let mut table = self.connections.table();
            if table.open.contains_key(&self.id) {
                table.unauthenticated.add(self.id, self.peer, 1);
            }
        }
    }

    /// An incomplete head takes that many bytes beyond one read. If all such heads take more than allowed, connections
    /// with one are closed, the oldest first.
    pub(super) fn reserve_head(&self, bytes: usize) {
        self.has_large_head.set(true);
        let mut table = self.connections.table();
        let before = table.large_heads.insert(self.id, bytes).unwrap_or(0);
        table.large_head_bytes = table.large_head_bytes - before + bytes;
        while table.large_head_bytes > self.connections.head_bytes {
            let Some((&id, _)) = table.large_heads.first_key_value() else {
                return;
            };
            table.release_head(id);
            if let Some(handle) = table.open.get(&id) {
                handle.tell(Told::Evicted);
            }
        }
    }

    /// The stream has answered a head with this status by itself. Which endpoint it was meant for is not known.
    pub(super) fn head_refused(&self, status: StatusCode) {
        let metrics = &self.connections.metrics;
        metrics.request_finished(Endpoint::Other, status.as_u16(), Duration::ZERO);
    }

    /// The head is complete.
    pub(super) fn release_head(&self) {
        if self.has_large_head.replace(false) {
            self.connections.table().release_head(self.id);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.release_head(self.id);
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
        Arc::new(Connections::of_admin(limit, head_bytes, Arc::new(metrics)))
    }

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn register(connections: &Arc<Connections>, number: u8) -> Registration {
        connections.register(peer(number)).expect("there is room")
    }

    fn is_evicted(registration: &Registration) -> bool {
        registration.handle.told.load(SeqCst) == Told::Evicted as u8
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
        let strangers = [1, 2, 3, 4].map(|number| register(&connections, number));
        let good = [(); 4].map(|()| register(&connections, 9));
        let _fifth = register(&connections, 9);
        assert_eq!(
            strangers.each_ref().map(is_evicted),
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
    fn large_heads_take_no_more_than_allowed_together() {
        let connections = connections(10, 100);
        let all: Vec<_> = (0..5).map(|_| register(&connections, 1)).collect();
        for registration in &all {
            registration.reserve_head(10);
            registration.reserve_head(30);
        }
        let evicted: Vec<bool> = all.iter().map(is_evicted).collect();
        assert_eq!(evicted, [true, true, false, false, false]);
        all[2].release_head();
        all[3].reserve_head(70);
        assert!(!is_evicted(&all[3]));
        drop(all);
        assert_eq!(connections.table().large_head_bytes, 0);
    }

    #[test]
    fn a_listener_that_stops_tells_every_connection() {
        let connections = connections(3, 0);
        let before = register(&connections, 1);
        connections.drain();
        let after = register(&connections, 1);
        for registration in [before, after] {
            assert_eq!(registration.handle.told.load(SeqCst), Told::Drain as u8);
        }
    }
}
