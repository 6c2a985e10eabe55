//! The exchanges and queues of a destination: asked for passively, and created where they are
//! missing and that is wanted.
//!
//! Guarantees: what is there is used as it is, and no right is needed to go on with it. What is
//! created is complete before the destination's exchange is there, so that whoever stops in the
//! middle is no worse off than before.

use std::sync::Arc;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::broker::Broker;
use super::destination::Destination;
use super::errors;
use super::link::Link;
use crate::publish::{Failure, Reason};

/// What the queue for unrouted events may hold: 1 GiB.
const UNROUTED_BYTES: i64 = 1 << 30;

/// What came of a survey.
pub(super) struct Ensured {
    pub(super) created: Vec<String>,
    /// The connection and the channel on which the last question was asked: the connection may have no
    /// other channel to give.
    pub(super) link: Arc<Link>,
    pub(super) channel: Channel,
}

/// Sees to it that a destination can be published to.
pub(super) async fn ensure(
    broker: &Broker,
    link: Arc<Link>,
    destination: &Destination,
    create: bool,
) -> Result<Ensured, Failure> {
    destination.check()?;
    let mut survey = Survey {
        broker,
        closed: link.closed(),
        link,
        channel: None,
        created: Vec::new(),
    };
    let missing = survey.exchange(&destination.exchange).await?;
    match missing {
        Presence::Missing(failure) if !create => return Err(failure),
        Presence::Missing(_) => {
            survey.ensure_unrouted(&destination.unrouted).await?;
            survey.create_exchange(destination).await?;
        }
        Presence::There | Presence::Hidden if create => {
            // An exchange of somebody else's may do without: a missing right is no failure here.
            match survey.ensure_unrouted(&destination.unrouted).await {
                Err(failure) if failure.reason != Reason::Unauthorized => return Err(failure),
                _ => {}
            }
        }
        Presence::There | Presence::Hidden => {}
    }
    if let Some(queue) = destination.queue.as_deref().filter(|_| create) {
        survey.ensure_queue(queue, &destination.exchange).await?;
    }
    let channel = survey.channel().await?;
    Ok(Ensured {
        created: survey.created,
        link: survey.link,
        channel,
    })
}

/// Whether something is there.
enum Presence {
    There,
    Missing(Failure),
    /// The user may not ask. Publishing will tell.
    Hidden,
}

/// A walk through the broker's objects. A question with the answer no closes its channel, and goes on
/// with another connection where that was the last one.
struct Survey<'a> {
    broker: &'a Broker,
    link: Arc<Link>,
    /// How many channels of it the broker had closed when `channel` was opened.
    closed: usize,
    channel: Option<Channel>,
    created: Vec<String>,
}

impl Survey<'_> {
    async fn channel(&mut self) -> Result<Channel, Failure> {
        if self.channel.is_none() {
            // The survey holds the connection as a lane does, for one channel.
            if Arc::strong_count(&self.link) > self.link.channels() {
                self.link = self.broker.link().await?;
            }
            self.closed = self.link.closed();
            self.channel = Some(self.link.channel().await?);
        }
        Ok(self.channel.clone().expect("it was just put there"))
    }

    async fn exchange(&mut self, name: &str) -> Result<Presence, Failure> {
        let channel = self.channel().await?;
        let options = ExchangeDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let asked = channel
            .exchange_declare(
                name.into(),
                ExchangeKind::Topic,
                options,
                FieldTable::default(),
            )
            .await;
        self.presence(asked).await
    }

    async fn queue(&mut self, name: &str) -> Result<Presence, Failure> {
        let channel = self.channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let asked = channel
            .queue_declare(name.into(), options, FieldTable::default())
            .await;
        self.presence(asked).await
    }

    async fn presence<T>(&mut self, asked: lapin::Result<T>) -> Result<Presence, Failure> {
        let Err(error) = asked else {
            return Ok(Presence::There);
        };
        self.channel = None;
        self.link.closes_more_than(self.closed).await;
        let failure = errors::sort(&error);
        match failure.reason {
            Reason::UnknownDestination => Ok(Presence::Missing(failure)),
            Reason::Unauthorized => Ok(Presence::Hidden),
            _ => Err(failure),
        }
    }

    /// The alternate exchange and its queue.
    async fn ensure_unrouted(&mut self, name: &str) -> Result<(), Failure> {
        let before = self.created.len();
        if let Presence::Missing(_) = self.queue(name).await? {
            let mut arguments = quorum();
            arguments.insert(
                "x-max-length-bytes".into(),
                AMQPValue::LongLongInt(UNROUTED_BYTES),
            );
            arguments.insert("x-overflow".into(), text("reject-publish"));
            self.create_queue(name, arguments).await?;
        }
        if let Presence::Missing(_) = self.exchange(name).await? {
            let created = self
                .declare(name, ExchangeKind::Fanout, FieldTable::default())
                .await;
            created.map_err(|failure| no_right("exchange", name, failure))?;
        }
        match self.bind(name, name, "").await {
            // It was all there: bound, or not, by whoever made it.
            Err(failure)
                if failure.reason == Reason::Unauthorized && self.created.len() == before =>
            {
                Ok(())
            }
            bound => bound,
        }
    }

    async fn create_exchange(&mut self, destination: &Destination) -> Result<(), Failure> {
        let mut arguments = FieldTable::default();
        arguments.insert("alternate-exchange".into(), text(&destination.unrouted));
        let name = &destination.exchange;
        let created = self.declare(name, ExchangeKind::Topic, arguments).await;
        created.map_err(|failure| no_right("exchange", name, failure))
    }

    /// A queue that takes everything the exchange gets.
    async fn ensure_queue(&mut self, name: &str, exchange: &str) -> Result<(), Failure> {
        let before = self.created.len();
        if let Presence::Missing(_) = self.queue(name).await? {
            self.create_queue(name, quorum()).await?;
        }
        match self.bind(name, exchange, "#").await {
            Err(failure)
                if failure.reason == Reason::Unauthorized && self.created.len() == before =>
            {
                Ok(())
            }
            bound => bound,
        }
    }

    async fn declare(
        &mut self,
        name: &str,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), Failure> {
        let channel = self.channel().await?;
        let options = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let declared = channel
            .exchange_declare(name.into(), kind, options, arguments)
            .await;
        self.done(declared).await?;
        self.created.push(format!("exchange {name}"));
        Ok(())
    }

    async fn create_queue(&mut self, name: &str, arguments: FieldTable) -> Result<(), Failure> {
        let channel = self.channel().await?;
        let options = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let declared = channel.queue_declare(name.into(), options, arguments).await;
        self.done(declared)
            .await
            .map_err(|failure| no_right("queue", name, failure))?;
        self.created.push(format!("queue {name}"));
        Ok(())
    }

    async fn bind(
        &mut self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Failure> {
        let channel = self.channel().await?;
        let arguments = FieldTable::default();
        let bound = channel
            .queue_bind(
                queue.into(),
                exchange.into(),
                routing_key.into(),
                QueueBindOptions::default(),
                arguments,
            )
            .await;
        self.done(bound).await
    }

    async fn done<T>(&mut self, result: lapin::Result<T>) -> Result<(), Failure> {
        let Err(error) = result else { return Ok(()) };
        self.channel = None;
        self.link.closes_more_than(self.closed).await;
        Err(errors::sort(&error))
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn no_right(what: &str, name: &str, failure: Failure) -> Failure {
    match failure.reason {
        Reason::Unauthorized => Failure {
            detail: format!(
                "the {what} {name} is missing, and the user may not create it: {}",
                failure.detail
            ),
            ..failure
        },
        _ => failure,
    }
}
