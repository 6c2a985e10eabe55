//! What a lane publishes to.

use crate::publish::{Class, Failure, Reason};

/// An exchange with a routing key, and what is created around it when it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The exchange: a durable `topic` exchange where it is created.
    pub exchange: String,
    /// The routing key of every event.
    pub routing_key: String,
    /// A queue that takes everything the exchange gets, made with it: for dead letters, which
    /// nobody may be waiting for yet.
    pub queue: Option<String>,
    /// The alternate exchange of an exchange that is created, and its queue of the same name: for
    /// events that no queue is bound for yet.
    pub unrouted: String,
}

impl Destination {
    /// AMQP's short strings are at most 255 bytes long.
    const LONGEST_NAME: usize = 255;

    /// Whether AMQP has room for the names.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let names = [
            Some(&self.exchange),
            Some(&self.routing_key),
            self.queue.as_ref(),
            Some(&self.unrouted),
        ];
        match names
            .into_iter()
            .flatten()
            .find(|name| name.len() > Self::LONGEST_NAME)
        {
            None => Ok(()),
            Some(name) => {
                let detail = format!("longer than {} bytes: the name {name}", Self::LONGEST_NAME);
                Err(Failure {
                    class: Class::Operator,
                    reason: Reason::UnknownDestination,
                    detail,
                })
            }
        }
    }
}
