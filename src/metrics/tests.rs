use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::delivery::Receipt;
use crate::envelope::DeadLetterReason;
use crate::minchat::Drift;
use crate::publish::Reason;
use table::{Measure, PREFIX, REGISTERED};

const MESSAGES: &str = "minchat.message.sent.v1";

const PROBLEMS: [(&str, u16); 14] = [
    ("malformed-json", 400),
    ("invalid-parameter", 400),
    ("unauthorized", 401),
    ("forbidden", 403),
    ("unknown-source", 404),
    ("unknown-kind", 404),
    ("method-not-allowed", 405),
    ("body-timeout", 408),
    ("payload-too-large", 413),
    ("unsupported-encoding", 415),
    ("too-many-requests", 429),
    ("internal", 500),
    ("storage-unavailable", 503),
    ("stopping", 503),
];

fn labels(brokers: &[Broker]) -> Labels {
    Labels {
        brokers: brokers.to_vec(),
        problems: PROBLEMS.to_vec(),
        success_status: 202,
    }
}

/// One source, and each kind and the dead letters on two brokers.
fn metrics() -> Metrics {
    let brokers = [Broker::Kafka, Broker::Amqp];
    let metrics = Metrics::new(&labels(&brokers)).expect("the table holds together");
    let _ = metrics.source("minchat");
    for name in Kind::ALL.map(Kind::name).into_iter().chain(["dead-letter"]) {
        for broker in brokers {
            let _ = metrics.destination(broker, &format!("minchat.{name}.v1"));
        }
    }
    metrics
}

fn render(metrics: &Metrics) -> String {
    let text = metrics.render().expect("what is registered can be written");
    String::from_utf8(text).expect("the format is text")
}

/// The series of a rendering, each with its value.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a series has a value");
            (name.to_owned(), value.parse().expect("a value is a number"))
        })
        .collect()
}

/// What an action adds to the series of the bridge itself.
fn moved(action: impl FnOnce(&Metrics)) -> BTreeMap<String, f64> {
    let metrics = metrics();
    let before = series(&render(&metrics));
    action(&metrics);
    let after = series(&render(&metrics));
    after
        .into_iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .map(|(name, value)| {
            let change = value - before.get(&name).copied().unwrap_or(0.0);
            (name.replacen("minchat_bridge_", "", 1), change)
        })
        .filter(|(_, change)| *change != 0.0)
        .collect()
}

fn one(name: &str) -> BTreeMap<String, f64> {
    BTreeMap::from([(name.to_owned(), 1.0)])
}

/// The bounds and counts of a histogram are many; its count tells that it moved.
fn counts(changes: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let details = ["_bucket{", "_sum{"];
    changes
        .into_iter()
        .filter(|(name, _)| !details.iter().any(|detail| name.contains(detail)))
        .collect()
}

#[test]
fn every_row_of_the_table_is_shown_with_its_type_and_help() {
    let text = render(&metrics());
    for row in REGISTERED {
        let measure = match row.measure {
            Measure::Counter => "counter",
            Measure::Gauge => "gauge",
            Measure::Histogram(_) => "histogram",
        };
        let name = row.name;
        assert!(
            text.contains(&format!("# HELP {PREFIX}_{name} {}\n", row.help)),
            "{name}"
        );
        assert!(
            text.contains(&format!("# TYPE {PREFIX}_{name} {measure}\n")),
            "{name}"
        );
    }
}

#[test]
fn nothing_is_shown_that_the_table_does_not_have() {
    let text = render(&metrics());
    let shown: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.starts_with("process_"))
        .collect();
    let table: Vec<String> = REGISTERED
        .iter()
        .map(|row| format!("{PREFIX}_{}", row.name))
        .collect();
    assert_eq!(shown, table.iter().map(String::as_str).collect());
}

#[test]
fn names_and_labels_follow_the_conventions() {
    let all = [REGISTERED, table::WITH_TLS].concat();
    let names: BTreeSet<&str> = all.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), all.len(), "a name is there twice");
    for row in all {
        let name = row.name;
        let is_counter = matches!(row.measure, Measure::Counter);
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        for end in ["_sum", "_count", "_bucket"] {
            assert!(!name.ends_with(end), "{name}");
        }
        for unit in ["millis", "_ms", "minutes", "kilobytes", "_kb"] {
            assert!(!name.contains(unit), "{name}: not in a unit of Prometheus");
        }
        if let Measure::Histogram(bounds) = row.measure {
            assert!(name.ends_with("_seconds"), "{name}");
            assert!(
                bounds.is_sorted_by(|a, b| a < b),
                "{name}: bounds that do not rise"
            );
        }
        assert!(row.help.ends_with('.'), "{name}");
        for label in row.labels {
            assert!(!["le", "quantile", "job", "instance"].contains(label));
        }
    }
}

