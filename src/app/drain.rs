//! Publishing what is left in the spool, without taking webhooks.

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{FLUSH, Failed, failed, lanes};
use crate::config::Config;
use crate::delivery::{Delivery, Left, queue_name};
use crate::route;
use crate::spool::{Found, Spool};

/// How often is looked at what is left.
const LOOK: Duration = Duration::from_millis(50);

/// How draining the spool ended.
#[derive(Debug)]
pub struct Drained {
    /// Events that are published now, or in the dead letters.
    pub events: u64,
    /// What is left, by destination. Empty: the spool is.
    pub left: Vec<Left>,
    /// How long it took.
    pub took: Duration,
}

/// Publishes what the spool holds, in order, until nothing is left, the time is over, or SIGTERM,
/// SIGINT or SIGHUP comes. `show` is told again and again how many events there were and how many are left.
///
/// # Errors
/// When the configuration can't work on this machine, or a bridge works in the spool.
pub fn drain(
    config: &Config,
    timeout: Option<Duration>,
    show: impl FnMut(u64, u64),
) -> Result<Drained, Failed> {
    super::check(config)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| failed("no runtime can be started", source))?;
    let began = Instant::now();
    // Before anything is done, so that whoever ends it is told what is left.
    let ends = {
        let _guard = runtime.enter();
        Ends::new().map_err(|source| failed("signals can't be received", source))?
    };
    // Also with `spool.max_size` at 0: what was left before is still to be published.
    let opened = Spool::open(&config.spool).map_err(Failed::Spool)?;
    let found = opened.found().to_vec();
    let delivery = lanes(config, &runtime, Some(opened))?.behind.delivery;
    let there = delivery.spooled();
    runtime.block_on(until_empty(&delivery, timeout, ends, show));
    delivery.stop(FLUSH);
    runtime.shutdown_timeout(Duration::from_secs(1));
    let mut left = delivery.backlogs();
    let waits: u64 = left.iter().map(|left| left.events).sum();
    left.extend(without_lane(&delivery, &found));
    Ok(Drained {
        events: there.saturating_sub(waits),
        left,
        took: began.elapsed(),
    })
}

/// The signals that end it early. That of a terminal which was closed is one of them.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Ends {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

async fn until_empty(
    delivery: &Delivery,
    timeout: Option<Duration>,
    mut ends: Ends,
    mut show: impl FnMut(u64, u64),
) {
    let mut look = tokio::time::interval(LOOK);
    let over = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let there = delivery.spooled();
    tracing::info!(events = there, "draining the spool");
    loop {
        let left = delivery.spooled();
        show(there, left);
        if left == 0 {
            return;
        }
        tokio::select! {
            _ = look.tick() => {}
            () = &mut over => return,
            _ = ends.terminate.recv() => return,
            _ = ends.interrupt.recv() => return,
            _ = ends.hang_up.recv() => return,
        }
    }
}

/// What no lane can drain.
fn without_lane(delivery: &Delivery, found: &[Found]) -> Vec<Left> {
    let current = delivery.current();
    let lanes: Vec<_> = current
        .table()
        .destinations()
        .iter()
        .filter_map(queue_name)
        .collect();
    let others = found
        .iter()
        .filter(|found| found.next > found.first && !lanes.contains(&found.name));
    let left = others.map(|found| Left {
        destination: route::shown(found.name.as_str()),
        events: found.next - found.first,
        detail: "its broker is not configured".to_owned(),
    });
    left.collect()
}
