//! What never becomes an event, and what a topic never takes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::{CREATE, PARENT, yaml};
use crate::client::{Connection, Request};
use crate::cluster::Cluster;
use crate::payload::{destinations, message, prefix};
use crate::process::{Process, await_some};
use crate::readme::explained;

#[test]
fn what_is_not_json_is_refused_and_kept_as_a_dead_letter() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let deep = "[".repeat(61) + &"]".repeat(61);
    for (body, reason) in [
        ("{\"text\": nope}", "malformed_json"),
        (deep.as_str(), "too_deep"),
    ] {
        let posted = bridge.post(body);
        assert_eq!(
            (posted.status, posted.json["type"].as_str()),
            (
                400,
                Some("tag:minchat.io,2026:bridge:problem:malformed-json")
            )
        );
        let id = posted.json["dead_letter_id"]
            .as_str()
            .expect("it says which dead letter")
            .to_owned();
        let records = cluster.read(&format!("{prefix}dead-letter.v1"));
        let record = records
            .iter()
            .find(|record| record.id() == id)
            .expect("it was confirmed before the answer");
        assert_eq!(record.value["type"], "io.minchat.bridge.dead-letter.v1");
        let data = &record.value["data"];
        assert_eq!(
            (data["reason"].as_str(), data["stage"].as_str()),
            (Some(reason), Some("parse"))
        );
        assert_eq!(data["body"], body);
        assert_eq!(data["request"]["path"], "/webhooks/minchat");
        assert_eq!(data["received_at"], record.value["time"]);
    }
    bridge.post_bytes_and_expect_base64(&cluster, &format!("{prefix}dead-letter.v1"));
    bridge.assert_the_books_balance();
}

impl Process {
    fn post_bytes_and_expect_base64(&self, cluster: &Cluster, topic: &str) {
        let posted = self.send(&Request::post("/webhooks/minchat", [0xff, 0xfe]));
        let id = posted.json["dead_letter_id"]
            .as_str()
            .expect("it says which")
            .to_owned();
        let records = cluster.read(topic);
        let record = records
            .iter()
            .find(|record| record.id() == id)
            .expect("it is there");
        assert_eq!(record.value["data"]["body_base64"], "//4=");
    }
}

#[test]
fn an_event_that_its_topic_does_not_take_is_a_dead_letter_and_the_lane_goes_on() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let topic = format!("{prefix}message.sent.v1");
    cluster.create(&topic, 1, &[("max.message.bytes", "8192")]);
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, ""));
    bridge.await_ready();
    let limit = [topic.as_str(), "\"max_message_bytes\":8192"];
    bridge.await_log(&["WARN", "http.max_body lets in more", limit[0], limit[1]]);
    let large = message("c1", &"x".repeat(20_000));
    let traced = Request::post("/webhooks/minchat", &large)
        .with("traceparent", PARENT)
        .with("tracestate", "rojo=\"1\"");
    let posted = bridge.send(&traced);
    assert_eq!(
        (posted.status, posted.json["receipt"].as_str()),
        (202, Some("dead-lettered"))
    );
    assert_eq!(
        bridge.post(&message("c1", "small")).json["receipt"],
        "published"
    );
    bridge.await_log(&[
        explained("the destination will never take this event"),
        &topic,
    ]);
    let record = cluster
        .await_records(&format!("{prefix}dead-letter.v1"), 1)
        .remove(0);
    assert_eq!(record.value["id"], posted.json["id"]);
    let data = &record.value["data"];
    assert_eq!(
        (data["reason"].as_str(), data["stage"].as_str()),
        (Some("too_large"), Some("publish"))
    );
    assert_eq!(data["destination"], format!("kafka:{topic}"));
    assert_eq!(
        (&record.value["subject"], record.key.as_deref()),
        (&"chats/c1".into(), Some("c1"))
    );
    assert_eq!(
        (&record.value["traceparent"], &record.value["tracestate"]),
        (&PARENT.into(), &"rojo=\"1\"".into())
    );
    for counted in [
        &["dead_letters_total", &topic, "publish", "too_large"][..],
        &["webhooks_accepted_total", "message.sent", "dead-lettered"],
        &["published_total", &format!("{prefix}dead-letter.v1")],
    ] {
        assert_eq!(bridge.metric(counted), 1.0, "{counted:?}");
    }
    for (header, value) in [
        ("topic", topic.as_str()),
        ("stage", "publish"),
        ("exception.class.name", "too_large"),
        (
            "exception.message",
            data["detail"].as_str().expect("it says why"),
        ),
    ] {
        let header = format!("__connect.errors.{header}");
        assert!(
            record.headers.contains(&(header.clone(), value.to_owned())),
            "{header}"
        );
    }
    assert_eq!(data["body"], large);
    bridge.assert_the_books_balance();
}

