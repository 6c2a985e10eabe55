//! An event as a Kafka record.

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::context::opaque;
use super::settings::ContentMode;
use crate::envelope::{self, Event, Verdict};
use crate::publish::Handover;

/// The record of an event for this topic.
pub(super) fn record<'a>(
    topic: &'a str,
    content_mode: ContentMode,
    handover: &'a Handover,
) -> BaseRecord<'a, str, [u8], usize> {
    let event = &handover.event;
    let (value, content_type) = match content_mode {
        ContentMode::Structured => (event.envelope(), envelope::CONTENT_TYPE),
        ContentMode::Binary => (event.data(), envelope::DATA_CONTENT_TYPE),
    };
    let mut headers = with(
        OwnedHeaders::new_with_capacity(2),
        "content-type",
        content_type,
    );
    if content_mode == ContentMode::Binary {
        headers = with_attributes(headers, event);
    }
    if let Some(traceparent) = event.traceparent() {
        headers = with(headers, "traceparent", traceparent);
    }
    if let Some(verdict) = event.verdict() {
        headers = with_verdict(headers, verdict);
    }
    let opaque = opaque(handover.seq, handover.attempt);
    let mut record = BaseRecord::with_opaque_to(topic, opaque).payload(value);
    if let Some(key) = event.ordering_key() {
        record = record.key(key);
    }
    record.headers(headers)
}

fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header {
        key,
        value: Some(value),
    })
}

/// The headers of binary mode (CloudEvents Kafka protocol binding 1.0.2, section 3.2).
fn with_attributes(headers: OwnedHeaders, event: &Event) -> OwnedHeaders {
    let attributes = event.header_attributes().into_iter();
    attributes.fold(headers, |headers, (name, value)| {
        with(headers, &format!("ce_{name}"), &value)
    })
}

/// The headers that Kafka Connect puts on dead letters, so that dead-letter browsers know them
/// (KIP-298, `errors.deadletterqueue.context.headers.enable`).
fn with_verdict(headers: OwnedHeaders, verdict: &Verdict) -> OwnedHeaders {
    let topic = verdict.destination.as_deref().unwrap_or_default();
    let topic = topic.strip_prefix("kafka:").unwrap_or(topic);
    [
        ("__connect.errors.topic", topic),
        ("__connect.errors.stage", verdict.reason.stage().name()),
        (
            "__connect.errors.exception.class.name",
            verdict.reason.name(),
        ),
        ("__connect.errors.exception.message", &verdict.detail),
    ]
    .into_iter()
    .fold(headers, |headers, (key, value)| with(headers, key, value))
}
