//! The embedded default: the binary, and files.

use minchat_bridge::minchat::SAMPLES;
use serde_json::Value;

use crate::client::Request;
use crate::payload::sample;
use crate::process::{Process, await_some};

const NOTHING: &str = "{}\n";

fn lines(bridge: &Process, kind: &str) -> Vec<Value> {
    let file = bridge
        .path()
        .join(format!("data/events/minchat.{kind}.v1.ndjson"));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

#[test]
fn without_any_configuration_events_go_to_files() {
    let mut bridge = Process::start(NOTHING);
    bridge.await_ready();
    for sample in SAMPLES {
        let posted = bridge.post(sample.json);
        assert_eq!(
            (posted.status, &posted.json["receipt"]),
            (202, &"published".into()),
            "{}",
            sample.name
        );
        let last = lines(&bridge, sample.kind.name())
            .pop()
            .expect("it is on disk before the answer");
        assert_eq!(last["id"], posted.json["id"]);
    }
    bridge.await_log(&["events go to", "ndjson"]);
    bridge.await_log(&["try next: minchat-bridge emit"]);
    bridge.assert_the_books_balance();
    bridge.stop();
}

#[test]
fn the_file_is_opened_anew_at_a_hangup_so_that_it_can_be_rotated() {
    let bridge = Process::start(NOTHING);
    bridge.await_ready();
    bridge.post(sample("message-sent.current"));
    let file = bridge
        .path()
        .join("data/events/minchat.message.sent.v1.ndjson");
    std::fs::rename(&file, file.with_extension("1")).expect("the file is there");
    bridge.signal("HUP");
    await_some("a new file", || {
        bridge.post(sample("message-sent.current"));
        file.exists().then_some(())
    });
}

#[test]
fn a_torn_line_is_cut_off_at_the_next_start() {
    let mut bridge = Process::start(NOTHING);
    bridge.await_ready();
    bridge.post(sample("message-sent.current"));
    bridge.stop();
    let file = bridge
        .path()
        .join("data/events/minchat.message.sent.v1.ndjson");
    let mut text = std::fs::read(&file).expect("the file is there");
    text.extend_from_slice(b"{\"specversion\":\"1.");
    std::fs::write(&file, text).expect("it can be written");
    let bridge = Process::start_in(bridge.dir(), NOTHING);
    bridge.await_ready();
    bridge.post(sample("message-sent.current"));
    assert_eq!(lines(&bridge, "message.sent").len(), 2);
    bridge.await_log(&["WARN", "cut off a line that was never finished"]);
}

#[test]
fn a_dry_run_tells_everything_and_publishes_nothing() {
    let bridge = Process::start(NOTHING);
    bridge.await_ready();
    let posted = bridge.post_to(
        "/webhooks/minchat?dry_run=true",
        sample("message-sent.generation-1"),
    );
    assert_eq!(
        (posted.status, &posted.json["receipt"]),
        (200, &"dry-run".into())
    );
    assert!(
        posted
            .json
            .to_string()
            .contains("file:minchat.message.sent.v1"),
        "{}",
        posted.json
    );
    assert!(
        posted
            .json
            .to_string()
            .contains("chats/63d3e12d669fc928b3d78f80"),
        "{}",
        posted.json
    );
    assert!(lines(&bridge, "message.sent").is_empty());
}

#[test]
fn two_files_are_never_written_by_two_bridges() {
    let first = Process::start(NOTHING);
    first.await_ready();
    assert_eq!(first.post(sample("message-sent.current")).status, 202);
    let settings = "publish: {deadline: 1s}\n";
    let second = Process::start_in(first.dir(), settings);
    assert_eq!(second.post(sample("message-sent.current")).status, 503);
    second.await_log(&["ERROR", "another process writes to it"]);
}

#[test]
fn the_kind_in_the_url_counts_if_the_payload_can_be_one() {
    let bridge = Process::start(NOTHING);
    bridge.await_ready();
    let user = r#"{"id":"u1","username":"sam","name":"Sam","participant_user_ids":[]}"#;
    assert_eq!(bridge.post(user).json["kind"], "conversation.created");
    assert_eq!(
        bridge
            .post_to("/webhooks/minchat/user.daily-active", user)
            .json["kind"],
        "user.daily-active"
    );
    assert_eq!(
        bridge.post_to("/webhooks/minchat/message.sent", user).json["kind"],
        "conversation.created"
    );
    assert_eq!(
        bridge.metric(&["payload_drift_total", "kind_mismatch"]),
        1.0
    );
    let unknown = Request::post("/webhooks/minchat/message.read", user);
    assert_eq!(bridge.send(&unknown).status, 404);
}

#[test]
fn what_happens_is_counted() {
    let mut bridge = Process::start("publish: {deadline: 2s}\n");
    bridge.await_ready();
    assert_eq!(bridge.post(sample("message-sent.generation-1")).status, 202);
    assert_eq!(bridge.post("nope").status, 400);
    assert_eq!(bridge.post_to("/webhooks/nobody", "{}").status, 404);
    for (series, value) in [
        (&["http_requests_total", "webhooks", "\"202\""][..], 1.0),
        (&["http_requests_total", "webhooks", "\"400\""], 1.0),
        (&["http_request_duration_seconds_count", "webhooks"], 3.0),
        (&["webhooks_received_total", "message.sent"], 1.0),
        (
            &["webhooks_accepted_total", "message.sent", "published"],
            1.0,
        ),
        (&["webhooks_rejected_total", "malformed-json"], 1.0),
        (&["payload_drift_total", "message.sent", "legacy_key"], 1.0),
        (&["lane_events_total", "minchat.message.sent.v1"], 1.0),
        (&["published_total", "minchat.message.sent.v1"], 1.0),
        (&["dead_letters_total", "parse", "malformed_json"], 1.0),
        (&["publish_duration_seconds_count"], 2.0),
        (&["delivery_latency_seconds_count"], 2.0),
        (&["broker_up"], 1.0),
        (&["build_info"], 1.0),
        (&["http_requests_in_flight"], 0.0),
        (&["http_in_flight_bytes"], 0.0),
    ] {
        bridge.await_metric(series, value);
    }
    assert!(bridge.metric(&["published_bytes_total"]) > 500.0);
    assert!(bridge.metric(&["process_resident_memory_bytes"]) > 1e6);
    bridge.assert_the_books_balance();
    bridge.stop();
}
