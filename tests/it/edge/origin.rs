//! Where requests may come from, and what somebody without credentials is told.

use super::{PAYLOAD, signatures};
use crate::client::{Answer, Request};
use crate::process::Process;

const TOKEN: &str = "Bearer a-token-that-is-long-enough";

fn bridge(more: &str) -> Process {
    let yaml = format!(
        "sources: {{minchat: {{auth: {{tokens: [a-token-that-is-long-enough]}}, {more}}}}}\n"
    );
    Process::start(&yaml)
}

fn post(bridge: &Process, token: &str, forwarded: &[&str]) -> Answer {
    let request = Request::post("/webhooks/minchat", PAYLOAD).with("authorization", token);
    let with = forwarded.iter().fold(request, |request, list| {
        request.with("x-forwarded-for", list)
    });
    with.send_to(bridge.webhooks())
}

#[test]
fn who_has_good_credentials_is_told_that_the_address_is_not_allowed_and_nobody_else_is() {
    for (allow_from, status) in [
        ("127.0.0.0/8", 202),
        ("192.0.2.0/24", 403),
        ("192.0.2.0/24, 127.0.0.1", 202),
    ] {
        let bridge = bridge(&format!("allow_from: [{allow_from}]"));
        let answer = post(&bridge, TOKEN, &["192.0.2.1"]);
        assert_eq!(answer.status, status, "{allow_from}");
        let slug = (status == 403).then_some("forbidden");
        assert_eq!(answer.slug().as_deref(), slug, "{allow_from}");
        let wrong = post(&bridge, "Bearer nonsense", &[]);
        assert_eq!(
            (wrong.status, wrong.slug().as_deref()),
            (401, Some("unauthorized")),
            "{allow_from}"
        );
        let forbidden = ["webhooks_rejected_total", "reason=\"forbidden\"", "minchat"];
        bridge.await_metric(&forbidden, if status == 403 { 1.0 } else { 0.0 });
    }
}

#[test]
fn a_good_signature_from_elsewhere_is_told_so_and_takes_nothing_from_the_rate() {
    let bridge = Process::start(
        "
sources:
  minchat:
    auth: {hmac: {secrets: [a-secret-of-its-own-and-long-enough]}}
    rate_limit: {per_second: 1, burst: 1}
    allow_from: [192.0.2.0/24]
    trusted_proxies: [127.0.0.1]
  open: {auth: {none: true}, allow_from: [192.0.2.0/24]}
",
    );
    let signed = |key: &str, from: &str| {
        Request::post("/webhooks/minchat", PAYLOAD)
            .with("x-signature", &signatures::hex(key, PAYLOAD.as_bytes()))
            .with("x-forwarded-for", from)
            .send_to(bridge.webhooks())
    };
    let key = "a-secret-of-its-own-and-long-enough";
    for _ in 0..5 {
        let answer = signed(key, "198.51.100.7");
        assert_eq!(answer.slug().as_deref(), Some("forbidden"));
        let wrong = signed("another-secret-altogether", "198.51.100.7");
        let without = Request::post("/webhooks/minchat", PAYLOAD).send_to(bridge.webhooks());
        let inside = signed("another-secret-altogether", "192.0.2.1");
        for refused in [wrong, without, inside] {
            assert_eq!(refused.slug().as_deref(), Some("unauthorized"));
        }
    }
    assert_eq!(signed(key, "192.0.2.1").status, 202);
    let open = Request::post("/webhooks/open", PAYLOAD).send_to(bridge.webhooks());
    assert_eq!(open.slug().as_deref(), Some("forbidden"));
}

#[test]
fn behind_a_trusted_proxy_the_last_untrusted_address_counts() {
    let bridge = bridge("allow_from: [192.0.2.0/24], trusted_proxies: [127.0.0.1, 10.0.0.0/8]");
    for (forwarded, status) in [
        (&["192.0.2.1"][..], 202),
        (&["192.0.2.1, 10.1.1.1"], 202),
        (&["192.0.2.1", "10.1.1.1"], 202),
        (&["192.0.2.1, 198.51.100.7"], 403),
        (&["198.51.100.7, 192.0.2.1"], 202),
        (&["198.51.100.7"], 403),
        (&["nonsense"], 403),
        (&[], 403),
    ] {
        assert_eq!(
            post(&bridge, TOKEN, forwarded).status,
            status,
            "{forwarded:?}"
        );
    }
}

#[test]
fn wrong_tokens_are_all_told_the_same_and_lock_nobody_out() {
    let bridge = bridge("trusted_proxies: [127.0.0.1]");
    let fail = |token: &str| post(&bridge, token, &["192.0.2.1"]);
    let told = |answer: &Answer| {
        let problem = answer.json();
        [&problem["type"], &problem["title"], &problem["detail"]].map(ToString::to_string)
    };
    let first = fail("Bearer nonsense");
    assert_eq!(first.slug().as_deref(), Some("unauthorized"));
    for number in 0..200 {
        let answer = fail(&format!("Bearer a-token-that-is-long-enoug{number}"));
        assert_eq!((answer.status, told(&answer)), (401, told(&first)));
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_eq!(post(&bridge, TOKEN, &["192.0.2.1"]).status, 202);
    bridge.await_metric(&["webhooks_rejected_total", "unauthorized"], 201.0);
    assert!(
        !bridge.log().contains("192.0.2."),
        "addresses are for debug"
    );
}
