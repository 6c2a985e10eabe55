//! The table of metrics: every name, with its type, its labels and what it says.
//!
//! A metric is a row here and a verb on [`Metrics`](super::Metrics). The rows in [`REGISTERED`] are
//! what `/metrics` shows; those in [`WITH_TLS`] join them when they apply.

/// One metric.
#[derive(Debug)]
pub struct Row {
    /// The name, without the prefix.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub measure: Measure,
    /// The labels' names.
    pub labels: &'static [&'static str],
    /// What it says, as `# HELP` shows it.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy)]
pub enum Measure {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets, whose upper bounds these are.
    Histogram(&'static [f64]),
}

use Measure::{Counter, Gauge, Histogram};

const fn row(
    name: &'static str,
    measure: Measure,
    labels: &'static [&'static str],
    help: &'static str,
) -> Row {
    Row {
        name,
        measure,
        labels,
        help,
    }
}

/// What all names begin with, save `process_*`.
pub const PREFIX: &str = "minchat_bridge";

// Few bounds, since each costs a series: those around a fast answer, and those of the time-outs
// (`publish.spool_after` 250 ms, `publish.deadline` and `http.body_timeout` 5 s).
const ANSWER_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 10.0,
];
// From a confirm without delay to an event that sat out half a day of outage in the spool.
const DELIVERY_SECONDS: &[f64] = &[
    0.005, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0, 1800.0, 7200.0, 43200.0,
];
const SYNC_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0];

const DESTINATION: &[&str] = &["broker", "destination"];

#[rustfmt::skip]
mod rows {
    use super::*;

    pub const HTTP_REQUESTS: Row = row("http_requests_total", Counter, &["endpoint", "status"],
        "Requests answered.");
    pub const HTTP_REQUEST_DURATION: Row = row("http_request_duration_seconds", Histogram(ANSWER_SECONDS), &["endpoint"],
        "Time from a request's head to its answer; of webhooks only.");
    pub const HTTP_REQUESTS_IN_FLIGHT: Row = row("http_requests_in_flight", Gauge, &[],
        "Webhooks that are being taken in.");
    pub const HTTP_IN_FLIGHT_BYTES: Row = row("http_in_flight_bytes", Gauge, &[],
        "Bytes of bodies, or of the events that these became, held for webhooks in flight.");
    pub const HTTP_CONNECTIONS: Row = row("http_connections", Gauge, &[],
        "Open connections of the webhook listener.");
    pub const HTTP_MAX_CONNECTIONS: Row = row("http_max_connections", Gauge, &[],
        "The most connections that may be open, http.max_connections.");
    pub const HTTP_CONNECTIONS_EVICTED: Row = row("http_connections_evicted_total", Counter, &[],
        "Connections closed because as many as allowed were open.");
    pub const TLS_HANDSHAKES_FAILED: Row = row("tls_handshakes_failed_total", Counter, &[],
        "TLS handshakes with the webhook listener that failed.");
    pub const LOG_LINES_DROPPED: Row = row("log_lines_dropped_total", Counter, &[],
        "Lines of the log that were dropped, since standard error was not read or could not be written.");

    pub const WEBHOOKS_RECEIVED: Row = row("webhooks_received_total", Counter, &["source", "kind"],
        "Webhooks that became an event.");
    pub const WEBHOOKS_ACCEPTED: Row = row("webhooks_accepted_total", Counter, &["source", "kind", "receipt"],
        "Webhooks answered with a 2xx.");
    pub const WEBHOOKS_REJECTED: Row = row("webhooks_rejected_total", Counter, &["source", "reason"],
        "Webhooks answered with a problem; the source is none if the URL named none that is known.");
    pub const PAYLOAD_DRIFT: Row = row("payload_drift_total", Counter, &["kind", "drift"],
        "Payloads that depart from today's shape.");

    pub const LANE_EVENTS: Row = row("lane_events_total", Counter, DESTINATION,
        "Events given to the lane, or found in the spool at start.");
    pub const LANE_PENDING_EVENTS: Row = row("lane_pending_events", Gauge, DESTINATION,
        "Events neither confirmed nor dead-lettered.");
    pub const PUBLISHED: Row = row("published_total", Counter, DESTINATION,
        "Events confirmed for the first time.");
    pub const PUBLISHED_BYTES: Row = row("published_bytes_total", Counter, DESTINATION,
        "Bytes of the events confirmed for the first time.");
    pub const PUBLISH_REPEATED: Row = row("publish_repeated_total", Counter, &["broker"],
        "Events handed to the broker again.");
    pub const PUBLISH_FAILURES: Row = row("publish_failures_total", Counter, &["broker", "destination", "reason"],
        "Publishes that failed; the destination is none where the whole broker is the reason.");
    pub const PUBLISH_DURATION: Row = row("publish_duration_seconds", Histogram(ANSWER_SECONDS), &["broker"],
        "Time from handing an event to the broker to its confirm.");
    pub const DELIVERY_LATENCY: Row = row("delivery_latency_seconds", Histogram(DELIVERY_SECONDS), &["broker"],
        "Time from a webhook's receipt to its confirm, in the spool included.");
    pub const DEAD_LETTERS: Row = row("dead_letters_total", Counter, &["broker", "destination", "stage", "reason"],
        "Dead letters; the destination is that of the refused event, none at parse.");

