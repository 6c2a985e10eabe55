//! The embedded default: the binary, and files.

use std::process::Command;

use minchat_bridge::minchat::SAMPLES;
use serde_json::Value;

use crate::client::{Connection, Request};
use crate::command::run;
use crate::payload::{message, sample};
use crate::process::{Process, await_some, program};
use crate::readme::explained;

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
    let line: Value =
        serde_json::from_str(&bridge.await_log(&["try next: "])).expect("a line is JSON");
    let next = line["message"]
        .as_str()
        .and_then(|text| text.strip_prefix("try next: "))
        .expect("it says what");
    let mut words = next.split(' ');
    let mut next = Command::new(words.next().expect("a program"));
    assert!(
        next.args(words)
            .status()
            .expect("it is where the line says")
            .success()
    );
    bridge.assert_the_books_balance();
    bridge.stop();
}

#[test]
fn a_renamed_file_is_closed_without_another_event_and_the_next_event_makes_a_new_one() {
    let bridge = Process::start(NOTHING);
    bridge.await_ready();
    bridge.post(sample("message-sent.current"));
    let file = bridge
        .path()
        .join("data/events/minchat.message.sent.v1.ndjson");
    let renamed = file.with_extension("1");
    std::fs::rename(&file, &renamed).expect("the file is there");
    await_some("the end of the renamed file", || {
        (!bridge.has_open(&renamed)).then_some(())
    });
    assert_eq!(bridge.post(sample("message-sent.current")).status, 202);
    assert_eq!((ids_in(&renamed).len(), ids_in(&file).len()), (1, 1));
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
fn a_full_disk_costs_503s_and_once_there_is_room_events_flow() {
    let dir = std::sync::Arc::new(tempfile::tempdir().expect("a directory can be made"));
    let events = dir.path().join("data/events");
    std::fs::create_dir_all(&events).expect("there is room for a directory");
    let file = events.join("minchat.message.sent.v1.ndjson");
    // Whatever is written to it, the disk is full.
    std::os::unix::fs::symlink("/dev/full", &file).expect("the directory is there");
    let mut bridge = Process::start_in(dir, "publish: {deadline: 1s}\nspool: {max_size: 0}\n");
    let body = sample("message-sent.current");
    let posted = bridge.post(body);
    assert_eq!(
        (posted.status, posted.json["type"].as_str()),
        (
            503,
            Some("tag:minchat.io,2026:bridge:problem:storage-unavailable")
        )
    );
    bridge.await_log(&[
        "WARN",
        explained("events don't get through; trying again"),
        "minchat.message.sent.v1",
        "No space left",
    ]);
    let (status, text) = bridge.ask("/readyz?verbose");
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("[-]file:minchat.message.sent.v1 failed: "),
        "{text}"
    );
    assert_eq!(
        bridge.post(sample("user-daily-active.current")).status,
        202,
        "other lanes go on"
    );
    assert!(bridge.metric(&["publish_failures_total", "file", "disk-full"]) > 0.0);
    assert!(bridge.metric(&["publish_repeated_total", "file"]) > 0.0);
    std::fs::remove_file(&file).expect("the link is there");
    await_some("a 202", || (bridge.post(body).status == 202).then_some(()));
    bridge.await_ready();
    bridge.assert_the_books_balance();
    bridge.stop();
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
    let settings = "publish: {deadline: 1s}\nspool: {max_size: 0}\n";
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
    let open = Connection::open(bridge.webhooks());
    bridge.await_metric(&["http_connections"], 1.0);
    drop(open);
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
        (&["dead_letters_total", "parse", "malformed-json"], 1.0),
        (&["publish_duration_seconds_count"], 2.0),
        (&["delivery_latency_seconds_count"], 2.0),
        (&["broker_up"], 1.0),
        (&["build_info"], 1.0),
        (&["http_connections"], 0.0),
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

#[test]
fn emit_posts_the_samples_to_a_running_bridge_and_healthcheck_asks_it() {
    let mut bridge = Process::start(NOTHING);
    bridge.await_ready();
    let health = format!("http://{}/livez", bridge.admin());
    assert_eq!(program(&["healthcheck", "--url"], &[&health]).0, 0);
    let url = format!("http://{}/webhooks/minchat", bridge.webhooks());
    let (code, text) = program(
        &["emit", "--count", "8", "--concurrency", "2", "--url"],
        &[&url],
    );
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("published") && text.contains("p99"), "{text}");
    assert_eq!(bridge.metric(&["webhooks_accepted_total"]), 8.0);
    assert_eq!(
        lines(&bridge, "message.sent")[0]["data"]["metadata"]["minchat_bridge_sample"],
        true
    );
    bridge.stop();
    assert_eq!(program(&["emit", "message.sent", "--url"], &[&url]).0, 69);
    assert_eq!(program(&["healthcheck", "--url"], &[&health]).0, 69);
}

