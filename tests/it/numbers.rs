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

/// Posts one event after the other, and holds the metrics against each answer as soon as it is there: those of `counted`
/// are as many as the events, and those of `none` are 0.
fn assert_each_answer_is_counted(bridge: &Process, receipt: &str, counted: &[&str], none: &[&str]) {
    for events in 1..=ROUNDS {
        let posted = bridge.post(&message("c1", &events.to_string()));
        assert_eq!(posted.status, 202, "{:?}", posted.json);
        assert_eq!(posted.json["receipt"], receipt);
        let (_, metrics) = bridge.ask("/metrics");
        let of_all = [
            "webhooks_received_total{",
            "webhooks_accepted_total{",
            "http_requests_total{endpoint=\"webhooks\"",
            "lane_events_total{",
        ];
        for name in of_all.iter().chain(counted) {
            let is = sum(&metrics, &[name]);
            assert_eq!(is, events as f64, "{name} after {events} events");
        }
        let idle = ["http_requests_in_flight", "http_in_flight_bytes"];
        for name in idle.iter().chain(none) {
            let is = sum(&metrics, &[name]);
            assert_eq!(is, 0.0, "{name} after {events} events");
        }
    }
}

#[test]
fn an_event_that_waits_in_the_spool_is_counted_before_it_is_answered() {
    let bridge = Process::start(
        "sources: {minchat: {auth: {none: true}}}\n\
         amqp: {uri: \"amqp://127.0.0.1:1\"}\n",
    );
    bridge.await_ready();
    let counted = [
        "lane_pending_events{",
        "spool_events{",
        "spool_appended_total{",
        "spool_sync_duration_seconds_count",
    ];
    assert_each_answer_is_counted(&bridge, "spooled", &counted, &["published_total{"]);
    let (_, metrics) = bridge.ask("/metrics");
    assert!(sum(&metrics, &["spool_bytes{"]) > 0.0);
    assert!(sum(&metrics, &["spool_oldest_event_timestamp_seconds{"]) > 1e9);
}

#[test]
fn an_event_that_is_published_is_counted_before_it_is_answered() {
    let bridge = Process::start(
        "sources: {minchat: {auth: {none: true}}}\n\
         file: {dir: data/events}\n\
         publish: {spool_after: 4s}\n",
    );
    bridge.await_ready();
    let counted = [
        "published_total{",
        "publish_duration_seconds_count{",
        "delivery_latency_seconds_count{",
    ];
    let none = ["lane_pending_events{", "spool_events{"];
    assert_each_answer_is_counted(&bridge, "published", &counted, &none);
}
