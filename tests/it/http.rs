//! The contract's HTTP section, request by request.

mod admin;
mod bodies;
mod connections;
mod order;
mod stopping;
mod table;

use minchat_bridge::minchat::SAMPLES;

use crate::bridge::TOKEN;
use crate::client::Request;

/// A good payload on one line.
const PAYLOAD: &str =
    r#"{"sent_by":{"id":"u1"},"sent_to":[{"id":"u2"}],"chat_id":"c1","text":"hello"}"#;

/// A webhook that is accepted.
fn webhook() -> Request {
    Request::post("/webhooks/open", PAYLOAD)
}

/// A webhook that is accepted because of its token.
fn webhook_with_token() -> Request {
    Request::post("/webhooks/minchat", PAYLOAD).with("authorization", &format!("Bearer {TOKEN}"))
}

fn sample(name: &str) -> &'static str {
    SAMPLES
        .iter()
        .find(|sample| sample.name == name)
        .expect("there is a sample of that name")
        .json
}
