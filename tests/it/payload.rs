//! What the tests post.

use minchat_bridge::envelope::EventType;
use minchat_bridge::minchat::SAMPLES;

/// A prefix of topics, exchanges and files that no other test has.
pub fn prefix() -> String {
    format!("t{}.", uuid::Uuid::now_v7().simple())
}

/// A message of today's shape.
pub fn message(chat: &str, text: &str) -> String {
    format!(r#"{{"sent_by":{{"id":"u1"}},"sent_to":[],"chat_id":"{chat}","text":"{text}"}}"#)
}

pub fn sample(name: &str) -> &'static str {
    SAMPLES
        .iter()
        .find(|sample| sample.name == name)
        .expect("there is a sample of that name")
        .json
}

/// The names of all topics or exchanges of a source with this prefix.
pub fn destinations(prefix: &str) -> impl Iterator<Item = String> {
    EventType::ALL
        .iter()
        .map(move |event_type| format!("{prefix}{}.v1", event_type.name()))
}
