//! Reading a queue of dead letters, and taking out of it what is of no use any more.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::errors;
use super::link::Link;
use super::publisher::Amqp;
use super::settings::Settings;
use crate::envelope::structured;
use crate::publish::{Class, Failure, Reason, Then};

/// How long the broker may take for one answer.
const WITHIN: Duration = Duration::from_secs(10);

/// How often a message may have been given back until it is published to its queue anew.
///
/// A quorum queue counts that, and of RabbitMQ 4.0 to 4.2 it drops a message that came back for the
/// 21st time, unless the queue was declared with another `x-delivery-limit`.
/// <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>
const WORN: i64 = 10;

/// Gives the envelope of each message that is in a queue now to `take`. Messages are got one by one, and
/// given back at the end; until then nobody else sees them. Only what `take` wants removed is
/// acknowledged.
///
/// # Errors
/// When the queue can't be reached or read. What was got is in it again then.
pub async fn read(
    settings: &Settings,
    queue: &str,
    take: &mut impl AsyncFnMut(&[u8]) -> Then,
) -> Result<(), Failure> {
    let amqp = Amqp::new(settings.clone(), Handle::current(), |_| {});
    let link = amqp.broker().link().await?;
    let read = read_on(&link, queue, take).await;
    if let Some(link) = Arc::into_inner(link) {
        link.close().await;
    }
    read
}

async fn read_on(
    link: &Link,
    queue: &str,
    take: &mut impl AsyncFnMut(&[u8]) -> Then,
) -> Result<(), Failure> {
    let channel = link.channel().await?;
    let messages = depth(&channel, queue).await?;
    answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let got = Got {
        channel,
        queue: short(queue)?,
    };
    let mut kept = Vec::new();
    for _ in 0..messages {
        let Some(message) = got.next().await? else {
            break;
        };
        let tag = message.delivery.delivery_tag;
        let then = take(&envelope(&message)).await;
        if then == Then::Remove || is_worn(&message) && got.renew(message).await? {
            got.acknowledge(tag).await?;
        } else {
            kept.push(tag);
        }
        if then == Then::Stop {
            break;
        }
    }
    for tag in kept {
        got.give_back(tag).await?;
    }
    answer(got.channel.close(200, "all is read".into())).await
}

/// How many messages wait in a queue.
async fn depth(channel: &Channel, queue: &str) -> Result<u32, Failure> {
    let options = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let name = short(queue)?;
    let asked = channel.queue_declare(name, options, FieldTable::default());
    Ok(answer(asked).await?.message_count())
}

/// A queue, and the channel on which its messages were got.
struct Got {
    channel: Channel,
    queue: ShortString,
}

impl Got {
    async fn next(&self) -> Result<Option<BasicGetMessage>, Failure> {
        let options = BasicGetOptions { no_ack: false };
        answer(self.channel.basic_get(self.queue.clone(), options)).await
    }

    async fn acknowledge(&self, tag: u64) -> Result<(), Failure> {
        let options = BasicAckOptions { multiple: false };
        answer(self.channel.basic_ack(tag, options)).await.map(drop)
    }

    /// By a nack: of RabbitMQ 4.3 that alone does not count as a failed delivery.
    async fn give_back(&self, tag: u64) -> Result<(), Failure> {
        let options = BasicNackOptions {
            multiple: false,
            requeue: true,
        };
        answer(self.channel.basic_nack(tag, options))
            .await
            .map(drop)
    }

    /// Publishes a message to its queue anew, as one that was never given back. Whether the queue
    /// has it.
    async fn renew(&self, message: BasicGetMessage) -> Result<bool, Failure> {
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let delivery = message.delivery;
        let properties = renewed(delivery.properties);
        // The default exchange leads to every queue by its name.
        let published = self.channel.basic_publish(
            ShortString::default(),
            self.queue.clone(),
            options,
            &delivery.data,
            properties,
        );
        let confirmed = answer(async { published.await?.await }).await?;
        Ok(matches!(confirmed, Confirmation::Ack(None)))
    }
}

/// A message's envelope, in whichever mode it was published.
fn envelope(message: &BasicGetMessage) -> Cow<'_, [u8]> {
    let delivery = &message.delivery;
    let headers = delivery.properties.headers().iter();
    let attributes = headers
        .flat_map(FieldTable::inner)
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("cloudEvents_")?;
            let value = value.as_long_string()?.as_bytes();
            Some((name, str::from_utf8(value).ok()?))
        });
    let mut attributes = attributes.peekable();
    match attributes.peek() {
        Some(_) => structured(attributes, &delivery.data).into(),
        None => Cow::Borrowed(&delivery.data),
    }
}

fn is_worn(message: &BasicGetMessage) -> bool {
    let headers = message.delivery.properties.headers().as_ref();
    let returned = headers.and_then(|headers| headers.inner().get(DELIVERY_COUNT));
    match returned {
        Some(AMQPValue::LongLongInt(returned)) => *returned >= WORN,
        Some(AMQPValue::LongInt(returned)) => i64::from(*returned) >= WORN,
        _ => false,
    }
}

/// Set by quorum queues on what came back.
const DELIVERY_COUNT: &str = "x-delivery-count";

fn renewed(properties: BasicProperties) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties
        .headers()
        .iter()
        .flat_map(|headers| headers.inner())
    {
        if name.as_str() != DELIVERY_COUNT {
            headers.insert(name.clone(), value.clone());
        }
    }
    properties.with_headers(headers)
}

fn short(name: &str) -> Result<ShortString, Failure> {
    ShortString::try_new(name).map_err(|_| Failure {
        class: Class::Operator,
        reason: Reason::UnknownDestination,
        detail: "a queue's name is at most 255 bytes long".to_owned(),
    })
}

async fn answer<T>(question: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
    match timeout(WITHIN, question).await {
        Ok(answered) => answered.map_err(|error| errors::sort(&error)),
        Err(_) => Err(errors::timed_out("no answer from the broker")),
    }
}