#[test]
fn a_source_with_a_token_file_lets_nobody_else_in() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let file = dir.path().join("tokens");
    std::fs::write(
        &file,
        "first-t0ken-of-this-test\nsecond-t0ken-of-this-test\n",
    )
    .expect("it can be written");
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{tokens_file: {}}}}}}}\n",
        file.display()
    ));
    bridge.await_ready();
    let body = sample("message-sent.current");
    assert_eq!(bridge.post(body).status, 401);
    assert_eq!(
        bridge
            .post_to("/webhooks/minchat?token=third-t0ken", body)
            .status,
        401
    );
    assert_eq!(
        bridge
            .post_to("/webhooks/minchat?token=second-t0ken-of-this-test", body)
            .status,
        202
    );
    let request = Request::post("/webhooks/minchat", body)
        .with("authorization", "Bearer first-t0ken-of-this-test");
    assert_eq!(bridge.send(&request).status, 202);
    let url = format!("http://{}/webhooks/minchat", bridge.webhooks());
    let emit = |words: &[&str]| program(&["emit", "message.sent", "--url", &url], words);
    assert_eq!(emit(&[]).0, 78);
    assert_eq!(emit(&["--token", "third-t0ken"]).0, 78);
    assert_eq!(
        emit(&["--token", "second-t0ken-of-this-test", "--rate", "100"]).0,
        0
    );
    let (code, text) = emit(&["--token", "second-t0ken-of-this-test", "--dry-run"]);
    assert!(
        code == 0 && text.contains("  dataschema       tag:minchat.io,2026:"),
        "{text}"
    );
    assert_eq!(lines(&bridge, "message.sent").len(), 3, "and that is all");
    let told = [
        bridge.log(),
        bridge.ask("/metrics").1,
        format!("{:?}", lines(&bridge, "message.sent")),
    ]
    .concat();
    assert!(!told.contains("t0ken"), "a secret is never shown");
    assert_eq!(
        bridge.metric(&["webhooks_rejected_total", "unauthorized"]),
        4.0
    );
}

/// The ids in the file that has the name now.
fn ids_in(file: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let envelope: Value = serde_json::from_str(line).expect("each line is JSON");
        envelope["id"].as_str().expect("it has an id").to_owned()
    });
    lines.collect()
}

#[test]
fn row_54_an_event_is_published_into_the_file_that_has_the_name() {
    let mut bridge = Process::start(NOTHING);
    bridge.await_ready();
    let dir = bridge.path().join("data/events");
    let file = dir.join("minchat.message.sent.v1.ndjson");
    let published = |what: &str| {
        let posted = bridge.post(sample("message-sent.current"));
        assert_eq!(
            (posted.status, posted.json["receipt"].as_str()),
            (202, Some("published")),
            "{what}"
        );
        let id = posted.json["id"].as_str().expect("it has an id").to_owned();
        assert!(
            ids_in(&file).contains(&id),
            "{what}: it is in no file of that name"
        );
    };
    published("at first");
    std::fs::remove_file(&file).expect("it is there");
    published("it was removed");
    let rotated = file.with_extension("1");
    std::fs::rename(&file, &rotated).expect("it is there");
    published("it was renamed");
    assert_eq!(
        (ids_in(&rotated).len(), ids_in(&file).len()),
        (1, 1),
        "none is there twice"
    );
    std::fs::write(dir.join("new"), "").expect("there is room");
    std::fs::rename(dir.join("new"), &file).expect("it is there");
    published("another one was moved over it");
    std::fs::remove_dir_all(&dir).expect("it is there");
    published("its directory was removed");
    std::fs::rename(&dir, dir.with_extension("old")).expect("it is there");
    published("its directory was renamed");
    let real = dir.with_extension("real");
    std::fs::rename(&dir, &real).expect("it is there");
    std::os::unix::fs::symlink(&real, &dir).expect("there is room");
    published("its directory is behind a link");
    std::fs::File::create(&file).expect("it is cut, as logrotate's copytruncate does");
    published("it was cut");
    bridge.await_log(&["WARN", "the file was removed, renamed or replaced"]);
    bridge.assert_the_books_balance();
    bridge.stop();
}