#[test]
fn an_event_that_the_broker_refuses_for_ever_is_a_dead_letter_and_the_lane_goes_on() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let topic = format!("{prefix}unrecognized.v1");
    // A compacted topic takes no record without a key, and what is not recognized has none.
    cluster.create(&topic, 1, &[("cleanup.policy", "compact")]);
    // The client is rebuilt twice on the way, which takes seconds on a loaded machine: the receipt is waited for.
    let to_it = format!(
        "routes:\n  message.sent: {{kafka: {{topic: {topic}}}}}\n\
         publish: {{deadline: 60s}}\nhttp: {{shutdown_timeout: 70s}}\n"
    );
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, &to_it));
    bridge.await_ready();
    let before = bridge.post(&message("c1", "before"));
    assert_eq!(before.json["receipt"], "published");
    let refused = bridge.post("{}");
    assert_eq!(refused.json["receipt"], "dead-lettered");
    // Without a spool nothing is taken until the lane has a client again.
    let after = await_some("the lane to take events again", || {
        let posted = bridge.post(&message("c1", "after"));
        (posted.status == 202).then_some(posted)
    });
    assert_eq!(after.json["receipt"], "published");
    let records = cluster.read(&topic);
    for posted in [before, after] {
        let id = posted.json["id"].as_str().expect("a 202 has an id");
        assert!(records.iter().any(|record| record.id() == id), "{id}");
    }
    let record = cluster
        .await_records(&format!("{prefix}dead-letter.v1"), 1)
        .remove(0);
    assert_eq!(record.value["id"], refused.json["id"]);
    assert_eq!(record.value["data"]["reason"], "rejected");
    assert_eq!(
        bridge.metric(&["dead_letters_total", "publish", "rejected"]),
        1.0
    );
    bridge.assert_the_books_balance();
}

#[test]
fn what_came_beside_an_event_that_the_broker_refuses_for_ever_is_published() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let topic = format!("{prefix}unrecognized.v1");
    cluster.create(&topic, 1, &[("cleanup.policy", "compact")]);
    let to_it = format!("routes: {{message.sent: {{kafka: {{topic: {topic}}}}}}}\n");
    let with_a_spool =
        yaml(&cluster.servers, &prefix, CREATE, &to_it).replace("spool: {max_size: 0}", "");
    let bridge = Process::start(&with_a_spool);
    bridge.await_ready();
    let mut posting = Vec::new();
    for number in 0..20 {
        let body = match number {
            7 => "{}".to_owned(),
            _ => message("c1", &number.to_string()),
        };
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(Request::post("/webhooks/minchat", body).bytes());
        posting.push(connection);
    }
    let mut answers = posting
        .iter_mut()
        .map(|connection| connection.answer().expect("each is answered"));
    assert!(answers.all(|answer| answer.status == 202));
    let records = cluster.await_records(&topic, 19);
    let numbers = records
        .iter()
        .filter_map(|record| record.value["data"]["text"].as_str());
    let numbers: BTreeSet<&str> = numbers.collect();
    assert_eq!(numbers.len(), 19, "{numbers:?}");
    let dead = cluster.await_records(&format!("{prefix}dead-letter.v1"), 1);
    assert_eq!(dead[0].value["data"]["reason"], "rejected");
    bridge.await_metric(&["lane_pending_events"], 0.0);
    bridge.assert_the_books_balance();
}

#[test]
fn a_dead_letter_that_its_own_topic_does_not_take_is_kept_as_a_file() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    for name in destinations(&prefix) {
        cluster.create(&name, 1, &[("max.message.bytes", "8192")]);
    }
    let large = message("c1", &"x".repeat(20_000));
    // The first confirm of a producer takes a while.
    let patient = yaml(
        &cluster.servers,
        &prefix,
        "",
        "publish: {spool_after: 4s}\n",
    );
    let bridge = Process::start(&patient.replace("spool: {max_size: 0}", ""));
    bridge.await_ready();
    let posted = bridge.post(&large);
    assert_eq!(posted.json["receipt"], "dead-lettered");
    let id = posted.json["id"].as_str().expect("a 202 has an id");
    let file = bridge
        .path()
        .join(format!("data/spool/dead-letters/{id}.json"));
    let dead_letter: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("it is there before the answer"))
            .expect("it is JSON");
    assert_eq!(dead_letter["data"]["body"], large.as_str());
    let mode = std::fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "it holds personal messages");
    bridge.await_metric(&["lane_pending_events"], 0.0);
    bridge.assert_the_books_balance();

    let nowhere = Process::start(&yaml(
        &cluster.servers,
        &prefix,
        "",
        "publish: {deadline: 1s}\n",
    ));
    nowhere.await_ready();
    assert_eq!(
        nowhere.post(&large).status,
        503,
        "without a place for it nothing is promised"
    );
    assert_eq!(
        nowhere.post(&message("c1", "small")).status,
        202,
        "and the lane goes on"
    );
}
