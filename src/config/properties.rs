//! Properties of librdkafka that can't be set, because the promises rest on them or a setting has them.

use super::judge::Judge;
use super::path::SettingPath;

/// Where it is said: the property or, with a `*`, what it begins with; why it is refused; what would be right.
type Refused = (&'static str, &'static str, &'static str);

const DROP: &str = "drop it";

/// The table. The first row that fits is told.
#[rustfmt::skip]
const REFUSED: [Refused; 44] = [
    ("acks", "a 202 means that all replicas in sync have it", DROP),
    ("request.required.acks", "a 202 means that all replicas in sync have it", DROP),
    ("enable.idempotence", "without it a retry could change the order", DROP),
    ("enable.gapless.guarantee", "without it a failed batch could be overtaken", DROP),
    ("retries", "a client that gives up leaves a gap in the order", DROP),
    ("message.send.max.retries", "a client that gives up leaves a gap in the order", DROP),
    ("message.timeout.ms", "the bridge owns the time of an event, so that none is given up", "set publish.deadline"),
    ("delivery.timeout.ms", "the bridge owns the time of an event, so that none is given up", "set publish.deadline"),
    ("partitioner", "Java clients have to find the same partition for a key", DROP),
    ("partitioner_cb", "Java clients have to find the same partition for a key", DROP),
    ("queuing.strategy", "events leave in the order in which they came", DROP),
    ("allow.auto.create.topics", "topics are created by kafka.create_topics alone", "set kafka.create_topics"),
    ("transactional.id", "the bridge does not write in transactions", DROP),
    ("transaction.timeout.ms", "the bridge does not write in transactions", DROP),
    ("delivery.report.only.error", "an answer waits for its confirm", DROP),
    ("statistics.interval.ms", "the bridge's own metrics come from the statistics", DROP),
    ("batch.size", "the bridge keeps batches under the topics' limits", DROP),
    ("batch.num.messages", "the bridge keeps batches under the topics' limits", DROP),
    ("queue.buffering.max.messages", "what waits in memory is bounded by the window", "set publish.window"),
    ("queue.buffering.max.kbytes", "what waits in memory is bounded by the window", "set publish.window"),
    ("queue.buffering.max.ms", "there is a setting for it", "set kafka.linger"),
    ("linger.ms", "there is a setting for it", "set kafka.linger"),
    ("bootstrap.servers", "there is a setting for it", "set kafka.bootstrap_servers"),
    ("metadata.broker.list", "there is a setting for it", "set kafka.bootstrap_servers"),
    ("compression.codec", "there is a setting for it", "set kafka.compression"),
    ("compression.type", "there is a setting for it", "set kafka.compression"),
    ("security.protocol", "there is a setting for it", "set kafka.security_protocol"),
    ("sasl.username", "there is a setting for it", "set kafka.sasl.username"),
    ("sasl.password", "there is a setting for it", "set kafka.sasl.password_file"),
    ("sasl.mechanism", "there is a setting for it", "set kafka.sasl.mechanism"),
    ("sasl.mechanisms", "there is a setting for it", "set kafka.sasl.mechanism"),
    ("sasl.oauthbearer.*", "there is a setting for it", "use kafka.sasl.oauth"),
    ("https.ca.*", "there is a setting for it", "set kafka.sasl.oauth.ca_file"),
    ("sasl.*", "it belongs to a way to log in that the bridge does not have", "use kafka.sasl"),
    ("enable.sasl.oauthbearer.*", "it belongs to a way to log in that the bridge does not have", "use kafka.sasl"),
    ("oauthbearer_token_refresh_cb", "it belongs to a way to log in that the bridge does not have", "use kafka.sasl"),
    ("ssl.ca.location", "there is a setting for it", "set kafka.tls.ca_file"),
    ("ssl.certificate.location", "there is a setting for it", "set kafka.tls.cert_file"),
    ("ssl.key.location", "there is a setting for it", "set kafka.tls.key_file"),
    ("ssl.key.pem", "a key would be shown with the configuration", "set kafka.tls.key_file"),
    ("ssl.key.password", "a password would be shown with the configuration", "use a key file without one"),
    ("ssl.keystore.*", "a password would be shown with the configuration", "set kafka.tls.cert_file and key_file"),
    ("enable.ssl.certificate.verification", "verification is never off", "set kafka.tls.ca_file"),
    ("ssl.endpoint.identification.algorithm", "verification is never off", "use names that the certificates have"),
];

/// Both names of one property; idempotence holds the order up to this many.
const IN_FLIGHT: [&str; 2] = ["max.in.flight", "max.in.flight.requests.per.connection"];
const MOST_IN_FLIGHT: u32 = 5;

pub(super) fn check(judge: &mut Judge<'_>) {
    let Some(kafka) = &judge.config.kafka else {
        return;
    };
    for (name, value) in &kafka.properties {
        let path = SettingPath::of(["kafka", "properties", name.as_str()]);
        if let Some((_, why, right)) = REFUSED.iter().find(|(pattern, ..)| fits(pattern, name)) {
            judge.refuse(&[path], format!("it can't be set: {why}"), *right);
        } else if name.ends_with("_cb") || name == "opaque" || name == "plugin.library.paths" {
            judge.refuse(&[path], "it can't be set: it is for programs", DROP);
        } else if IN_FLIGHT.contains(&name.as_str()) && !is_in_flight(value) {
            let wrong = "it can't be set so: above 5 a retry could change the order";
            judge.refuse(&[path], wrong, format!("give 1 to {MOST_IN_FLIGHT}"));
        }
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

fn is_in_flight(value: &str) -> bool {
    value
        .parse()
        .is_ok_and(|count: u32| (1..=MOST_IN_FLIGHT).contains(&count))
}