#[test]
fn every_series_is_there_at_the_start_and_at_0() {
    let series = series(&render(&metrics()));
    let own: Vec<_> = series
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    for (name, value) in &own {
        let start = f64::from(u8::from(name.contains("build_info")));
        assert!((**value - start).abs() < f64::EPSILON, "{name} is {value}");
    }
    for row in REGISTERED {
        let start = format!("{PREFIX}_{}", row.name);
        assert!(
            own.iter().any(|(name, _)| name.starts_with(&start)),
            "{start} has no series"
        );
    }
}

#[test]
fn two_brokers_cost_fewer_than_410_series() {
    let shown = series(&render(&metrics())).len();
    println!("{shown} series are shown");
    assert!(shown + table::WITH_TLS.len() < 410, "{shown} are shown");
}

#[test]
fn what_a_broker_that_is_off_would_move_is_not_shown() {
    let metrics = Metrics::new(&labels(&[Broker::File])).expect("the table holds together");
    let _ = metrics.destination(Broker::File, MESSAGES);
    metrics.kafka_queue_events(3);
    let text = render(&metrics);
    assert!(text.contains(r#"broker="file""#));
    assert!(!text.contains("kafka") && !text.contains("amqp"), "{text}");
}

#[test]
fn the_certificate_is_shown_once_there_is_one() {
    let name = "tls_certificate_not_after_timestamp_seconds";
    assert!(!render(&metrics()).contains(name));
    let shown = series(&{
        let metrics = metrics();
        metrics.certificate_expires(4_102_444_800);
        render(&metrics)
    });
    assert_eq!(
        shown[&format!("{PREFIX}_{name}{{endpoint=\"webhooks\"}}")],
        4_102_444_800.0
    );
}

#[test]
fn rejections_are_requests_answered_with_4xx_and_failed_handshakes() {
    let metrics = metrics();
    assert_eq!(metrics.rejections(), Rejections::default());
    for (endpoint, status) in [
        (Endpoint::Webhooks, 202),
        (Endpoint::Webhooks, 401),
        (Endpoint::Other, 400),
        (Endpoint::Other, 408),
        (Endpoint::Version, 405),
        (Endpoint::Readyz, 503),
    ] {
        metrics.request_finished(endpoint, status, Duration::ZERO);
    }
    metrics.tls_handshake_failed();
    let rejections = Rejections {
        requests: 4,
        tls_handshakes: 1,
    };
    assert_eq!(metrics.rejections(), rejections);
}

#[test]
fn dropped_lines_of_the_log_are_counted() {
    assert_eq!(
        moved(|m| m.log_lines_dropped(1)),
        one("log_lines_dropped_total")
    );
}

#[test]
fn the_last_load_of_the_configuration_is_shown() {
    let metrics = metrics();
    let shown = |metrics: &Metrics, name: &str| {
        series(&render(metrics))[&format!("{PREFIX}_config_last_reload_{name}")]
    };
    metrics.config_loaded();
    let loaded = shown(&metrics, "timestamp_seconds");
    assert!(loaded > 1.7e9 && shown(&metrics, "successful") > 0.5);
    metrics.config_refused();
    assert!(shown(&metrics, "successful") < 0.5);
    assert_eq!(
        shown(&metrics, "timestamp_seconds").total_cmp(&loaded),
        std::cmp::Ordering::Equal
    );
}

#[test]
fn each_verb_about_webhooks_moves_its_series() {
    let message = Kind::MessageSent;
    assert_eq!(
        moved(|m| m.source("minchat").received(message)),
        one(r#"webhooks_received_total{kind="message.sent",source="minchat"}"#)
    );
    assert_eq!(
        moved(|m| m.source("minchat").accepted(message, Receipt::DeadLettered)),
        one(
            r#"webhooks_accepted_total{kind="message.sent",receipt="dead-lettered",source="minchat"}"#
        )
    );
    assert_eq!(
        moved(|m| m.source("minchat").rejected("stopping")),
        one(r#"webhooks_rejected_total{reason="stopping",source="minchat"}"#)
    );
    assert_eq!(
        moved(|m| m.webhook_without_source("unknown-source")),
        one(r#"webhooks_rejected_total{reason="unknown-source",source="none"}"#)
    );
    assert_eq!(
        moved(|m| m.drift(message, [Drift::LegacyKey].into_iter().collect())),
        one(r#"payload_drift_total{drift="legacy_key",kind="message.sent"}"#)
    );
}

#[test]
fn each_verb_about_http_moves_its_series() {
    let took = Duration::from_millis(2);
    assert_eq!(
        counts(moved(|m| m.request_finished(Endpoint::Webhooks, 202, took))),
        BTreeMap::from([
            (
                r#"http_requests_total{endpoint="webhooks",status="202"}"#.to_owned(),
                1.0
            ),
            (
                r#"http_request_duration_seconds_count{endpoint="webhooks"}"#.to_owned(),
                1.0
            ),
        ])
    );
    assert_eq!(
        moved(|m| m.request_finished(Endpoint::Livez, 503, took)),
        one(r#"http_requests_total{endpoint="livez",status="503"}"#)
    );
    assert_eq!(moved(Metrics::connection_opened), one("http_connections"));
    assert_eq!(
        moved(Metrics::in_flight_began),
        one("http_requests_in_flight")
    );
    assert_eq!(
        moved(|m| {
            m.in_flight_bytes_added(5);
            m.in_flight_bytes_removed(4);
        }),
        one("http_in_flight_bytes")
    );
    let balanced = moved(|m| {
        m.connection_opened();
        m.connection_closed();
        m.in_flight_began();
        m.in_flight_ended();
    });
    assert_eq!(balanced, BTreeMap::new());
}

#[test]
fn an_answer_that_nobody_foresaw_is_counted_all_the_same() {
    let took = Duration::ZERO;
    assert_eq!(
        moved(|m| m.request_finished(Endpoint::Version, 418, took)),
        one(r#"http_requests_total{endpoint="version",status="418"}"#)
    );
    assert_eq!(
        moved(|m| m.webhook_without_source("too-many-requests")),
        one(r#"webhooks_rejected_total{reason="too-many-requests",source="none"}"#)
    );
    assert_eq!(
        moved(|m| m.drift(Kind::Unrecognized, [Drift::WrongType].into_iter().collect())),
        one(r#"payload_drift_total{drift="wrong_type",kind="unrecognized"}"#)
    );
}

#[test]
fn each_verb_about_a_destination_moves_its_series() {
    let amqp = |m: &Metrics| m.destination(Broker::Amqp, MESSAGES);
    let of = |metric: &str| format!(r#"{metric}{{broker="amqp",destination="{MESSAGES}"}}"#);
    assert_eq!(
        moved(|m| amqp(m).lane_event()),
        one(&of("lane_events_total"))
    );
    assert_eq!(
        moved(|m| amqp(m).pending(1)),
        one(&of("lane_pending_events"))
    );
    assert_eq!(
        moved(|m| amqp(m).published(700)),
        BTreeMap::from([
            (of("published_total"), 1.0),
            (of("published_bytes_total"), 700.0)
        ])
    );
    assert_eq!(
        moved(|m| amqp(m).publish_failed(Reason::Returned)),
        one(&format!(
            r#"publish_failures_total{{broker="amqp",destination="{MESSAGES}",reason="returned"}}"#
        ))
    );
    assert_eq!(
        moved(|m| amqp(m).dead_lettered(DeadLetterReason::TooLarge)),
        one(&format!(
            r#"dead_letters_total{{broker="amqp",destination="{MESSAGES}",reason="too-large",stage="publish"}}"#
        ))
    );
    assert_eq!(
        moved(|m| amqp(m).dead_lettered(DeadLetterReason::TooDeep)),
        one(
            r#"dead_letters_total{broker="amqp",destination="none",reason="too-deep",stage="parse"}"#
        )
    );
}

#[test]
fn a_failure_of_the_whole_broker_is_counted_once_for_all_destinations() {
    let failures = moved(|m| {
        for name in [MESSAGES, "minchat.dead-letter.v1"] {
            m.destination(Broker::Amqp, name)
                .publish_failed(Reason::Disconnected);
        }
    });
    let series =
        r#"publish_failures_total{broker="amqp",destination="none",reason="disconnected"}"#;
    assert_eq!(failures, BTreeMap::from([(series.to_owned(), 2.0)]));
    assert_eq!(
        moved(|m| m
            .destination(Broker::Kafka, MESSAGES)
            .publish_failed(Reason::Returned)),
        one(r#"publish_failures_total{broker="kafka",destination="none",reason="other"}"#),
        "what Kafka can't say is other"
    );
}

#[test]
fn each_verb_about_a_broker_moves_its_series() {
    let second = Duration::from_secs(1);
    let kafka = |m: &Metrics| m.broker(Broker::Kafka);
    let of = |metric: &str| one(&format!(r#"{metric}{{broker="kafka"}}"#));
    assert_eq!(
        moved(|m| kafka(m).repeated(1)),
        of("publish_repeated_total")
    );
    assert_eq!(
        moved(|m| kafka(m).reconnected()),
        of("broker_reconnects_total")
    );
    assert_eq!(moved(|m| kafka(m).up(true)), of("broker_up"));
    assert_eq!(
        counts(moved(|m| kafka(m).publish_duration(second))),
        of("publish_duration_seconds_count")
    );
    assert_eq!(
        counts(moved(|m| m
            .destination(Broker::Kafka, MESSAGES)
            .broker()
            .delivery_latency(second))),
        of("delivery_latency_seconds_count")
    );
    assert_eq!(
        moved(|m| m.kafka_queue_events(1)),
        one("kafka_queue_events")
    );
    assert_eq!(
        moved(|m| m.amqp_connection_blocked(true)),
        one("amqp_connection_blocked")
    );
    assert_eq!(
        moved(|m| m.amqp_unrouted_messages(1)),
        one("amqp_unrouted_messages")
    );
}
