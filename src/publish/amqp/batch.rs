//! One batch of events on one channel: published, and judged once the broker has said all of it.
//!
//! lapin hands a returned message to whichever confirm comes next, and that may be another event's.
//! What is certain: a return stands before its own event's confirm, and each confirm takes at most
//! one return with it. So when every confirm of a batch has come, and nothing but the batch was
//! published on the channel, every return of the batch has come with one of them.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Error, PublisherConfirm};

use super::message;
use super::settings::ContentMode;
use crate::publish::Handover;

/// What became of an event.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Acknowledged, and not returned.
    Confirmed,
    /// No queue took it, whatever the acknowledgement says.
    Returned,
    /// The broker did not take it.
    Nacked,
    /// The channel or the connection ended before the broker had said anything about it.
    Lost(Error),
}

/// Where a batch goes, in lapin's terms.
pub(super) struct Target<'a> {
    pub(super) channel: &'a Channel,
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) content_mode: ContentMode,
}

type Publishing<'a> = Pin<Box<dyn Future<Output = lapin::Result<PublisherConfirm>> + Send + 'a>>;

/// Publishes a batch in its order, and gives each event's outcome in the same order. Ends when the
/// broker has answered for all of them, or the channel has ended.
pub(super) async fn send(target: &Target<'_>, batch: &[Handover]) -> Vec<Outcome> {
    let mut publishing: Vec<_> = batch
        .iter()
        .map(|handover| publish(target, handover))
        .collect();
    let mut sent = begin(&mut publishing).await;
    let mut answers = Vec::with_capacity(batch.len());
    let mut returned = HashSet::new();
    for (publishing, sent) in publishing.into_iter().zip(&mut sent) {
        let confirm = match sent.take() {
            Some(sent) => sent,
            None => publishing.await,
        };
        let answer = match confirm {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = &answer {
            returned.extend(message.delivery.properties.message_id().clone());
        }
        answers.push(answer);
    }
    let judged = batch
        .iter()
        .zip(answers)
        .map(|(handover, answer)| judge(handover, answer, &returned));
    judged.collect()
}

fn publish<'a>(target: &'a Target<'_>, handover: &'a Handover) -> Publishing<'a> {
    let event = &handover.event;
    Box::pin(target.channel.basic_publish(
        target.exchange.clone(),
        target.routing_key.clone(),
        BasicPublishOptions {
            mandatory: true,
            immediate: false,
        },
        message::body(event, target.content_mode),
        message::properties(event, target.content_mode),
    ))
}

/// The first poll of each hands its frames to lapin, so all are polled once, in their order, before
/// any is awaited. Gives what was finished by that.
async fn begin(publishing: &mut [Publishing<'_>]) -> Vec<Option<lapin::Result<PublisherConfirm>>> {
    poll_fn(|context| {
        let polled =
            publishing
                .iter_mut()
                .map(|publishing| match publishing.as_mut().poll(context) {
                    Poll::Ready(sent) => Some(sent),
                    Poll::Pending => None,
                });
        Poll::Ready(polled.collect())
    })
    .await
}

fn judge(
    handover: &Handover,
    answer: lapin::Result<Confirmation>,
    returned: &HashSet<ShortString>,
) -> Outcome {
    match answer {
        Err(error) => Outcome::Lost(error),
        Ok(_)
            if !returned.is_empty() && returned.contains(&message::message_id(&handover.event)) =>
        {
            Outcome::Returned
        }
        Ok(Confirmation::Ack(_)) => Outcome::Confirmed,
        // A channel without confirms would not be used; what it says is worth nothing.
        Ok(Confirmation::Nack(_) | Confirmation::NotRequested) => Outcome::Nacked,
    }
}
