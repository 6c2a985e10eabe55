//! The spool, opened for the destinations of the configuration and for those that it left behind.

use std::sync::Arc;
use std::time::Duration;

use super::{Failed, failed};
use crate::config::Config;
use crate::delivery;
use crate::metrics::Metrics;
use crate::route::{self, Destination, Table};
use crate::spool::{Found, Name, Opened, Spool, Watcher};

/// Takes the spool's directory and recovers what is in it; none if the spool is off.
pub(super) fn open(config: &Config) -> Result<Option<Opened>, Failed> {
    if config.spool.max_size == 0 {
        return Ok(None);
    }
    let opened = Spool::open(&config.spool);
    Ok(Some(opened.map_err(Failed::Spool)?))
}

/// The table with a lane for each destination that has events in the spool, is routed to no more,
/// and is at a broker that is on.
pub(super) fn with_what_is_left(table: Table, config: &Config, opened: &Opened) -> Table {
    let on = config.brokers();
    let undone = opened
        .found()
        .iter()
        .filter(|found| found.first < found.next);
    let left = undone.filter_map(destination);
    let left: Vec<Destination> = left
        .filter(|destination| on.contains(&destination.broker))
        .filter(|destination| !table.destinations().contains(destination))
        .collect();
    for destination in &left {
        tell_of_what_is_left(destination);
    }
    table.with_unrouted(left)
}

/// No route leads to this destination any more.
pub(super) fn tell_of_what_is_left(destination: &Destination) {
    tracing::warn!(
        %destination,
        "no route leads to this destination any more; what the spool holds for it is still published"
    );
}

/// Starts the spool's writer, after a look at what no lane is for.
pub(super) fn start(
    opened: Opened,
    config: &Config,
    table: &Table,
    metrics: &Arc<Metrics>,
) -> Result<Spool, Failed> {
    metrics.spool_max_bytes(config.spool.max_size);
    let names = queue_names(table).map_err(Failed::Configuration)?;
    for found in undone(&opened).filter(|found| !names.contains(&found.name)) {
        show_what_waits_for_nobody(&opened, found, metrics);
    }
    let watcher = Arc::new(SpoolWatcher(Arc::clone(metrics)));
    opened
        .start(watcher)
        .map_err(|source| failed("no thread for the spool's writer", source))
}

/// What the queues of these destinations are called.
pub(super) fn queue_names(table: &Table) -> Result<Vec<Name>, String> {
    let names = table.destinations().iter().map(|destination| {
        delivery::queue_name(destination)
            .ok_or_else(|| format!("{destination}: a name of over 2,000 bytes can't be spooled"))
    });
    names.collect()
}

fn undone(opened: &Opened) -> impl Iterator<Item = &Found> {
    let found = opened.found().iter();
    found.filter(|found| found.first < found.next)
}

fn destination(found: &Found) -> Option<Destination> {
    Destination::from_stored(found.name.as_str())
}

/// Its broker is not configured: kept, counted, and told.
fn show_what_waits_for_nobody(opened: &Opened, found: &Found, metrics: &Metrics) {
    let events = found.next - found.first;
    if let Some(destination) = destination(found) {
        let queue = metrics.queue_without_lane(destination.broker, &destination.name());
        queue.holds(events, opened.bytes(&found.name));
        queue.oldest(found.oldest);
    }
    let name = route::shown(found.name.as_str());
    tracing::warn!(
        destination = name,
        events,
        "the spool holds events for a broker that is not configured: they are kept; configure it again, or \
         give them up with `minchat-bridge spool discard --destination {name}`"
    );
}

struct SpoolWatcher(Arc<Metrics>);

impl Watcher for SpoolWatcher {
    fn synced(&self, took: Duration) {
        self.0.spool_synced(took);
    }

    fn corrupt(&self, places: u64) {
        self.0.spool_corrupt(places);
    }
}
