//! Looking at a broker once, for the command line.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::broker::Broker;
use super::destination::Destination;
use super::link::Link;
use super::publisher::Amqp;
use super::settings::Settings;
use super::topology;
use crate::publish::Failure;

/// Reaches the broker and looks at each destination; with `create`, makes what is missing. Gives
/// for each exchange, in their order, what was found or done.
pub async fn probe(
    settings: &Settings,
    destinations: &[Destination],
    create: bool,
) -> Vec<(String, Result<String, Failure>)> {
    let amqp = Amqp::new(settings.clone(), Handle::current(), |_| {});
    let link = amqp.broker().link().await;
    let mut found = Vec::with_capacity(destinations.len());
    for destination in destinations {
        let looked = match &link {
            Ok(link) => look(amqp.broker(), link, destination, create).await,
            Err(failure) => Err(failure.clone()),
        };
        found.push((destination.exchange.clone(), looked));
    }
    if let Some(link) = link.ok().and_then(Arc::into_inner) {
        link.close().await;
    }
    found
}

async fn look(
    broker: &Broker,
    link: &Arc<Link>,
    destination: &Destination,
    create: bool,
) -> Result<String, Failure> {
    let ensured = topology::ensure(broker, Arc::clone(link), destination, create).await?;
    // The next destination's channel may be the only one that the broker allows besides.
    let _ = ensured.channel.close(200, "all is seen".into()).await;
    Ok(match ensured.created.as_slice() {
        [] => "there".to_owned(),
        created => format!("created: {}", created.join(", ")),
    })
}
