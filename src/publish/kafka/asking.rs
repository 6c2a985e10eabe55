//! A client that publishes nothing: it asks, and knows why there is no answer.

use rdkafka::client::Client;
use rdkafka::producer::{Producer, ThreadedProducer};

use super::context::AskingContext;
use super::settings::Settings;
use super::{client, errors};
use crate::publish::Failure;

/// See the module. A producer, since a consumer is not told the words of an error.
pub(super) struct Asking(ThreadedProducer<AskingContext>);

impl Asking {
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let made = client::common(settings).create_with_context(AskingContext::default());
        made.map(Asking).map_err(|error| errors::of_error(&error))
    }

    pub(super) fn client(&self) -> &Client<AskingContext> {
        self.0.client()
    }

    /// A failure of the whole broker in the words of the connection's last trouble.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        match self.0.context().last_error() {
            Some(known) if failure.reason.is_of_the_whole_broker() => known,
            _ => failure,
        }
    }
}
