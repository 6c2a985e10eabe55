//! A client that publishes nothing: it asks, and knows why there is no answer.

use rdkafka::client::Client;
use rdkafka::producer::{Producer, ThreadedProducer};

use super::context::AskingContext;
use super::settings::Settings;
use super::{client, errors};
use crate::publish::Failure;

/// See the module. A producer, since a consumer is not told the words of an error.
pub(super) struct Asking {
    producer: ThreadedProducer<AskingContext>,
    settings: Settings,
}

impl Asking {
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let made = client::common(settings).create_with_context(AskingContext::default());
        let producer = made.map_err(|error| errors::of_error(&error))?;
        Ok(Asking {
            producer,
            settings: settings.clone(),
        })
    }

    pub(super) fn client(&self) -> &Client<AskingContext> {
        self.producer.client()
    }

    /// A failure of the whole broker in the words of the connection's last trouble.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        self.settings
            .explain(failure, self.producer.context().last_error())
    }
}
