//! Dead letters where they lie: read, and published again as the events that they are about.

use std::collections::HashSet;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::places::Place;
use super::{FLUSH, Failed, failed, lanes, sealer, table};
use crate::config::Config;
use crate::delivery::{Delivery, EventLimits, Port, Receipt};
use crate::envelope::{DeadLetter, Event, EventType, SealedSize, Sealer};
use crate::minchat::Kind;
use crate::publish::{Failure, Then};
use crate::route::Table;
use crate::route::settings::RouteSettings;

/// How long a destination may take to confirm an event that is published again. Nobody waits for an
/// answer, and it has to be reached first.
const DEADLINE: Duration = Duration::from_secs(30);

/// A place that could not be read to its end, and why.
pub type Unread = (Place, Failure);

/// Shows every dead letter of these places; none for what lies there and is no dead letter. Nothing
/// is taken out of any. It is over when `see` says so.
///
/// # Errors
/// When there is no way to ask at all.
pub fn dead_letters(
    config: &Config,
    places: &[Place],
    mut see: impl FnMut(&Place, Option<DeadLetter>) -> Then,
) -> Result<Vec<Unread>, Failed> {
    let mut take = async |place: &Place, dead_letter| match see(place, dead_letter) {
        Then::Remove => Then::Keep,
        then => then,
    };
    Ok(runtime()?.block_on(each(config, places, &mut take)))
}

/// What became of a dead letter that was to be published again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Every destination of its route has confirmed it; in a rehearsal, would be given it.
    Published {
        /// What it is.
        kind: Kind,
        /// Where it went, as in logs.
        destinations: Vec<String>,
    },
    /// It is still no event.
    NoEvent(String),
    /// It is one, and stays where it is.
    Refused(String),
}

/// Publishes the dead letters of these places again that `is_wanted`, one by one, with their old
/// ids and times, to where the routes lead today. Those that were published are taken out of
/// queues, and stay in topics and files. With `rehearse`, nothing is published. `tell` is told of each.
///
/// # Errors
/// When the configuration can't work on this machine.
pub fn replay(
    config: &Config,
    places: &[Place],
    rehearse: bool,
    is_wanted: impl Fn(&DeadLetter) -> bool,
    mut tell: impl FnMut(&DeadLetter, &Replayed),
) -> Result<Vec<Unread>, Failed> {
    super::check(config)?;
    let runtime = runtime()?;
    let delivery = match rehearse {
        true => None,
        false => Some(
            lanes(&without_dead_letters(config), &runtime, None)?
                .behind
                .delivery,
        ),
    };
    let unread = runtime.block_on(async {
        let mut again = Again {
            sealer: sealer(config),
            table: table(config),
            limits: EventLimits::new(config.publish.window, None),
            way: delivery
                .as_ref()
                .map(|delivery| (delivery, delivery.port())),
            takes_nothing: HashSet::new(),
        };
        let port = again.way.as_ref().map(|(_, port)| port.clone());
        let mut take = async |_: &Place, dead_letter: Option<DeadLetter>| {
            let Some(dead_letter) = dead_letter.filter(|letter| is_wanted(letter)) else {
                return Then::Keep;
            };
            let replayed = again.publish(&dead_letter).await;
            tell(&dead_letter, &replayed);
            match replayed {
                Replayed::Published { .. } if !rehearse => Then::Remove,
                _ => Then::Keep,
            }
        };
        let answering = async {
            match port {
                Some(port) => port.answering().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = answering => Vec::new(),
            unread = each(config, places, &mut take) => unread,
        }
    });
    if let Some(delivery) = delivery {
        delivery.stop(FLUSH);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(unread)
}

fn runtime() -> Result<Runtime, Failed> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.map_err(|source| failed("no runtime can be started", source))
}

async fn each(
    config: &Config,
    places: &[Place],
    take: &mut impl AsyncFnMut(&Place, Option<DeadLetter>) -> Then,
) -> Vec<Unread> {
    let mut unread = Vec::new();
    for place in places {
        let mut is_over = false;
        let mut take = async |envelope: &[u8]| {
            let then = take(place, DeadLetter::read(envelope)).await;
            is_over |= then == Then::Stop;
            then
        };
        if let Err(failure) = place.read(config, &mut take).await {
            unread.push((place.clone(), failure));
        }
        if is_over {
            break;
        }
    }
    unread
}

/// The same configuration with no place for dead letters and without the spool, which a bridge may
/// be using: what is refused again lies in the dead letters already, and is not put there twice.
fn without_dead_letters(config: &Config) -> Config {
    let mut config = config.clone();
    let nowhere = RouteSettings {
        discard: true,
        ..RouteSettings::default()
    };
    let dead_letters = EventType::DeadLetter.name().to_owned();
    config.routes.insert(dead_letters, nowhere);
    config.spool.max_size = 0;
    config.publish.deadline = DEADLINE;
    config
}

struct Again<'a> {
    sealer: Sealer,
    table: Table,
    limits: EventLimits,
    /// None in a rehearsal.
    way: Option<(&'a Delivery, Port)>,
    /// Sources and types whose destinations took nothing: each is waited for once.
    takes_nothing: HashSet<(usize, EventType)>,
}

impl Again<'_> {
    async fn publish(&mut self, dead_letter: &DeadLetter) -> Replayed {
        let event = match self.sealer.revive(dead_letter) {
            Ok(event) => event,
            Err(why) => return Replayed::NoEvent(why.to_string()),
        };
        let event_type = event.event_type();
        let (EventType::Kind(kind), Some(source)) = (event_type, event.source()) else {
            return Replayed::NoEvent("it is about a dead letter".to_owned());
        };
        if let Err(why) = self.limits.check(SealedSize::of(&event)) {
            return Replayed::Refused(format!("too large: {why}"));
        }
        let lanes = self.table.of(source, event_type).lanes.iter();
        let destinations: Vec<String> = lanes
            .map(|lane| self.table.destinations()[*lane].to_string())
            .collect();
        if destinations.is_empty() {
            return Replayed::Refused(format!("no route: {} is discarded", kind.name()));
        }
        if self.takes_nothing.contains(&(source, event_type)) {
            return Replayed::Refused("not tried: its destination took nothing before".to_owned());
        }
        let receipt = self.deliver(event).await;
        match receipt {
            Ok(Receipt::DeadLettered) => {
                Replayed::Refused("its destination still refuses it; the log says why".to_owned())
            }
            Ok(_) => Replayed::Published { kind, destinations },
            Err(why) => {
                self.takes_nothing.insert((source, event_type));
                Replayed::Refused(format!(
                    "not confirmed: {}",
                    self.trouble(&destinations, &why)
                ))
            }
        }
    }

    async fn deliver(&self, event: Event) -> Result<Receipt, String> {
        match &self.way {
            Some((delivery, port)) => {
                let delivering = port.deliver(&delivery.current(), event);
                delivering.await.map_err(|why| why.to_string())
            }
            None => Ok(Receipt::Published),
        }
    }

    /// What keeps these destinations from taking events.
    fn trouble(&self, destinations: &[String], why: &str) -> String {
        let readiness = self
            .way
            .iter()
            .flat_map(|(delivery, _)| delivery.readiness());
        let troubled = readiness
            .filter(|readiness| !readiness.ready && destinations.contains(&readiness.destination));
        let details: Vec<String> = troubled
            .map(|readiness| format!("{}: {}", readiness.destination, readiness.detail))
            .collect();
        match details.is_empty() {
            true => why.to_owned(),
            false => details.join("; "),
        }
    }
}
