//! The admin listener.

use serde_json::json;

use super::webhook;
use crate::bridge::Bridge;
use crate::client::{Request, get};
use crate::scripted::Script;

#[test]
fn probes_say_yes_and_no() {
    let bridge = Bridge::start();
    assert_eq!(get(bridge.admin(), "/livez").status, 200);
    let ready = get(bridge.admin(), "/readyz");
    assert_eq!((ready.status, ready.text().as_str()), (200, "ok\n"));
    let verbose = get(bridge.admin(), "/readyz?verbose").text();
    assert!(
        verbose.contains("[+]kafka:open.message.sent.v1 ok\n"),
        "{verbose}"
    );

    bridge.script(Script::Away);
    bridge.await_readiness(503, "[-]kafka:open.message.sent.v1 failed: away\n");
}

#[test]
fn the_version_is_told() {
    let bridge = Bridge::start();
    let answer = get(bridge.admin(), "/version");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["version"], json!(env!("CARGO_PKG_VERSION")));
    assert!(answer.json()["revision"].is_string());
}

#[test]
fn metrics_are_text_for_prometheus() {
    let bridge = Bridge::start();
    let answer = get(bridge.admin(), "/metrics");
    assert!(
        answer
            .header("content-type")
            .is_some_and(|text| text.starts_with("text/plain; version=0.0.4"))
    );
    assert!(answer.text().contains("minchat_bridge_http_requests_total"));
}

#[test]
fn the_two_listeners_share_no_path() {
    let bridge = Bridge::start();
    let elsewhere = get(bridge.admin(), "/elsewhere");
    assert_eq!(
        (elsewhere.status, elsewhere.slug().as_deref()),
        (404, Some("not-found"))
    );
    assert_eq!(
        Request::post("/webhooks/open", "{}")
            .send_to(bridge.admin())
            .status,
        404
    );
    let post = Request::post("/metrics", "").send_to(bridge.admin());
    assert_eq!(
        (post.status, post.header("allow")),
        (405, Some("GET, HEAD"))
    );
    for path in ["/livez", "/readyz", "/metrics", "/version"] {
        assert_eq!(get(bridge.webhooks(), path).status, 404, "{path}");
    }
    assert_eq!(webhook().send_to(bridge.webhooks()).status, 202);
}
