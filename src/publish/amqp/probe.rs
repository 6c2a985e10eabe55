//! Looking at a broker once, for the command line.

use tokio::runtime::Handle;

use super::broker::Amqp;
use super::destination::Destination;
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
            Ok(link) => topology::ensure(link, destination, create).await.map(told),
            Err(failure) => Err(failure.clone()),
        };
        found.push((destination.exchange.clone(), looked));
    }
    if let Some(link) = link.ok().and_then(std::sync::Arc::into_inner) {
        link.close().await;
    }
    found
}

fn told(created: Vec<String>) -> String {
    match created.as_slice() {
        [] => "there".to_owned(),
        created => format!("created: {}", created.join(", ")),
    }
}
