//! Reaching every broker and destination once, for the command line.

use tokio::runtime::Builder;

#[cfg(feature = "amqp")]
use super::brokers;
use super::{Failed, failed};
use crate::config::Config;
#[cfg(feature = "kafka")]
use crate::publish::Reason;
use crate::publish::{Failure, file};
use crate::route::{Address, Broker, Destination};

/// What was found: a line for people, or why not.
type Found = Result<String, Failure>;

/// A destination, and what was found there.
pub type Probed = (Destination, Found);

/// Reaches each destination; with `create`, makes the topics and exchanges that are missing.
///
/// # Errors
/// When there is no way to ask at all.
pub fn probe(config: &Config, create: bool) -> Result<Vec<Probed>, Failed> {
    super::check(config)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| failed("no runtime can be started", source))?;
    let table = super::table(config);
    let at = |broker: Broker| {
        table
            .destinations()
            .iter()
            .filter(move |destination| destination.broker == broker)
    };
    let mut probed = Vec::new();
    #[cfg(feature = "kafka")]
    if let Some(settings) = &config.kafka {
        let topics: Vec<&str> = at(Broker::Kafka).filter_map(topic).collect();
        let ask = |topics: &[&str]| {
            let (runtime, max_body) = (runtime.handle(), config.http.max_body);
            let found = crate::publish::kafka::probe(settings, runtime, topics, max_body, create);
            found.unwrap_or_else(|failure| vec![Err(failure); topics.len()])
        };
        probed.extend(at(Broker::Kafka).cloned().zip(ask_in_turn(&topics, ask)));
    }
    #[cfg(feature = "amqp")]
    if let Some(settings) = &config.amqp {
        let unrouted = brokers::unrouted(config);
        let wanted: Vec<_> = at(Broker::Amqp)
            .filter_map(|destination| exchange(&unrouted, destination))
            .collect();
        let found = runtime.block_on(crate::publish::amqp::probe(settings, &wanted, create));
        probed.extend(
            at(Broker::Amqp)
                .cloned()
                .zip(found.into_iter().map(|(_, found)| found)),
        );
    }
    if let Some(settings) = &config.file {
        for destination in at(Broker::File) {
            if let Address::File(name) = &destination.address {
                let path = file::path(settings, name);
                probed.push((
                    destination.clone(),
                    Ok(format!("{} can be written", path.display())),
                ));
            }
        }
    }
    Ok(probed)
}

/// Asks about the first topic alone. A cluster that does not answer about it, which takes seconds, is not asked again.
#[cfg(feature = "kafka")]
fn ask_in_turn(topics: &[&str], ask: impl Fn(&[&str]) -> Vec<Found>) -> Vec<Found> {
    let (first, others) = topics.split_at(topics.len().min(1));
    let mut found = ask(first);
    let silence = match found.first() {
        Some(Err(failure)) if failure.reason == Reason::Timeout => Some(failure.clone()),
        Some(Err(failure)) if failure.reason.is_of_the_whole_broker() => Some(failure.clone()),
        _ => None,
    };
    match silence {
        Some(failure) => found.resize(topics.len(), Err(failure)),
        None => found.extend(ask(others)),
    }
    found
}

#[cfg(feature = "kafka")]
fn topic(destination: &Destination) -> Option<&str> {
    match &destination.address {
        Address::Topic(topic) => Some(topic),
        _ => None,
    }
}

#[cfg(feature = "amqp")]
fn exchange(
    unrouted: &str,
    destination: &Destination,
) -> Option<crate::publish::amqp::Destination> {
    match &destination.address {
        Address::Exchange {
            exchange,
            routing_key,
        } => Some(brokers::amqp_destination(unrouted, exchange, routing_key)),
        _ => None,
    }
}
