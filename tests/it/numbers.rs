//! What operators see is never behind what senders were told.

use crate::payload::message;
use crate::process::Process;

const ROUNDS: usize = 100;

/// The sum of the series of this page that have all of these in their lines.
fn sum(metrics: &str, parts: &[&str]) -> f64 {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Posts one event after the other, and holds the metrics against each answer as soon as it is there.
fn assert_each_answer_is_counted(bridge: &Process, receipt: &str, now: &[(&str, fn(f64) -> f64)]) {
    for events in 1..=ROUNDS {
        let posted = bridge.post(&message("c1", &events.to_string()));
        assert_eq!(posted.status, 202, "{:?}", posted.json);
        assert_eq!(posted.json["receipt"], receipt);
        let (_, metrics) = bridge.ask("/metrics");
        let of_all: [(&str, fn(f64) -> f64); 6] = [
            ("webhooks_received_total{", |events| events),
            ("webhooks_accepted_total{", |events| events),
            ("http_requests_total{endpoint=\"webhooks\"", |events| events),
            ("lane_events_total{", |events| events),
            ("http_requests_in_flight", |_| 0.0),
            ("http_in_flight_bytes", |_| 0.0),
        ];
        for (name, should) in of_all.iter().chain(now) {
            let is = sum(&metrics, &[name]);
            assert_eq!(is, should(events as f64), "{name} after {events} events");
        }
    }
}

#[test]
fn an_event_that_waits_in_the_spool_is_counted_before_it_is_answered() {
    let bridge = Process::start(
        "sources: {minchat: {auth: {none: true}}}\n\
         amqp: {uri: \"amqp://127.0.0.1:1\"}\n",
    );
    crate::process::await_some("an outage that is known", || {
        let (_, text) = bridge.ask("/readyz?verbose");
        (!text.contains("not reached yet")).then_some(())
    });
    assert_each_answer_is_counted(
        &bridge,
        "spooled",
        &[
            ("lane_pending_events{", |events| events),
            ("spool_events{", |events| events),
            ("spool_appended_total{", |events| events),
            ("published_total{", |_| 0.0),
            ("spool_sync_duration_seconds_count", |events| events),
        ],
    );
    let (_, metrics) = bridge.ask("/metrics");
    assert!(sum(&metrics, &["spool_bytes{"]) > 0.0);
    assert!(sum(&metrics, &["spool_oldest_event_timestamp_seconds{"]) > 1e9);
}

#[test]
fn an_event_that_is_published_is_counted_before_it_is_answered() {
    let bridge =
        Process::start("sources: {minchat: {auth: {none: true}}}\nfile: {dir: data/events}\n");
    bridge.await_ready();
    assert_each_answer_is_counted(
        &bridge,
        "published",
        &[
            ("lane_pending_events{", |_| 0.0),
            ("spool_events{", |_| 0.0),
            ("published_total{", |events| events),
            ("publish_duration_seconds_count{", |events| events),
            ("delivery_latency_seconds_count{", |events| events),
        ],
    );
}
