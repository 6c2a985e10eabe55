//! Stands in for the envelope until it is there.

use std::time::SystemTime;

use uuid::Uuid;

use crate::minchat::{Kind, Malformed, Payload};

/// What the edge knows of one webhook that it let in.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The place of its source among the configured ones.
    pub source: usize,
    /// The kind that the URL says.
    pub said: Option<Kind>,
    /// The request's `content-type`.
    pub content_type: Option<&'a str>,
    /// The request's `traceparent`, valid or not.
    pub traceparent: Option<&'a str>,
    /// The request's `tracestate`, valid or not.
    pub tracestate: Option<&'a str>,
    /// The verified `webhook-id` of a Standard Webhooks request.
    pub webhook_id: Option<&'a str>,
    /// The body, its content-encoding undone.
    pub body: &'a [u8],
    /// When its last byte was there.
    pub at: SystemTime,
}

/// Seals payloads in envelopes.
#[derive(Debug, Default)]
pub struct Sealer;

/// One event with its envelope.
#[derive(Clone, Debug)]
pub struct Event {
    id: Uuid,
    envelope: Vec<u8>,
}

impl Sealer {
    /// The event of a webhook.
    pub fn seal(&self, _received: &Received<'_>, payload: &Payload<'_>) -> Event {
        let mut envelope = Vec::with_capacity(payload.data_len());
        payload.write_data(&mut envelope);
        Event { id: Uuid::now_v7(), envelope }
    }

    /// The dead letter of a webhook that can't become an event.
    pub fn dead_letter(&self, received: &Received<'_>, _why: &Malformed) -> Event {
        let mut envelope = b"dead letter: ".to_vec();
        envelope.extend_from_slice(received.body);
        Event { id: Uuid::now_v7(), envelope }
    }
}

impl Event {
    /// The CloudEvents `id`.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The envelope.
    pub fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// The envelope's attributes without its `data`: a JSON object.
    pub fn attributes_json(&self) -> String {
        format!("{{\"specversion\":\"1.0\",\"id\":\"{}\"}}", self.id)
    }
}
