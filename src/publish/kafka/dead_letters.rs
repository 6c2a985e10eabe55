//! Reading a topic of dead letters, from its beginning to where it ends now.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::Mode;
use super::context::Context;
use super::owned_client::OwnedClient;
use super::settings::Settings;
use super::{client, errors, topics};
use crate::envelope::structured;
use crate::publish::{Class, Failure, Then, nobody};

/// How long one question may take, and how long a cluster may be silent.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a poll waits.
const POLL: Duration = Duration::from_millis(100);

/// Gives the envelope of each record in a topic, partition by partition in its order, to `take`.
/// Partitions are assigned, not subscribed to, and no offset is committed: other consumers notice
/// nothing, and nothing is taken out.
///
/// # Errors
/// When the topic can't be reached, or a part of it can't be read.
pub async fn read(
    settings: &Settings,
    topic: &str,
    take: &mut impl AsyncFnMut(&[u8]) -> Then,
) -> Result<(), Failure> {
    // A consumer is not told the words of an error.
    let mut asking = OwnedClient::new(settings, 0, None, Mode::Tolerant, nobody())?;
    let read = match topics::find(&asking, topic) {
        Ok(_) => read_with(&consumer(settings)?, topic, take).await,
        Err(failure) => Err(failure),
    };
    read.map_err(|failure| asking.explain(settings, failure))
}

fn consumer(settings: &Settings) -> Result<BaseConsumer<Context>, Failure> {
    let mut config = client::common(settings);
    config
        // The library wants a name; nobody joins the group.
        .set("group.id", "minchat-bridge-dead-letters")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true");
    let made = config.create_with_context(Context(std::sync::mpsc::channel().0));
    made.map_err(|error| errors::of_error(&error))
}

async fn read_with(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    take: &mut impl AsyncFnMut(&[u8]) -> Then,
) -> Result<(), Failure> {
    let mut ends = assign(consumer, topic)?;
    let mut heard = Instant::now();
    while !ends.is_empty() {
        match consumer.poll(POLL) {
            None if heard.elapsed() < PATIENCE => continue,
            None => {
                let silent = KafkaError::MessageConsumption(Code::OperationTimedOut);
                return Err(errors::of_error(&silent));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ends.remove(&partition);
            }
            Some(Err(error)) => {
                let failure = errors::of_error(&error);
                // No group is joined: no right to it is needed. What passes by itself may do so.
                let is_of_a_group =
                    error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed);
                if failure.class != Class::Retry && !is_of_a_group {
                    return Err(failure);
                }
                if heard.elapsed() >= PATIENCE {
                    return Err(failure);
                }
                continue;
            }
            Some(Ok(record)) => {
                let end = ends.get(&record.partition()).copied().unwrap_or_default();
                if record.offset() + 1 >= end {
                    ends.remove(&record.partition());
                }
                if record.offset() < end
                    && let Some(envelope) = envelope(&record)
                    && take(&envelope).await == Then::Stop
                {
                    return Ok(());
                }
            }
        }
        heard = Instant::now();
    }
    Ok(())
}

/// A record's envelope, in whichever mode it was published.
fn envelope<'a>(record: &'a BorrowedMessage<'_>) -> Option<Cow<'a, [u8]>> {
    let value = record.payload()?;
    let headers = record.headers().into_iter().flat_map(Headers::iter);
    let attributes = headers.filter_map(|header| {
        let name = header.key.strip_prefix("ce_")?;
        Some((name, str::from_utf8(header.value?).ok()?))
    });
    let mut attributes = attributes.peekable();
    Some(match attributes.peek() {
        Some(_) => structured(attributes, value).into(),
        None => value.into(),
    })
}

/// Begins at the beginning of each partition that holds anything. Gives where each of these ends now.
fn assign(consumer: &BaseConsumer<Context>, topic: &str) -> Result<HashMap<i32, i64>, Failure> {
    let failed = |error: KafkaError| errors::of_error(&error);
    let metadata = consumer
        .fetch_metadata(Some(topic), PATIENCE)
        .map_err(failed)?;
    let mut from = TopicPartitionList::new();
    let mut ends = HashMap::new();
    for partition in metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
    {
        let (low, high) = consumer
            .fetch_watermarks(topic, partition.id(), PATIENCE)
            .map_err(failed)?;
        if high > low {
            from.add_partition_offset(topic, partition.id(), Offset::Offset(low))
                .map_err(failed)?;
            ends.insert(partition.id(), high);
        }
    }
    consumer.assign(&from).map_err(failed)?;
    Ok(ends)
}
