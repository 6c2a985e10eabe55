//! librdkafka's properties: what the promises rest on, and what the configuration sets.

use std::path::Path;

use rdkafka::ClientConfig;

use super::settings::{OAuth, Sasl, Settings, Tls};
use crate::publish::{Class, Failure, Reason};

/// Largest batch that is collected, in bytes, however much a topic takes.
const BATCH: usize = 512 * 1024;
/// Largest batch of a [`Mode::Tolerant`] client: small, since one event can fail the whole batch.
const TOLERANT_BATCH: usize = 16 * 1024;
/// The smallest `batch.size` and the largest `message.max.bytes` that librdkafka takes.
const BATCH_MIN: usize = 1_000;
const MESSAGE_MAX: usize = 1_000_000_000;

/// How a producer treats an event that the broker refuses for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The producer gives up, so that nothing overtakes the refused event. Any number of events of one
    /// ordering key can be on their way.
    Ordered,
    /// The producer goes on with the next events. The order of a key holds as long as only one event of it
    /// is on its way.
    Tolerant,
}

/// Makes glibc keep the memory of one batch until the next. By default each thread gives back what lies free at
/// its heap's end beyond 128 KiB: librdkafka needs about as much to pack a small batch, and more for a larger one, so
/// that many were paid for with fresh pages. A block of this size that was free once sets that bound to twice its size (mallopt(3),
/// `M_MMAP_THRESHOLD`). Any other allocator does as it always does.
pub(super) fn keep_heaps() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BATCH)));
}

/// What every client of this broker has.
pub(super) fn common(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    set_common(&mut config, settings);
    config
}

fn set_common(config: &mut ClientConfig, settings: &Settings) {
    config
        .set("bootstrap.servers", settings.bootstrap_servers.join(","))
        .set("client.id", "minchat-bridge")
        .set("security.protocol", settings.security_protocol.as_str())
        // With the defaults, sends went on failing for 8 to 10 s after a broker was back.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.timeout.ms", "20000")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        // With `rebootstrap`, the default, each outage left another thread and its pipes behind.
        .set("metadata.recovery.strategy", "none")
        .set("log.connection.close", "false");
    if let Some(sasl) = &settings.sasl {
        login(config, sasl);
    }
    if let Some(tls) = &settings.tls {
        certificates(config, tls);
    }
    for (property, value) in &settings.properties {
        config.set(property, value);
    }
    // A client that asks about a topic never creates it: producers do by default, on brokers with
    // `auto.create.topics.enable`. The bridge creates topics by an explicit request alone.
    config.set("allow.auto.create.topics", "false");
}

/// What a producer has besides. `max_message` is what its topic takes, in bytes, where that is known.
pub(super) fn producer(
    settings: &Settings,
    max_message: Option<usize>,
    mode: Mode,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("compression.codec", settings.compression.as_str())
        .set(
            "linger.ms",
            format!("{}", settings.linger.as_secs_f64() * 1000.0),
        )
        // The lane and the broker decide what is too large.
        .set("message.max.bytes", MESSAGE_MAX.to_string())
        .set("batch.size", batch_size(max_message, mode).to_string())
        .set("statistics.interval.ms", "1000")
        .set("topic.metadata.propagation.max.ms", "5000");
    set_common(&mut config, settings);
    // The promises rest on these: no setting comes after them.
    config
        .set("acks", "all")
        // The lane owns time: what librdkafka times out leaves a gap in the order.
        .set("message.timeout.ms", "0")
        // As Java's clients do, so that a key is in the same partition whoever writes it.
        .set("partitioner", "murmur2_random")
        // The window is the lane's.
        .set("queue.buffering.max.messages", "0");
    match mode {
        Mode::Ordered => config
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true"),
        // Without a producer's number, so that it can publish as soon as it is connected.
        Mode::Tolerant => config.set("enable.idempotence", "false"),
    };
    config
}

/// The largest batch that a producer collects, in bytes: no larger than what its topic takes.
pub(super) fn batch_size(max_message: Option<usize>, mode: Mode) -> usize {
    let batch = match mode {
        Mode::Ordered => BATCH,
        Mode::Tolerant => TOLERANT_BATCH,
    };
    max_message.map_or(batch, |max| max.clamp(BATCH_MIN, batch))
}

/// The failure of an event that a client had not published when it was replaced because of another event.
pub(super) fn requeued() -> Failure {
    Failure {
        class: Class::Requeue,
        reason: Reason::Rejected,
        detail: "the broker refused another event that was on its way".to_owned(),
    }
}

/// Ends a client on a thread of its own: that takes as long as its broker's sockets do.
pub(super) fn retire<C: Send + 'static>(client: C) {
    let ending = std::thread::Builder::new().name("kafka-retire".to_owned());
    if let Err(error) = ending.spawn(move || drop(client)) {
        tracing::warn!(%error, "no thread to end a Kafka client on");
    }
}

fn login(config: &mut ClientConfig, sasl: &Sasl) {
    config.set("sasl.mechanism", sasl.mechanism.as_str());
    if let Some(username) = &sasl.username {
        config.set("sasl.username", username);
    }
    if let Some(password) = &sasl.password {
        config.set("sasl.password", password.expose());
    }
    if let Some(oauth) = &sasl.oauth {
        tokens(config, oauth);
    }
}

/// librdkafka fetches tokens by itself, and others before they expire.
fn tokens(config: &mut ClientConfig, oauth: &OAuth) {
    let ca_file = oauth.ca_file.as_deref().map(Path::to_string_lossy);
    config
        .set("sasl.oauthbearer.method", "oidc")
        .set("sasl.oauthbearer.token.endpoint.url", &oauth.token_endpoint)
        .set("sasl.oauthbearer.client.id", &oauth.client_id)
        .set(
            "sasl.oauthbearer.client.secret",
            oauth.client_secret.expose(),
        )
        // Its curl is built with it, and does not know where the system keeps its authorities.
        .set("https.ca.location", ca_file.as_deref().unwrap_or("probe"));
    if let Some(scope) = &oauth.scope {
        config.set("sasl.oauthbearer.scope", scope);
    }
}

fn certificates(config: &mut ClientConfig, tls: &Tls) {
    let files = [
        ("ssl.ca.location", &tls.ca_file),
        ("ssl.certificate.location", &tls.cert_file),
        ("ssl.key.location", &tls.key_file),
    ];
    for (property, file) in files {
        if let Some(file) = file {
            config.set(property, file.to_string_lossy());
        }
    }
}
