//! Payloads that become much larger when they are normalized, and bodies as large as the limits allow.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::client::{Connection, Request};
use crate::payload::message;
use crate::process::{PATIENCE, Process, await_within};

const MIB: usize = 1 << 20;

/// A payload of about so many bytes whose `fields` grow more than sixfold.
fn growing(bytes: usize) -> String {
    let fields = vec!["\"\":0"; (bytes - 100) / 5].join(",");
    format!(r#"{{"event":"e","ai_agent_username":"a","chat_id":"c","fields":{{{fields}}}}}"#)
}

/// A body of exactly so many bytes that is its own data.
fn compact(bytes: usize) -> String {
    let empty = message("c", "").len();
    message("c", &"x".repeat(bytes - empty))
}

/// The dead letters of a file, each with its id, reason and length of the body.
fn dead_letters(bridge: &Process) -> Vec<(String, String, usize)> {
    let file = bridge
        .path()
        .join("data/events/minchat.dead-letter.v1.ndjson");
    let lines = std::fs::read_to_string(file).expect("it is there");
    let told = lines.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |value: &Value| value.as_str().expect("it is a text").to_owned();
        let data = &event["data"];
        let length = match data["body"].as_str() {
            Some(body) => body.len(),
            None => STANDARD
                .decode(text(&data["body_base64"]))
                .map_or(0, |body| body.len()),
        };
        (text(&event["id"]), text(&event["data"]["reason"]), length)
    });
    told.collect()
}

/// The tightest that `check` allows.
const TIGHT: &str = "http: {max_body: 8MiB, max_in_flight_bytes: 8MiB}\npublish: {window: 32MiB}\n";

#[test]
fn what_can_never_be_published_is_a_dead_letter_and_no_body_that_is_allowed_gets_a_503() {
    let spaced = format!("[{}1]", " ".repeat(8 * MIB - 3));
    for spool in ["{}", "{max_size: 64MiB}", "{max_size: 0}"] {
        let bridge = Process::start(&format!("{TIGHT}spool: {spool}\n"));
        bridge.await_ready();
        let large = growing(8 * MIB);
        for body in [&compact(8 * MIB), &spaced, &large, &compact(8 * MIB)] {
            let posted = bridge.post(body);
            let expected = match body == &large {
                true => "dead-lettered",
                false => "published",
            };
            assert_eq!(
                (posted.status, posted.json["receipt"].as_str()),
                (202, Some(expected)),
                "spool {spool}: {:?}",
                posted.json
            );
        }
        let binary = Request::post("/webhooks/minchat", vec![0xff; 8 * MIB]);
        assert_eq!(bridge.send(&binary).status, 400);
        let control = Request::post("/webhooks/minchat", vec![1; 8 * MIB]);
        assert_eq!(bridge.send(&control).status, 400);
        // What grows, and still fits, is published.
        let posted = bridge.post(&growing(MIB));
        assert_eq!(posted.json["receipt"], "published");

        let told = dead_letters(&bridge);
        let reasons: Vec<&str> = told.iter().map(|(_, reason, _)| reason.as_str()).collect();
        assert_eq!(
            reasons,
            ["normalized-too-large", "malformed-json", "malformed-json"]
        );
        assert_eq!(told[0].2, large.len(), "the body is whole");
        let counted = [
            "dead_letters_total",
            "none",
            "parse",
            "normalized-too-large",
        ];
        assert_eq!(bridge.metric(&counted), 1.0);
        let accepted = [
            "webhooks_accepted_total",
            "ai-agent.action",
            "dead-lettered",
        ];
        assert_eq!(bridge.metric(&accepted), 1.0);
        bridge.await_metric(&["http_in_flight_bytes"], 0.0);
        bridge.assert_the_books_balance();
    }
}

#[test]
fn large_bodies_are_spooled_while_the_broker_is_away() {
    let away =
        "sources: {minchat: {auth: {none: true}}}\nkafka: {bootstrap_servers: \"127.0.0.1:1\"}\n";
    let bridge = Process::start(&format!("{away}{TIGHT}spool: {{max_size: 256MiB}}\n"));
    for (body, receipt) in [
        (compact(8 * MIB), "spooled"),
        (growing(MIB), "spooled"),
        (growing(8 * MIB), "dead-lettered"),
    ] {
        let posted = bridge.post(&body);
        assert_eq!(
            (posted.status, posted.json["receipt"].as_str()),
            (202, Some(receipt)),
            "{:?}",
            posted.json
        );
    }
    bridge.await_metric(&["spool_events"], 3.0);
    bridge.assert_the_books_balance();
}

#[test]
fn a_dry_run_shows_what_would_become_of_an_event_that_is_too_large() {
    let bridge = Process::start(TIGHT);
    bridge.await_ready();
    let shown = bridge.post_to("/webhooks/minchat?dry_run=true", &growing(8 * MIB));
    assert_eq!(shown.status, 200);
    assert_eq!(
        shown.json["envelope"]["type"],
        "io.minchat.bridge.dead-letter.v1"
    );
    assert_eq!(
        shown.json["destinations"],
        serde_json::json!(["file:minchat.dead-letter.v1"])
    );
}

/// Half a MiB each, 3.3 MiB once they are normalized.
#[test]
fn a_hundred_and_twenty_growing_payloads_at_once_stay_within_the_bounds_of_memory() {
    const SENDERS: usize = 120;
    /// `http.max_in_flight_bytes` and `publish.window`, and as much again for everything else.
    const BOUND: u64 = (2 * (64 + 32)) << 20;
    // A build without optimization is too busy to read heads and bodies in time; the bounds of memory are the defaults.
    let patient =
        "http: {header_timeout: 1m, body_timeout: 2m, body_min_rate: 0, shutdown_timeout: 150s}\n";
    let dir = Arc::new(tempfile::tempdir().expect("a directory can be made"));
    // What is measured is what the bridge holds, and not what glibc's malloc keeps of what was given back.
    let bridge = Process::start_by(dir, patient, |program| {
        let mut command = Command::new(program);
        command.env("MALLOC_MMAP_THRESHOLD_", "65536");
        command
    });
    bridge.await_ready();
    let request = Request::post("/webhooks/minchat", growing(512 << 10)).bytes();
    let refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                await_within(5 * PATIENCE, "room for a growing payload", || {
                    let mut connection = Connection::open(bridge.webhooks());
                    connection.send(&request);
                    // A connection that is refused within its body is closed a second later, answer read or not.
                    let status = connection.answer().map(|answer| answer.status);
                    assert!(
                        [None, Some(202), Some(429), Some(503)].contains(&status),
                        "{status:?}"
                    );
                    let is_taken = status == Some(202);
                    refused.fetch_add(usize::from(!is_taken), Ordering::Relaxed);
                    is_taken.then_some(())
                });
            });
        }
    });
    let peak = bridge.peak_memory();
    println!(
        "{} MiB at most, {} times refused",
        peak >> 20,
        refused.load(Ordering::Relaxed)
    );
    assert!(peak < BOUND, "{} MiB", peak >> 20);
    let published = bridge.metric(&["published_total{", "ai-agent.action"]);
    assert!(published >= SENDERS as f64, "{published}");
    bridge.await_metric(&["http_in_flight_bytes"], 0.0);
    bridge.assert_the_books_balance();
}