#[test]
fn row_54_under_load_every_event_is_in_some_file_however_often_it_is_rotated() {
    let mut bridge = Process::start(NOTHING);
    bridge.await_ready();
    let file = bridge
        .path()
        .join("data/events/minchat.message.sent.v1.ndjson");
    let load = crate::load::Load::start(&bridge, 8);
    let mut rotated = Vec::new();
    for turn in 0..20 {
        await_some("some events", || (ids_in(&file).len() > 5).then_some(()));
        let to = file.with_extension(turn.to_string());
        std::fs::rename(&file, &to).expect("it is there");
        rotated.push(to);
        if turn % 2 == 0 {
            bridge.signal("HUP");
        }
    }
    let (accepted, refused) = load.end();
    assert!(refused.is_empty(), "{refused:?}");
    bridge.await_metric(&["lane_pending_events"], 0.0);
    rotated.push(file);
    let there: std::collections::HashSet<String> =
        rotated.iter().flat_map(|file| ids_in(file)).collect();
    let lost = accepted.iter().filter(|id| !there.contains(*id)).count();
    assert_eq!(lost, 0, "of {}", accepted.len());
    bridge.stop();
}

#[test]
fn a_limit_on_the_size_of_files_ends_no_bridge_and_loses_nothing() {
    // In blocks of 512 bytes: some fifty events of this size.
    const LIMIT: &str = "ulimit -f 1000 && exec \"$0\" \"$@\"";
    let dir = std::sync::Arc::new(tempfile::TempDir::new().expect("a directory can be made"));
    let bridge = Process::start_by(dir, NOTHING, |program| {
        let mut command = Command::new("sh");
        command.args(["-c", LIMIT, program]);
        command
    });
    bridge.await_ready();
    let text = message("c1", &"x".repeat(10_000));
    let mut published = Vec::new();
    let refused = (0..1_000).find_map(|_| {
        let posted = bridge.post(&text);
        if posted.json["receipt"] == "published" {
            published.push(posted.json["id"].clone());
        }
        (posted.status != 202).then_some(posted.status)
    });
    assert_eq!(refused, Some(503), "{} were published", published.len());
    bridge.await_log(&[explained("File too large")]);
    assert_eq!(bridge.ask("/livez").0, 200);
    let there: Vec<Value> = lines(&bridge, "message.sent")
        .into_iter()
        .map(|line| line["id"].clone())
        .collect();
    assert!(published.len() > 10 && published.iter().all(|id| there.contains(id)));
    bridge.assert_the_books_balance();
}

#[test]
fn dead_letters_in_a_file_that_is_named_and_not_there_are_unavailable() {
    let bridge = Process::start(NOTHING);
    let list = |from: &[&str]| run(bridge.path(), &[&["dead-letters", "list"], from].concat());
    for none in [
        &[][..],
        &["--from", "file:minchat.dead-letter.v1"],
        &["--from", "kept"],
    ] {
        list(none).with(0).says(&["no dead letters"]);
    }
    for missing in ["file:./nope.ndjson", "file:nope", "kept:./nope"] {
        let ran = list(&["--from", missing]).with(69);
        ran.says(&["could not be read: there is no such file"]);
        let replay = ["dead-letters", "replay", "--dry-run", "--from", missing];
        run(bridge.path(), &replay).with(69);
    }
    bridge.post("no JSON");
    let here = "file:./data/events/minchat.dead-letter.v1.ndjson";
    list(&["--from", here]).with(0).says(&["malformed-json"]);
}
