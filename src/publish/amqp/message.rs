//! An event as an AMQP message: its properties and headers. The body is the envelope as it is.

use std::time::SystemTime;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::settings::ContentMode;
use crate::envelope::{CONTENT_TYPE, DATA_CONTENT_TYPE, Event};

/// Written to disk by the broker.
const PERSISTENT: u8 = 2;
/// What published it.
const APP_ID: &str = env!("CARGO_PKG_NAME");

/// How an event is told in a message's properties and in the broker's returns.
pub(super) fn message_id(event: &Event) -> ShortString {
    event.id().to_string().into()
}

/// The body of an event's message.
pub(super) fn body(event: &Event, mode: ContentMode) -> &[u8] {
    match mode {
        ContentMode::Structured => event.envelope(),
        ContentMode::Binary => event.data(),
    }
}

/// The properties of an event's message. The header `partitionkey` is there if the event has an
/// ordering key, the header `traceparent` if its request brought a valid one; in binary mode all
/// attributes are there (CloudEvents AMQP protocol binding 1.0.2, section 3.1, whose prefix for
/// those who can't write a colon this is).
pub(super) fn properties(event: &Event, mode: ContentMode) -> BasicProperties {
    let since = event
        .received_at()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut headers = FieldTable::default();
    let texts = [
        ("partitionkey", event.ordering_key()),
        ("traceparent", event.traceparent()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            headers.insert(name.into(), AMQPValue::LongString(LongString::from(text)));
        }
    }
    let content_type = match mode {
        ContentMode::Structured => CONTENT_TYPE,
        ContentMode::Binary => {
            for (name, text) in event.header_attributes() {
                let name = format!("cloudEvents_{name}");
                headers.insert(name.into(), AMQPValue::LongString(text.into()));
            }
            DATA_CONTENT_TYPE
        }
    };
    BasicProperties::default()
        .with_content_type(content_type.into())
        .with_message_id(message_id(event))
        .with_type(event.event_type().cloudevents_type().into())
        .with_timestamp(since.as_secs())
        .with_app_id(APP_ID.into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers)
}
