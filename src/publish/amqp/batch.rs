//! One batch of events on one channel: published, and judged once the broker has said all of it.
//!
//! lapin hands a returned message to whichever confirm comes next, and that may be another event's.
//! What is certain: a return stands before its own event's confirm, and each confirm takes at most
//! one return with it. So when every confirm of a batch has come, and nothing but the batch was
//! published on the channel, every return of the batch has come with one of them. When a confirm is
//! missing, the return of another event may be missing too. That can only be so if any return has
//! come at all: then no event of such a batch counts as confirmed.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::{MaybeDone, maybe_done};
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Error};

use super::destination::Destination;
use super::message;
use super::settings::ContentMode;
use crate::envelope::Event;
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
    /// Its confirm has not come, or what has come does not tell whether a queue took it.
    Unconfirmed,
}

type Answer = lapin::Result<Confirmation>;
type Publishing<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// A batch that was handed to the broker.
pub(super) struct Sent<'a> {
    batch: &'a [Handover],
    /// The broker's answer to each event, in the order of the batch.
    answers: Vec<MaybeDone<Publishing<'a>>>,
    /// The broker has answered for all events before this one.
    answered: usize,
}

/// Publishes a batch in its order.
pub(super) async fn send<'a>(
    channel: &'a Channel,
    destination: &'a Destination,
    content_mode: ContentMode,
    batch: &'a [Handover],
) -> Sent<'a> {
    let answers = batch
        .iter()
        .map(|handover| publish(channel, destination, content_mode, &handover.event));
    let mut answers: Vec<_> = answers.map(maybe_done).collect();
    // The first poll of each hands its frames to lapin, so all are polled once, in their order, before
    // any is awaited.
    poll_fn(|context| {
        for answer in &mut answers {
            let _ = answer.poll_unpin(context);
        }
        Poll::Ready(())
    })
    .await;
    Sent {
        batch,
        answers,
        answered: 0,
    }
}

impl Sent<'_> {
    /// Waits until the broker has answered for one more event, in the order of the batch. Returns
    /// false once it has answered for all of them, or the channel has ended. A caller may drop the
    /// future and call again.
    pub(super) async fn next(&mut self) -> bool {
        let Some(answer) = self.answers.get_mut(self.answered) else {
            return false;
        };
        answer.await;
        self.answered += 1;
        true
    }

    /// What has become of each event by now, in the order of the batch.
    pub(super) fn outcomes(self) -> Vec<Outcome> {
        let answers = self.answers.into_iter().map(|mut answer| {
            // The answers behind a missing one were not looked at yet.
            let _ = (&mut answer).now_or_never();
            Pin::new(&mut answer).take_output()
        });
        let answers: Vec<Option<Answer>> = answers.collect();
        let mut returned = HashSet::new();
        for answer in answers.iter().flatten() {
            if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = answer
            {
                returned.extend(message.delivery.properties.message_id().clone());
            }
        }
        let is_complete = answers.iter().all(|answer| matches!(answer, Some(Ok(_))));
        let hides_a_return = !is_complete && !returned.is_empty();
        let judged = self.batch.iter().zip(answers);
        let judged = judged.map(
            |(handover, answer)| match judge(handover, answer, &returned) {
                Outcome::Confirmed if hides_a_return => Outcome::Unconfirmed,
                outcome => outcome,
            },
        );
        judged.collect()
    }
}

fn publish<'a>(
    channel: &'a Channel,
    destination: &Destination,
    content_mode: ContentMode,
    event: &'a Event,
) -> Publishing<'a> {
    let published = channel.basic_publish(
        destination.exchange.as_str().into(),
        destination.routing_key.as_str().into(),
        BasicPublishOptions {
            mandatory: true,
            immediate: false,
        },
        message::body(event, content_mode),
        message::properties(event, content_mode),
    );
    Box::pin(async { published.await?.await })
}

fn judge(handover: &Handover, answer: Option<Answer>, returned: &HashSet<ShortString>) -> Outcome {
    match answer {
        None => Outcome::Unconfirmed,
        Some(Err(error)) => Outcome::Lost(error),
        Some(Ok(_))
            if !returned.is_empty() && returned.contains(&message::message_id(&handover.event)) =>
        {
            Outcome::Returned
        }
        Some(Ok(Confirmation::Ack(_))) => Outcome::Confirmed,
        // A channel without confirms would not be used; what it says is worth nothing.
        Some(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => Outcome::Nacked,
    }
}
