//! The answers to whole requests: every row of the contract's table that a sender can bring about.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{PAYLOAD, sample, webhook, webhook_with_token};
use crate::bridge::{Bridge, TOKEN};
use crate::client::Request;
use crate::scripted::Script;

#[test]
fn a_webhook_is_answered_with_its_id_its_kind_and_its_receipt() {
    let bridge = Bridge::start();
    for (name, kind) in [
        ("message-sent.current", "message.sent"),
        ("message-sent.generation-1", "message.sent"),
        ("conversation-created.current", "conversation.created"),
        ("ai-agent-action.current", "ai-agent.action"),
        ("user-daily-active.current", "user.daily-active"),
    ] {
        let answer = Request::post("/webhooks/open", sample(name)).send_to(bridge.webhooks());
        let body = answer.json();
        assert_eq!(answer.status, 202, "{name}");
        assert_eq!(
            body,
            json!({"id": body["id"], "kind": kind, "receipt": "published"}),
            "{name}"
        );
        assert_eq!(answer.header("x-request-id"), body["id"].as_str(), "{name}");
    }
    let answer = Request::post("/webhooks/open", "[1, 2]").send_to(bridge.webhooks());
    assert_eq!(
        (answer.status, &answer.json()["kind"]),
        (202, &json!("unrecognized"))
    );
}

#[test]
fn an_answer_has_these_headers_and_no_others() {
    let bridge = Bridge::start();
    let answer = webhook().send_to(bridge.webhooks());
    assert_eq!(
        answer.header_names(),
        [
            "cache-control",
            "content-length",
            "content-type",
            "date",
            "x-request-id"
        ]
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let problem = Request::post("/webhooks/nobody", "").send_to(bridge.webhooks());
    assert_eq!(
        problem.header_names(),
        [
            "cache-control",
            "content-length",
            "content-type",
            "date",
            "x-request-id"
        ]
    );
    assert_eq!(problem.header("cache-control"), Some("no-store"));
}

#[test]
fn every_refusal_is_a_problem_with_its_status() {
    let bridge = Bridge::start();
    let url = |target: &str| {
        Request::post(target, PAYLOAD).with("authorization", &format!("Bearer {TOKEN}"))
    };
    let too_large = vec![b' '; (64 << 10) + 1];
    for (request, status, slug) in [
        (url("/webhooks/nobody"), 404, "unknown-source"),
        (url("/webhooks/"), 404, "unknown-source"),
        (url("/webhooks"), 404, "unknown-source"),
        (url("/"), 404, "unknown-source"),
        (url("/webhooks/Minchat"), 404, "unknown-source"),
        (url("/webhooks/minch%61t"), 404, "unknown-source"),
        (url("/metrics"), 404, "unknown-source"),
        (url("/webhooks/minchat/message.read"), 404, "unknown-kind"),
        (url("/webhooks/minchat/unrecognized"), 404, "unknown-kind"),
        (url("/webhooks/minchat/message.sent/x"), 404, "unknown-kind"),
        (
            Request::post("/webhooks/minchat", PAYLOAD),
            401,
            "unauthorized",
        ),
        (
            webhook_with_token().with("content-encoding", "br"),
            415,
            "unsupported-encoding",
        ),
        (
            webhook_with_token().with("content-encoding", "gzip, gzip"),
            415,
            "unsupported-encoding",
        ),
        (
            webhook()
                .with("content-encoding", "gzip")
                .with("content-encoding", "zstd"),
            415,
            "unsupported-encoding",
        ),
        (
            Request::post("/webhooks/open", &too_large),
            413,
            "payload-too-large",
        ),
        (Request::post("/webhooks/open", ""), 400, "malformed-json"),
        (Request::post("/webhooks/open", "{"), 400, "malformed-json"),
        (
            Request::post("/webhooks/open", "[".repeat(60_000)),
            400,
            "malformed-json",
        ),
    ] {
        let answer = request.send_to(bridge.webhooks());
        let problem = answer.json();
        assert_eq!(answer.slug().as_deref(), Some(slug), "{}", request.target);
        assert_eq!(
            (answer.status, &problem["status"]),
            (status, &json!(status)),
            "{slug}"
        );
        assert!(answer.has_its_id_as_instance(), "{slug}: {problem}");
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{slug}"
        );
    }
}

#[test]
fn nothing_but_a_post_is_a_webhook() {
    let bridge = Bridge::start();
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"] {
        let mut request = webhook();
        request.method = method;
        let answer = request.send_to(bridge.webhooks());
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("POST")),
            "{method}"
        );
    }
    assert_eq!(bridge.published(), [""; 0]);
}

