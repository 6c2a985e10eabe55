//! Of several things that are wrong with a request, the first in the contract's order is told.

use super::PAYLOAD;
use crate::bridge::{Bridge, TOKEN};
use crate::client::{Connection, Request};

/// What can be wrong, in the order of the checks.
const FAULTS: [&str; 8] = [
    "unknown-source",
    "method-not-allowed",
    "unauthorized",
    "unknown-kind",
    "invalid-parameter",
    "unsupported-encoding",
    "payload-too-large",
    "malformed-json",
];

#[test]
fn the_first_fault_in_order_is_the_one_that_is_told() {
    let bridge = Bridge::start();
    for set in 1_u32..1 << FAULTS.len() {
        let wrong = |fault: &str| {
            FAULTS
                .iter()
                .position(|known| *known == fault)
                .is_some_and(|bit| set >> bit & 1 == 1)
        };
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(request(wrong));
        let answer = connection.answer().expect("an answer");
        let first = FAULTS[set.trailing_zeros() as usize];
        assert_eq!(answer.slug().as_deref(), Some(first), "{set:08b}");
    }
}

fn request(wrong: impl Fn(&str) -> bool) -> Vec<u8> {
    let source = if wrong("unknown-source") {
        "nobody"
    } else {
        "minchat"
    };
    let kind = if wrong("unknown-kind") {
        "message.read"
    } else {
        "message.sent"
    };
    let query = if wrong("invalid-parameter") {
        "?dry_run=perhaps"
    } else {
        ""
    };
    let mut request = Request::post(&format!("/webhooks/{source}/{kind}{query}"), PAYLOAD);
    if wrong("method-not-allowed") {
        request.method = "PUT";
    }
    if !wrong("unauthorized") {
        request = request.with("authorization", &format!("Bearer {TOKEN}"));
    }
    if wrong("unsupported-encoding") {
        request = request.with("content-encoding", "br");
    }
    if wrong("malformed-json") {
        request.body = b"not json".to_vec();
    }
    match wrong("payload-too-large") {
        // The length alone is too much: not a byte of it has to come.
        true => request.head("content-length: 1000000\r\n"),
        false => request.bytes(),
    }
}
