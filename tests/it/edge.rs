//! The edge of the real binary: who gets in, and how.

mod conformance;
mod connections;
mod crowd;
mod duplicates;
mod fail_closed;
#[cfg(feature = "kafka")]
mod kafka;
mod limits;
mod log;
mod made_up_signatures;
#[cfg(feature = "oauth")]
mod oauth;
mod origin;
mod pipelined;
#[cfg(feature = "amqp")]
mod rabbitmq;
mod refused;
mod reload;
mod rerouted;
mod secrets;
mod signatures;
mod tls;
mod tls_client;

use serde_json::Value;

use crate::process::Process;

/// A good payload on one line.
const PAYLOAD: &str =
    r#"{"sent_by":{"id":"u1"},"sent_to":[{"id":"u2"}],"chat_id":"c1","text":"hello"}"#;

/// The envelopes of one kind that the bridge has published, in order.
fn published(bridge: &Process, kind: &str) -> Vec<Value> {
    let file = bridge
        .path()
        .join(format!("data/events/minchat.{kind}.v1.ndjson"));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}