#[test]
fn a_token_is_taken_wherever_it_can_stand() {
    let bridge = Bridge::start();
    let basic = STANDARD.encode(format!("user:{TOKEN}"));
    let url = |query: &str| Request::post(&format!("/webhooks/minchat{query}"), PAYLOAD);
    for (request, status) in [
        (
            url("").with("authorization", &format!("Bearer {TOKEN}")),
            202,
        ),
        (url("").with("authorization", "Bearer another"), 202),
        (
            url("").with("Authorization", &format!("Basic {basic}")),
            202,
        ),
        (url(&format!("?token={TOKEN}")), 202),
        (url("?token=s3cret%2Dt0ken"), 202),
        (url(""), 401),
        (url("").with("authorization", "Bearer wrong"), 401),
        (url("").with("authorization", "Basic dXNlcjpwYXNz"), 401),
        (url("?token=wrong"), 401),
        (url("?token="), 401),
        (url("?token"), 401),
    ] {
        let answer = request.send_to(bridge.webhooks());
        assert_eq!(
            answer.status, status,
            "{} {:?}",
            request.target, request.headers
        );
        let challenge = answer.header("www-authenticate").is_some();
        assert_eq!(challenge, status == 401, "{}", request.target);
    }
    assert_eq!(bridge.published().len(), 5);
    bridge.await_metric(
        "minchat_bridge_webhooks_rejected_total{reason=\"unauthorized\",source=\"minchat\"}",
        6.0,
    );
}

#[test]
fn the_url_can_say_the_kind() {
    let bridge = Bridge::start();
    let both = r#"{"event":"ai_handoff","fields":[],"sent_by":{},"chat_id":"c"}"#;
    for (target, payload, kind) in [
        ("/webhooks/open", both, "ai-agent.action"),
        ("/webhooks/open/", both, "ai-agent.action"),
        ("/webhooks/open/message.sent", both, "message.sent"),
        ("/webhooks/open/user.daily-active", both, "ai-agent.action"),
        ("/webhooks/open/user.daily-active", "{}", "unrecognized"),
    ] {
        let answer = Request::post(target, payload).send_to(bridge.webhooks());
        assert_eq!(answer.json()["kind"], kind, "{target}");
    }
    bridge.await_metric(
        "minchat_bridge_payload_drift_total{drift=\"kind_mismatch\",kind=\"ai-agent.action\"}",
        1.0,
    );
}

#[test]
fn what_is_not_json_is_a_dead_letter_before_it_is_a_400() {
    let bridge = Bridge::start();
    let answer = Request::post("/webhooks/open", "not json").send_to(bridge.webhooks());
    let problem = answer.json();
    assert_eq!(
        (answer.status, problem["dead_letter_id"].as_str()),
        (400, answer.header("x-request-id"))
    );
    assert!(answer.has_its_id_as_instance(), "{problem}");
    assert!(bridge.published()[0].contains(r#""body":"not json""#));

    bridge.script(Script::Away);
    let answer = Request::post("/webhooks/open", "not json").send_to(bridge.webhooks());
    assert_eq!(answer.slug().as_deref(), Some("storage-unavailable"));
    assert_eq!(answer.json()["dead_letter_id"], json!(null));
}

#[test]
fn nothing_of_a_request_without_credentials_goes_any_further() {
    let bridge = Bridge::start();
    for body in [PAYLOAD, "not json"] {
        assert_eq!(
            Request::post("/webhooks/minchat", body)
                .send_to(bridge.webhooks())
                .status,
            401
        );
    }
    assert_eq!(bridge.published(), [""; 0]);
}

#[test]
fn a_dry_run_does_everything_but_publish() {
    let bridge = Bridge::start();
    let answer = Request::post("/webhooks/open?dry_run=true", PAYLOAD).send_to(bridge.webhooks());
    let body = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&body["kind"], &body["receipt"]),
        (&json!("message.sent"), &json!("dry-run"))
    );
    assert_eq!(body["envelope"]["id"], body["id"]);
    assert_eq!(body["destinations"], json!(["kafka:open.message.sent.v1"]));

    let answer =
        Request::post("/webhooks/open?dry_run=true", "not json").send_to(bridge.webhooks());
    assert_eq!(
        (answer.status, answer.json().get("dead_letter_id")),
        (400, None)
    );
    let answer =
        Request::post("/webhooks/minchat?dry_run=true", PAYLOAD).send_to(bridge.webhooks());
    assert_eq!(answer.status, 401);
    assert_eq!(bridge.published(), [""; 0]);
    assert_eq!(bridge.metric("minchat_bridge_webhooks_received_total"), 0.0);
}

