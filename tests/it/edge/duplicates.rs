//! What a credential stands in is there once, or the request is refused: a proxy in front may have read the other one.

use super::signatures::{bridge, now, signed, standard, timed};
use super::{PAYLOAD, published};
use crate::client::Request;

const TOKEN: &str = "a-token-that-is-long-enough";

fn with_token(request: Request, token: &str) -> Request {
    request.with("authorization", &format!("Bearer {token}"))
}

fn post(query: &str) -> Request {
    Request::post(&format!("/webhooks/minchat{query}"), PAYLOAD)
}

#[test]
fn a_credential_that_is_there_twice_lets_nobody_in_whichever_is_good() {
    let bridge = bridge();
    let by_token = || with_token(post(""), TOKEN);
    let by_signature = || signed("a-secret-of-its-own", PAYLOAD.as_bytes());
    let by_standard = || standard("msg_1", now(), PAYLOAD.as_bytes());
    let by_timed = || timed("from-a-file-and-long-enough", now());
    for once in [
        by_token(),
        post(&format!("?token={TOKEN}")),
        post(&format!("?token={TOKEN}&tokens=x&Token=y")),
        by_signature(),
        by_standard(),
        by_timed(),
        // Another source's headers are nobody's credentials here.
        by_timed().with("x-signature", "a").with("x-signature", "b"),
        by_token().with("x-timestamp", "1").with("x-timestamp", "2"),
    ] {
        assert_eq!(bridge.send(&once).status, 202, "{:?}", once.headers);
    }
    let accepted = published(&bridge, "message.sent").len();
    let again = |request: Request, name: &'static str| {
        let same = request.headers.iter().find(|(known, _)| *known == name);
        let value = same.expect("it is there once").1.clone();
        request.with(name, &value)
    };
    let mut twice = vec![
        with_token(by_token(), TOKEN),
        with_token(by_token(), "wrong"),
        with_token(with_token(post(""), "wrong"), TOKEN),
        by_token().with("authorization", ""),
        by_token().with("Authorization", "Basic dTpw"),
        with_token(with_token(post(&format!("?token={TOKEN}")), "a"), "b"),
        with_token(with_token(by_signature(), "a"), "b"),
        with_token(post("?token=a&token=b"), TOKEN),
        by_signature().with("x-signature", "sha256=00"),
        with_token(again(by_signature(), "x-signature"), TOKEN),
        by_standard().with("webhook-id", "msg_2"),
        by_standard().with("webhook-timestamp", "1"),
        by_standard().with("webhook-signature", "v1,AAAA"),
        with_token(again(by_standard(), "webhook-id"), TOKEN),
        by_timed().with("x-timestamp", "1"),
        by_timed().with("x-signed", "AAAA"),
    ];
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        twice.push(again(by_standard(), name));
    }
    twice.push(again(by_signature(), "x-signature"));
    for name in ["x-timestamp", "x-signed"] {
        twice.push(again(by_timed(), name));
    }
    for query in [
        "?token=T&token=T",
        "?token=T&token=wrong",
        "?token=wrong&token=T",
        "?token=T&token=",
        "?token=T&token",
        "?token&token=T",
        "?token=T&x=1&%74oken=T",
        "?%74oken=wrong&token=T",
    ] {
        twice.push(post(&query.replace('T', TOKEN)));
    }
    for request in &twice {
        let answer = request.send_to(bridge.webhooks());
        assert_eq!(
            answer.slug().as_deref(),
            Some("unauthorized"),
            "{} {:?}",
            request.target,
            request.headers
        );
    }
    assert_eq!(published(&bridge, "message.sent").len(), accepted);
}

#[test]
fn other_headers_that_are_there_twice_decide_nothing_or_are_refused() {
    let bridge = bridge();
    let twice = |name: &'static str, values: [&str; 2]| {
        let request = with_token(post(""), TOKEN);
        request.with(name, values[0]).with(name, values[1])
    };
    for (name, values, status) in [
        ("content-encoding", ["gzip", "gzip"], 415),
        ("content-encoding", ["identity", "identity"], 415),
        ("content-encoding", ["identity", "gzip"], 415),
        ("host", ["bridge.test", "other.test"], 400),
        ("content-length", ["5", "5"], 400),
        (
            "content-type",
            ["application/json", "application/json"],
            202,
        ),
        ("content-type", ["text/plain", "application/json"], 202),
        ("x-request-id", ["a", "b"], 202),
    ] {
        let answer = twice(name, values).send_to(bridge.webhooks());
        assert_eq!(answer.status, status, "{name}: {values:?}");
    }
    bridge.await_metric(&["payload_drift_total", "content_type"], 2.0);
}
