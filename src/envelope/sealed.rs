//! Events for the tests of other modules.

use std::time::SystemTime;

use super::{Event, Received, Sealer, Settings};

/// A sealer that has one source.
pub(crate) fn sealer() -> Sealer {
    let settings = Settings {
        schema_base: "urn:test:".to_owned(),
    };
    Sealer::new(&settings, [("minchat", "/webhooks/minchat")])
}

/// The event of a body that is JSON, received now.
pub(crate) fn event(sealer: &Sealer, body: &str) -> Event {
    let payload = crate::minchat::read(body.as_bytes(), None).expect("the body is JSON");
    sealer.seal(&received(body.as_bytes()), &payload)
}

/// A webhook for that source, received now.
pub(crate) fn received(body: &[u8]) -> Received<'_> {
    Received {
        source: 0,
        said: None,
        content_type: None,
        traceparent: None,
        tracestate: None,
        webhook_id: None,
        body,
        at: SystemTime::now(),
    }
}