#[test]
fn success_has_the_status_that_the_operator_chose() {
    for (status, has_body) in [(200, true), (204, false)] {
        let bridge = Bridge::with(|settings| settings.success_status = status);
        let answer = webhook().send_to(bridge.webhooks());
        assert_eq!((answer.status, !answer.body.is_empty()), (status, has_body));
        assert!(answer.header("x-request-id").is_some());
    }
}

#[test]
fn an_event_that_nothing_takes_is_a_503_that_says_when_to_come_again() {
    let bridge = Bridge::start();
    bridge.script(Script::Away);
    let answer = webhook().send_to(bridge.webhooks());
    assert_eq!(
        (answer.status, answer.slug().as_deref()),
        (503, Some("storage-unavailable"))
    );
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[test]
fn a_source_that_posts_more_than_its_rate_is_told_when_to_come_again() {
    let bridge = Bridge::start();
    let statuses =
        [(); 4].map(|()| Request::post("/webhooks/rated", PAYLOAD).send_to(bridge.webhooks()));
    assert_eq!(
        statuses.each_ref().map(|answer| answer.status),
        [202, 202, 429, 429]
    );
    assert_eq!(statuses[2].header("retry-after"), Some("1"));
    assert_eq!(
        webhook().send_to(bridge.webhooks()).status,
        202,
        "other sources don't notice"
    );
}

#[test]
fn an_answer_echoes_nothing_and_its_id_is_its_own() {
    let bridge = Bridge::start();
    for (target, body) in [
        ("/webhooks/minchat/marker?token=marker", "marker"),
        ("/webhooks/marker", "marker"),
        ("/webhooks/open/marker", "marker"),
        ("/webhooks/open", "{\"marker\": marker}"),
    ] {
        let request = Request::post(target, body)
            .with("x-request-id", "marker")
            .with("authorization", "Bearer marker")
            .with("traceparent", "marker");
        let answer = request.send_to(bridge.webhooks());
        assert!((400..500).contains(&answer.status), "{target}");
        assert!(
            !format!("{answer:?}{}", answer.text()).contains("marker"),
            "{target}: {}",
            answer.text()
        );
    }
}

#[test]
fn what_happens_is_counted() {
    let bridge = Bridge::start();
    webhook().send_to(bridge.webhooks());
    webhook().send_to(bridge.webhooks());
    Request::post("/webhooks/nobody", "").send_to(bridge.webhooks());
    Request::post("/elsewhere", "").send_to(bridge.webhooks());
    for (series, value) in [
        (
            "http_requests_total{endpoint=\"webhooks\",status=\"202\"}",
            2.0,
        ),
        (
            "http_requests_total{endpoint=\"webhooks\",status=\"404\"}",
            1.0,
        ),
        (
            "http_requests_total{endpoint=\"other\",status=\"404\"}",
            1.0,
        ),
        (
            "http_request_duration_seconds_count{endpoint=\"webhooks\"}",
            3.0,
        ),
        (
            "webhooks_received_total{kind=\"message.sent\",source=\"open\"}",
            2.0,
        ),
        (
            "webhooks_accepted_total{kind=\"message.sent\",receipt=\"published\",source=\"open\"}",
            2.0,
        ),
        (
            "webhooks_rejected_total{reason=\"unknown-source\",source=\"none\"}",
            1.0,
        ),
        (
            "payload_drift_total{drift=\"unknown_key\",kind=\"message.sent\"}",
            0.0,
        ),
        ("http_requests_in_flight", 0.0),
        ("http_in_flight_bytes", 0.0),
    ] {
        bridge.await_metric(&format!("minchat_bridge_{series}"), value);
    }
    let _kept = bridge.connect();
    bridge.await_metric("minchat_bridge_http_connections", 1.0);
    drop(_kept);
    bridge.await_metric("minchat_bridge_http_connections", 0.0);
}

#[test]
fn an_answer_waits_for_its_receipt() {
    let bridge = Bridge::start();
    bridge.script(Script::ConfirmAfter(Duration::from_millis(300)));
    let began = std::time::Instant::now();
    assert_eq!(webhook().send_to(bridge.webhooks()).status, 202);
    assert!(began.elapsed() >= Duration::from_millis(300));
}
