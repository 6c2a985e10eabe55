//! The contract's table of answers, row by row, through the binary.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::client::{Answer, Connection, Request};
use crate::payload::message;
use crate::process::Process;

/// Four sources: with a token, open to everybody, with two webhooks at once and no more, and for another network alone.
const SOURCES: &str = "\
sources:
  minchat: {auth: {tokens: [s3cret-t0ken-of-24-chars]}}
  open: {auth: {none: true}}
  rated: {auth: {none: true}, rate_limit: {per_second: 1, burst: 2}}
  elsewhere: {auth: {none: true}, allow_from: [192.0.2.0/24]}
";

fn start(http: &str) -> Process {
    let bridge = Process::start(&format!("{SOURCES}http: {{{http}}}\n"));
    bridge.await_ready();
    bridge
}

fn payload() -> String {
    message("c1", "hello")
}

fn open(body: impl AsRef<[u8]>) -> Request {
    Request::post("/webhooks/open", body)
}

fn method(method: &'static str) -> Request {
    Request {
        method,
        ..open(payload())
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

/// Asserts that it is this problem, told in full, and gives it back.
fn assert_problem(answer: Answer, status: u16, slug: &str) -> Answer {
    assert_eq!(
        (answer.status, answer.slug().as_deref()),
        (status, Some(slug)),
        "{}",
        answer.text()
    );
    let problem = answer.json();
    assert_eq!(problem["status"], json!(status), "{slug}");
    assert!(answer.has_its_id_as_instance(), "{slug}: {problem}");
    assert!(problem["title"].is_string(), "{slug}");
    assert!(problem["detail"].is_string(), "{slug}");
    answer
}

/// The names of the series of these metrics, with their labels.
fn series(bridge: &Process, metric: &str) -> Vec<String> {
    let text = bridge.ask("/metrics").1;
    let lines = text.lines().filter(|line| line.starts_with(metric));
    lines
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect()
}

#[test]
fn every_request_that_can_be_refused_is_refused_with_its_problem() {
    let bridge = start("max_body: 4KiB");
    let at_start = ["http_requests_total", "webhooks_rejected_total"]
        .map(|metric| series(&bridge, &format!("minchat_bridge_{metric}")));
    let deep = "[".repeat(61) + &"]".repeat(61);
    let zeros = vec![b'0'; 1 << 20];
    let bomb = zstd::encode_all(&zeros[..], 3).expect("memory takes every byte");
    assert!(bomb.len() < 4096 && gzip(&zeros).len() < 4096);
    let with = |name: &'static str, value: &str| open(payload()).with(name, value);
    let token = Request::post("/webhooks/minchat", payload());
    let rows: [(u16, &str, Vec<Request>); 11] = [
        (
            400,
            "malformed-json",
            vec![open("nope"), open(""), open(deep)],
        ),
        (
            401,
            "unauthorized",
            vec![token.with("authorization", "Bearer another")],
        ),
        (
            400,
            "invalid-parameter",
            vec![Request::post("/webhooks/open?dry_run=perhaps", payload())],
        ),
        (
            403,
            "forbidden",
            vec![Request::post("/webhooks/elsewhere", payload())],
        ),
        (
            404,
            "unknown-source",
            vec![Request::post("/webhooks/nobody", payload())],
        ),
        (
            404,
            "unknown-kind",
            ["message.read", "unrecognized", "message.sent/"]
                .map(|kind| Request::post(&format!("/webhooks/open/{kind}"), payload()))
                .into(),
        ),
        (
            405,
            "method-not-allowed",
            ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]
                .map(method)
                .into(),
        ),
        (
            413,
            "payload-too-large",
            vec![
                open(&zeros[..4097]),
                open(gzip(&zeros)).with("content-encoding", "gzip"),
                open(bomb).with("content-encoding", "zstd"),
            ],
        ),
        (
            415,
            "unsupported-encoding",
            ["br", "deflate", "gzip, gzip"]
                .map(|value| with("content-encoding", value))
                .into(),
        ),
        (
            400,
            "malformed-json",
            vec![with("content-encoding", "gzip")],
        ),
        (
            202,
            "",
            vec![
                open(gzip(payload().as_bytes())).with("content-encoding", "gzip"),
                with("content-encoding", "identity"),
                Request::post(
                    "/webhooks/minchat?token=s3cret-t0ken-of-24-chars",
                    payload(),
                ),
            ],
        ),
    ];
    for (status, slug, requests) in &rows {
        for request in requests {
            let answer = request.send_to(bridge.webhooks());
            if slug.is_empty() {
                assert_eq!(answer.status, *status, "{}", answer.text());
                continue;
            }
            let answer = assert_problem(answer, *status, slug);
            let allow = (*status == 405).then_some("POST");
            assert_eq!(answer.header("allow"), allow, "{slug}");
            let is_kept = *slug == "malformed-json";
            assert_eq!(answer.json()["dead_letter_id"].is_string(), is_kept);
        }
    }
    let mut chunked = Connection::open(bridge.webhooks());
    chunked.send(open(&zeros[..8192]).chunked(1000));
    assert_problem(
        chunked.answer().expect("an answer"),
        413,
        "payload-too-large",
    );

    for (slug, count) in [
        ("malformed-json", 4.0),
        ("invalid-parameter", 1.0),
        ("unauthorized", 1.0),
        ("forbidden", 1.0),
        ("unknown-source", 1.0),
        ("unknown-kind", 3.0),
        ("method-not-allowed", 5.0),
        ("payload-too-large", 4.0),
        ("unsupported-encoding", 3.0),
    ] {
        bridge.await_metric(
            &["webhooks_rejected_total", &format!("reason=\"{slug}\"")],
            count,
        );
    }
    // The body that is no gzip is kept as one that is not JSON.
    for (reason, count) in [("too-deep", 1.0), ("malformed-json", 3.0)] {
        bridge.await_metric(&["dead_letters_total", "parse", reason], count);
    }
    let at_end = ["http_requests_total", "webhooks_rejected_total"]
        .map(|metric| series(&bridge, &format!("minchat_bridge_{metric}")));
    assert_eq!(at_start, at_end, "every series is there from the start");
    bridge.assert_the_books_balance();
}

#[test]
fn a_source_over_its_rate_is_told_when_to_come_again() {
    let bridge = start("");
    let post = || Request::post("/webhooks/rated", payload()).send_to(bridge.webhooks());
    assert_eq!([post().status, post().status], [202, 202]);
    let answer = assert_problem(post(), 429, "too-many-requests");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(open(payload()).send_to(bridge.webhooks()).status, 202);
    let rejected = ["webhooks_rejected_total", "too-many-requests", "rated"];
    bridge.await_metric(&rejected, 1.0);
}

#[test]
fn what_is_in_flight_has_its_limits_and_a_429_says_when_to_come_again() {
    let bridge = start("max_in_flight: 2, max_in_flight_bytes: 64KiB, max_body: 60KiB");
    let mut held = Connection::open(bridge.webhooks());
    held.send(open("").head("content-length: 50000\r\n"));
    held.send(format!("\"{}", "x".repeat(49_000)));
    bridge.await_metric(&["http_requests_in_flight"], 1.0);
    bridge.await_metric(&["http_in_flight_bytes"], 49_001.0);
    let large = open(format!("\"{}\"", "x".repeat(20_000)));
    let answer = assert_problem(large.send_to(bridge.webhooks()), 429, "too-many-requests");
    assert_eq!(answer.header("retry-after"), Some("1"));

    let mut second = Connection::open(bridge.webhooks());
    second.send(open("").head("content-length: 3\r\n"));
    bridge.await_metric(&["http_requests_in_flight"], 2.0);
    let third = open(payload()).send_to(bridge.webhooks());
    let answer = assert_problem(third, 429, "too-many-requests");
    assert_eq!(answer.header("retry-after"), Some("1"));

    held.send(format!("{}\"", "x".repeat(998)));
    second.send("[1]");
    assert_eq!(held.answer().expect("an answer").status, 202);
    assert_eq!(second.answer().expect("an answer").status, 202);
    bridge.await_metric(&["http_requests_in_flight"], 0.0);
    bridge.await_metric(&["http_in_flight_bytes"], 0.0);
}

#[test]
fn a_body_that_comes_too_slowly_is_cut() {
    let patient = "body_timeout: 40s, shutdown_timeout: 60s, body_min_rate: 10KiB";
    for (http, at_least) in [
        ("body_timeout: 1s, body_min_rate: 0", 1),
        (patient, 2), // the rate counts after the first two seconds
    ] {
        let bridge = start(http);
        let began = Instant::now();
        let mut slow = Connection::open(bridge.webhooks());
        slow.send(open("").head("content-length: 1000\r\n"));
        slow.send("{\"text\":");
        let answer = slow.answer().expect("an answer");
        let took = began.elapsed();
        let answer = assert_problem(answer, 408, "body-timeout");
        assert_eq!(answer.header("connection"), Some("close"));
        let bounds = Duration::from_secs(at_least)..Duration::from_secs(at_least * 4);
        assert!(bounds.contains(&took), "{http}: {took:?}");
        bridge.await_metric(&["webhooks_rejected_total", "body-timeout", "open"], 1.0);
    }
}

#[test]
fn what_is_no_request_yet_is_answered_without_a_body() {
    let bridge = start("header_timeout: 1s, head_size: 4KiB");
    let at_start = series(&bridge, "minchat_bridge_http_requests_total");
    let long = format!("x-long: {}\r\n", "x".repeat(5000));
    let longer = format!("x-long: {}\r\n", "x".repeat(200_000));
    for (head, status) in [
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (open("").head(&long), 431),
        (method("GET").head(&longer), 431),
        (b"POST /webhooks/open HTTP/1.1\r\nhost: a\r\n".to_vec(), 408),
    ] {
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(&head);
        let answer = connection.answer().expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (status, ""));
    }
    assert_eq!(
        at_start,
        series(&bridge, "minchat_bridge_http_requests_total")
    );
    bridge.await_metric(&["http_requests_total", "other", "\"431\""], 2.0);
    bridge.await_metric(&["http_requests_total", "other", "\"408\""], 1.0);
}

