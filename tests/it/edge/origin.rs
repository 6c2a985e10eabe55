//! Where requests may come from, and how often somebody may fail to get in.

use super::PAYLOAD;
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
fn a_network_that_is_not_allowed_gets_a_401_with_a_good_token_too() {
    for (allow_from, status) in [
        ("127.0.0.0/8", 202),
        ("192.0.2.0/24", 401),
        ("192.0.2.0/24, 127.0.0.1", 202),
    ] {
        let bridge = bridge(&format!("allow_from: [{allow_from}]"));
        let answer = post(&bridge, TOKEN, &["192.0.2.1"]);
        assert_eq!(answer.status, status, "{allow_from}");
        assert_eq!(
            post(&bridge, "Bearer nonsense", &[]).status,
            401,
            "{allow_from}"
        );
    }
}

#[test]
fn behind_a_trusted_proxy_the_last_untrusted_address_counts() {
    let bridge = bridge("allow_from: [192.0.2.0/24], trusted_proxies: [127.0.0.1, 10.0.0.0/8]");
    for (forwarded, status) in [
        (&["192.0.2.1"][..], 202),
        (&["192.0.2.1, 10.1.1.1"], 202),
        (&["192.0.2.1", "10.1.1.1"], 202),
        (&["192.0.2.1, 198.51.100.7"], 401),
        (&["198.51.100.7, 192.0.2.1"], 202),
        (&["198.51.100.7"], 401),
        (&["nonsense"], 401),
        (&[], 401),
    ] {
        assert_eq!(
            post(&bridge, TOKEN, forwarded).status,
            status,
            "{forwarded:?}"
        );
    }
}

#[test]
fn who_fails_too_often_gets_a_429_and_a_good_credential_is_never_limited() {
    let bridge = bridge("trusted_proxies: [127.0.0.1]");
    let fail = |from: &str| post(&bridge, "Bearer nonsense", &[from]);
    let limited =
        (0..200).find_map(|_| Some(fail("192.0.2.1")).filter(|answer| answer.status == 429));
    let limited = limited.expect("200 failures at once are over the limit");
    assert_eq!(limited.slug().as_deref(), Some("too-many-requests"));
    assert_eq!(limited.header("retry-after"), Some("1"));
    assert_eq!(post(&bridge, TOKEN, &["192.0.2.1"]).status, 202);
    assert_eq!(
        fail("192.0.2.2").status,
        401,
        "another has a limit of its own"
    );
    assert!(bridge.metric(&["webhooks_rejected_total", "too-many-requests"]) >= 1.0);
    assert!(bridge.metric(&["webhooks_rejected_total", "unauthorized"]) >= 60.0);
    assert!(
        !bridge.log().contains("192.0.2."),
        "addresses are for debug"
    );
}