    pub const BROKER_UP: Row = row("broker_up", Gauge, &["broker"],
        "Whether the broker takes events: 1 or 0.");
    pub const BROKER_RECONNECTS: Row = row("broker_reconnects_total", Counter, &["broker"],
        "Connections made again after one was lost.");
    pub const KAFKA_QUEUE_EVENTS: Row = row("kafka_queue_events", Gauge, &[],
        "Events in the queues of the Kafka client.");
    pub const AMQP_CONNECTION_BLOCKED: Row = row("amqp_connection_blocked", Gauge, &[],
        "Whether the AMQP broker has an alarm and takes nothing: 1 or 0.");
    pub const AMQP_UNROUTED_MESSAGES: Row = row("amqp_unrouted_messages", Gauge, &[],
        "Messages in the queue of events that no other queue took.");
    pub const BUILD: Row = row("build_info", Gauge, &["version", "revision"],
        "Always 1.");

    pub const SPOOL_EVENTS: Row = row("spool_events", Gauge, DESTINATION,
        "Events in the spool.");
    pub const SPOOL_BYTES: Row = row("spool_bytes", Gauge, DESTINATION,
        "Bytes in the spool.");
    pub const SPOOL_OLDEST_EVENT: Row = row("spool_oldest_event_timestamp_seconds", Gauge, DESTINATION,
        "Receipt of the oldest event in the spool, as seconds since 1970; 0 if it is empty.");
    pub const SPOOL_MAX_BYTES: Row = row("spool_max_bytes", Gauge, &[],
        "What the spool may take up.");
    pub const SPOOL_APPENDED: Row = row("spool_appended_total", Counter, DESTINATION,
        "Events appended to the spool.");
    pub const SPOOL_DRAINED: Row = row("spool_drained_total", Counter, DESTINATION,
        "Events that left the spool.");
    pub const SPOOL_CORRUPT: Row = row("spool_corrupt_total", Counter, &[],
        "Places of the spool that were found corrupt and set aside.");
    pub const SPOOL_SYNC_DURATION: Row = row("spool_sync_duration_seconds", Histogram(SYNC_SECONDS), &[],
        "Time that a sync of the spool took.");
    pub const TLS_CERTIFICATE_NOT_AFTER: Row = row("tls_certificate_not_after_timestamp_seconds", Gauge, &["endpoint"],
        "When the certificate that the bridge shows there expires, as seconds since 1970.");
    pub const CONFIG_LAST_RELOAD_SUCCESSFUL: Row = row("config_last_reload_successful", Gauge, &[],
        "Whether the last reload held: 1 or 0.");
    pub const CONFIG_LAST_RELOAD: Row = row("config_last_reload_timestamp_seconds", Gauge, &[],
        "When the configuration was last reloaded, as seconds since 1970.");
}
pub use rows::*;

/// What `/metrics` shows, in the order of the documentation. `kafka_*` and `amqp_*` are there when
/// that broker is on.
pub const REGISTERED: &[&Row] = &[
    &HTTP_REQUESTS,
    &HTTP_REQUEST_DURATION,
    &HTTP_REQUESTS_IN_FLIGHT,
    &HTTP_IN_FLIGHT_BYTES,
    &HTTP_CONNECTIONS,
    &HTTP_MAX_CONNECTIONS,
    &HTTP_CONNECTIONS_EVICTED,
    &TLS_HANDSHAKES_FAILED,
    &LOG_LINES_DROPPED,
    &WEBHOOKS_RECEIVED,
    &WEBHOOKS_ACCEPTED,
    &WEBHOOKS_REJECTED,
    &PAYLOAD_DRIFT,
    &LANE_EVENTS,
    &LANE_PENDING_EVENTS,
    &PUBLISHED,
    &PUBLISHED_BYTES,
    &PUBLISH_REPEATED,
    &PUBLISH_FAILURES,
    &PUBLISH_DURATION,
    &DELIVERY_LATENCY,
    &DEAD_LETTERS,
    &BROKER_UP,
    &BROKER_RECONNECTS,
    &KAFKA_QUEUE_EVENTS,
    &AMQP_CONNECTION_BLOCKED,
    &AMQP_UNROUTED_MESSAGES,
    &SPOOL_EVENTS,
    &SPOOL_BYTES,
    &SPOOL_OLDEST_EVENT,
    &SPOOL_MAX_BYTES,
    &SPOOL_APPENDED,
    &SPOOL_DRAINED,
    &SPOOL_CORRUPT,
    &SPOOL_SYNC_DURATION,
    &CONFIG_LAST_RELOAD_SUCCESSFUL,
    &CONFIG_LAST_RELOAD,
    &BUILD,
];

/// What `/metrics` shows while the webhook listener speaks TLS.
pub const WITH_TLS: &[&Row] = &[&TLS_CERTIFICATE_NOT_AFTER];