#[test]
fn success_has_the_status_that_the_operator_chose() {
    for (status, receipt) in [(202, "published"), (200, "published"), (204, "")] {
        let bridge = start(&format!("success_status: {status}"));
        let answer = open(payload()).send_to(bridge.webhooks());
        assert_eq!(answer.status, status);
        assert!(answer.header("x-request-id").is_some());
        match receipt {
            "" => assert_eq!(answer.text(), ""),
            _ => assert_eq!(answer.json()["receipt"], receipt),
        }
        let dry = Request::post("/webhooks/open?dry_run=true", payload());
        assert_eq!(dry.send_to(bridge.webhooks()).status, 200);
        let counted = ["http_requests_total", "webhooks", &format!("\"{status}\"")];
        bridge.await_metric(&counted, if status == 200 { 2.0 } else { 1.0 });
    }
}

#[test]
fn nothing_that_looks_like_a_dry_run_is_ever_published() {
    let bridge = start("");
    let post = |query: &str| {
        Request::post(&format!("/webhooks/open{query}"), payload()).send_to(bridge.webhooks())
    };
    for query in [
        "?dry_run=true",
        "?dry_run=True",
        "?dry_run=TRUE",
        "?dry_run=1",
        "?dry_run=yes",
        "?dry_run=on",
        "?dry_run=",
        "?dry_run",
        "?dry_run&x=1",
        "?x=1&dry_run",
        "?dry%5Frun=true",
        "?dry_run=%74rue",
        "?%64ry_run=%31",
    ] {
        let answer = post(query);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.json()["receipt"], "dry-run", "{query}");
    }
    for query in [
        "?dry_run=2",
        "?dry_run=-1",
        "?dry_run=tru",
        "?dry_run=true!",
        "?dry_run=true%20",
        "?dry_run=true+",
        "?dry_run=null",
        "?dry_run=%00",
        "?dry_run=%ff",
        "?dry_run==true",
        "?dry_run=%22true%22",
        "?dry_run=true;x=1",
        "?dry_run=true?x=1",
        "?dry_run=true&dry_run=true",
        "?dry_run=false&dry_run=true",
        "?dry_run=true&dry_run=false",
        "?dry_run=false&dry_run",
        "?dry_run=false&dry%5frun=true",
        "?dry_run=false&DRY_RUN=true",
        "?DRY_RUN=true",
        "?Dry_Run=1",
        "?dry-run=true",
        "?dry-run",
        "?dryrun=true",
        "?dryRun=true",
        "?dry%20run=true",
        "?+dry_run=true",
        "?dry_run[]=true",
        "?dry_run%5B0%5D=true",
        "??dry_run=true",
        "?x=1?dry_run=true",
        "?x=1;dry_run=true",
        "?x=1%26dry_run=true",
        "?dry%255Frun=true",
        "?x_dry_run=true",
        "?x-dry-run",
        "?no_dry_run=1",
        "?dry_run_only=1",
        "?isDryRun=true",
        "?dry_rum=true",
        "?dyr_run=true",
        "?dryrn",
    ] {
        let problem = assert_problem(post(query), 400, "invalid-parameter").json();
        assert!(problem["dead_letter_id"].is_null(), "{query}");
    }
    for (query, name) in [
        ("?token=x&x_dry_run=true", "\"x_dry_run\""),
        ("?dry_run=maybe", "\"dry_run\""),
        ("?dry_run=true&DryRun=true", "\"DryRun\""),
    ] {
        let problem = assert_problem(post(query), 400, "invalid-parameter").json();
        let detail = problem["detail"].as_str().expect("it says why");
        assert!(
            detail.contains(&format!("the parameter {name} ")),
            "{detail}"
        );
    }
    for header in ["Dry-Run", "X-Dry-Run", "x-minchat-dryrun", "dry_run"] {
        for query in ["", "?dry_run=true", "?dry_run=false"] {
            let target = format!("/webhooks/open{query}");
            let request = Request::post(&target, payload()).with(header, "true");
            let answer = request.send_to(bridge.webhooks());
            let problem = assert_problem(answer, 400, "invalid-parameter").json();
            let detail = problem["detail"].as_str().expect("it says why");
            let named = format!("the header \"{}\" ", header.to_ascii_lowercase());
            assert!(detail.contains(&named), "{detail}");
        }
    }
    assert_eq!(bridge.metric(&["webhooks_accepted_total"]), 0.0);
    assert_eq!(bridge.metric(&["lane_events_total"]), 0.0);
    let published = [
        "?dry_run=false",
        "?dry_run=0",
        "?dry_run=No",
        "?dry_run=off",
        "?dry=1",
        "?run=dry",
        "?x&y=%",
    ];
    for query in published {
        assert_eq!(post(query).status, 202, "{query}");
    }
    bridge.await_metric(&["webhooks_accepted_total"], published.len() as f64);

    let secret = Request::post("/webhooks/minchat?dry_run=perhaps", payload());
    assert_problem(secret.send_to(bridge.webhooks()), 401, "unauthorized");
}

