//! A lane's channel, ready for events, and the connection that it lives on.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::time::timeout;

use super::broker::Broker;
use super::destination::Destination;
use super::errors;
use super::link::Link;
use super::topology::{self, Ensured};
use crate::publish::{Failure, Reason};

/// How long the broker may take for channel and topology.
const SET_UP_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to close a channel at the end.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
/// How long it may take to close a channel of a connection that others go on with.
const DISCARDED_WITHIN: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Session {
    pub(super) link: Arc<Link>,
    /// In confirm mode; only the lane publishes on it.
    pub(super) channel: Channel,
}

impl Session {
    /// Looks after the topology, and opens a channel with confirms.
    pub(super) async fn open(
        link: Arc<Link>,
        broker: &Broker,
        destination: &Destination,
    ) -> Result<Self, Failure> {
        let declare = broker.settings().declare;
        let set_up = async {
            let ensured = topology::ensure(broker, link, destination, declare).await;
            let Ensured {
                created,
                link,
                channel,
            } = ensured.map_err(|failure| match declare {
                true => failure,
                false => not_created(failure),
            })?;
            if !created.is_empty() {
                tracing::info!(
                    created = created.join(", "),
                    "created on RabbitMQ what was missing"
                );
            }
            let confirms = channel
                .confirm_select(ConfirmSelectOptions::default())
                .await;
            confirms.map_err(|error| errors::sort(&error))?;
            Ok(Session { link, channel })
        };
        let opened = timeout(SET_UP_WITHIN, set_up).await;
        opened.unwrap_or_else(|_| Err(errors::timed_out("no answer from the broker")))
    }

    /// Closes a channel that is of no use any more. A broker that takes requests and does not answer to
    /// that leaves no channel to begin again with: then the connection is closed too.
    pub(super) async fn discard(self) {
        let closed = self.channel.close(200, "another takes its place".into());
        if timeout(DISCARDED_WITHIN, closed).await.is_err() && self.link.check().is_ok() {
            self.link.cut();
        }
    }

    /// Says goodbye; the last lane does so for the connection too.
    pub(super) async fn close(self) {
        let _ = timeout(
            GOODBYE_WITHIN,
            self.channel.close(200, "the bridge is done".into()),
        )
        .await;
        drop(self.channel);
        if let Some(link) = Arc::into_inner(self.link) {
            link.close().await;
        }
    }
}

/// Tells whoever waits for an exchange that the bridge will not make it.
fn not_created(failure: Failure) -> Failure {
    match failure.reason {
        Reason::UnknownDestination => Failure {
            detail: format!(
                "{} (amqp.declare is off: it has to be created)",
                failure.detail
            ),
            ..failure
        },
        _ => failure,
    }
}
