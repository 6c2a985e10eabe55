//! Reaching every broker and destination once, for the command line.

use tokio::runtime::Builder;

#[cfg(feature = "amqp")]
use super::brokers;
use super::{Failed, failed};
use crate::config::Config;
use crate::publish::{Failure, file};
use crate::route::{Address, Broker, Destination};

/// A destination, and what was found there: a line for people, or why not.
pub type Probed = (Destination, Result<String, Failure>);

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
        let max_body = config.http.max_body;
        let found =
            crate::publish::kafka::probe(settings, runtime.handle(), &topics, max_body, create);
        let found = found.unwrap_or_else(|failure| vec![Err(failure); topics.len()]);
        probed.extend(at(Broker::Kafka).cloned().zip(found));
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