#[test]
fn the_admin_listener_tells_problems_of_its_own() {
    let bridge = start("");
    let ask = |method, path: &str| {
        let request = Request {
            method,
            ..Request::post(path, "")
        };
        request.send_to(bridge.admin())
    };
    for (method, path, status, slug) in [
        ("GET", "/", 404, "not-found"),
        ("GET", "/webhooks/open", 404, "not-found"),
        ("POST", "/webhooks/open", 404, "not-found"),
        ("DELETE", "/metrics/", 404, "not-found"),
        ("POST", "/metrics", 405, "method-not-allowed"),
        ("PUT", "/livez", 405, "method-not-allowed"),
        ("DELETE", "/readyz?verbose", 405, "method-not-allowed"),
        ("OPTIONS", "/version", 405, "method-not-allowed"),
    ] {
        let answer = assert_problem(ask(method, path), status, slug);
        let allow = (status == 405).then_some("GET, HEAD");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        let text = answer.text().to_lowercase();
        for word in ["webhook", "source", "post"] {
            assert!(!text.contains(word), "{method} {path}: {text}");
        }
    }
    assert_eq!(bridge.metric(&["webhooks_rejected_total"]), 0.0);
    let series = series(&bridge, "minchat_bridge_webhooks_rejected_total");
    assert!(!series.iter().any(|series| series.contains("not-found")));
}
