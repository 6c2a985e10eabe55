//! Every setting there is: one row each. What is read, refused, shown and documented follows it.

use super::path::SettingPath;
use super::{names, secrets};

/// A row.
#[derive(Debug)]
pub(super) struct Setting {
    /// Keys divided by dots; `*` is any one key.
    pub path: &'static str,
    pub kind: Kind,
    pub default: Otherwise,
    /// One line for the README.
    pub doc: &'static str,
}

/// What a value has to be.
#[derive(Debug)]
pub(super) enum Kind {
    Bool,
    /// A bool, or a section that means `true`.
    Switch,
    /// From, to.
    Integer(i64, i64),
    /// From, to.
    Size(&'static str, &'static str),
    /// From, to.
    Duration(&'static str, &'static str),
    Percent,
    /// An IP address and a port.
    Address,
    /// Of these.
    Choice(&'static [&'static str]),
    /// Of these numbers.
    Status(&'static [i64]),
    Text(names::Rule),
    /// A directory; it need not be there yet.
    Dir,
    /// A file that can be read now.
    File,
    /// Texts; one text with commas will do.
    List(names::Rule),
    /// Networks of senders; one text with commas will do.
    Networks,
    /// Shown without its password.
    Uri,
    /// Several of them.
    Uris,
    /// Not shown. Also as `<name>_file`.
    Secret,
    /// The same, as a list; in the file, one a line.
    Secrets(secrets::Rule),
}

impl Kind {
    pub fn is_secret(&self) -> bool {
        matches!(self, Self::Secret | Self::Secrets(_))
    }
}

/// What holds when nothing is said.
#[derive(Debug)]
pub(super) enum Otherwise {
    Is(&'static str),
    /// Found out at start; this is how it is documented.
    Derived(&'static str),
    /// There is no value then.
    Absent,
    /// It has to be said once its section is there.
    Needed,
}

use Kind::{
    Address, Bool, Choice, Dir, Duration, File, Integer, List, Networks, Percent, Secret, Secrets,
    Size, Status, Switch, Text, Uri, Uris,
};
use Otherwise::{Absent, Derived, Is, Needed};

/// Sections whose keys all have defaults, and that mean something by being there: they may be empty, written `{}`. A
/// section or a setting without a value (null) is an error, whether it is one of these or not.
pub(super) const MAY_BE_EMPTY: [&str; 6] = [
    "sources.*.auth.mtls",
    "kafka.create_topics",
    "file",
    "routes.*.kafka",
    "routes.*.amqp",
    "routes.*.file",
];

/// Sections that mean something by being there. All other sections always are.
pub(super) const OPTIONAL_SECTIONS: [&str; 18] = [
    "http.tls",
    "sources.*",
    "sources.*.rate_limit",
    "sources.*.auth.hmac",
    "sources.*.auth.standard_webhooks",
    "sources.*.auth.mtls",
    "kafka",
    "kafka.create_topics",
    "kafka.sasl",
    "kafka.sasl.oauth",
    "kafka.tls",
    "amqp",
    "amqp.tls",
    "file",
    "routes.*",
    "routes.*.kafka",
    "routes.*.amqp",
    "routes.*.file",
];

/// Sections whose keys are names that users choose, or hold dots: no variable or flag can say them.
pub(super) const FILE_ONLY: [&str; 4] = [
    "sources",
    "routes",
    "kafka.properties",
    "kafka.create_topics.config",
];

/// Names of the kinds, as they stand in `routes`.
pub(super) const ROUTED: [&str; 6] = [
    "ai-agent.action",
    "message.sent",
    "conversation.created",
    "user.daily-active",
    "unrecognized",
    "dead-letter",
];

/// The rows, in the order in which they are shown.
#[rustfmt::skip]
pub(super) static SETTINGS: &[Setting] = &[
    row("http.listen", Address, Is("127.0.0.1:8080"), "Where webhooks are taken. Anything but loopback needs a configuration file, in which every source says whom it lets in."),
    row("http.workers", Integer(1, 1024), Derived("the number of cores"), "Threads that serve connections."),
    row("http.max_connections", Integer(1, 1_000_000), Is("12000"), "Open connections. For one more, a connection that has shown no good credentials is closed; only if all have, the new one. Lowered at the start to what the limit on open files (`ulimit -n`) leaves room for, about 1,000 fewer than that limit; the log warns of it."),
    row("http.max_in_flight", Integer(1, 1_000_000), Is("10000"), "Requests between their head and their answer; more get a 429. Those with an incomplete body whose signature is still to be checked make room for others."),
    row("http.max_in_flight_bytes", Size("64KiB", "64GiB"), Is("64MiB"), "Bytes that those may hold: each its body, or the event that it becomes, which can be larger; more get a 429. Incomplete bodies whose signature is still to be checked make room for others."),
    row("http.max_body", Size("1KiB", "64MiB"), Is("512KiB"), "Bytes of one body, packed or unpacked; more gets a 413, and so does what unpacks to more than a hundredfold. With its envelope it has to fit the brokers' limits."),
    row("http.head_size", Size("4KiB", "1MiB"), Is("64KiB"), "Bytes of a request's line and headers. More gets a 431. After a head of more than 8 KiB the connection is closed."),
    row("http.header_timeout", Duration("100ms", "5m"), Is("5s"), "How long the head of each request on a connection may take; longer gets a 408."),
    row("http.body_timeout", Duration("100ms", "5m"), Is("5s"), "How long a request's body may take; longer gets a 408."),
    row("http.body_min_rate", Size("0", "1GiB"), Is("1KiB"), "Bytes a second that a body has to keep up after its first two seconds. 0: any."),
    row("http.keep_alive", Duration("0", "1h"), Is("75s"), "How long a connection may idle between requests. 0: none is kept."),
    row("http.stop_delay", Duration("0", "10m"), Is("0s"), "After SIGTERM: not ready, and still serving, so that a load balancer can look away."),
    row("http.shutdown_timeout", Duration("1s", "10m"), Is("12s"), "How long requests in flight may take to end when stopping."),
    row("http.success_status", Status(&[202, 200, 204]), Is("202"), "The status of an accepted webhook."),
    row("http.tls.cert_file", File, Needed, "The listener's certificate and its chain, PEM. With this section it speaks TLS 1.2 and 1.3 alone."),
    row("http.tls.key_file", File, Needed, "Its private key, PEM."),
    row("http.tls.client_ca_file", File, Absent, "The authority of clients' certificates, PEM, for `sources.*.auth.mtls`."),
    row("admin.listen", Address, Is("127.0.0.1:8081"), "Where health, metrics and documents are served. Not for the public."),
    row("envelope.schema_base", Text(names::URI), Is("tag:minchat.io,2026:bridge:schema:"), "What `dataschema` begins with."),
    row("sources.*.uri", Text(names::URI_REFERENCE), Derived("`/webhooks/<name>`"), "The attribute `source` of this source's envelopes."),
    row("sources.*.prefix", Text(names::PREFIX), Derived("`<name>.`"), "What this source's topics, exchanges and files begin with."),
    row("sources.*.rate_limit", Switch, Absent, "A section with the next two rows. `false`, or not given: no limit."),
    row("sources.*.rate_limit.per_second", Integer(1, 10_000_000), Needed, "Webhooks a second that this source may post in the long run."),
    row("sources.*.rate_limit.burst", Integer(1, 10_000_000), Needed, "Webhooks that it may post at once after a rest."),
    row("sources.*.auth.tokens", Secrets(secrets::TOKENS), Absent, "Any one lets a request in: as `Authorization: Bearer`, `?token=`, or Basic's password. Each of at least 128 bits: 22 characters, 32 if all are hexadecimal digits, 39 if all are decimal, and at least 8 different ones. `openssl rand -hex 32` makes one."),
    row("sources.*.auth.hmac.secrets", Secrets(secrets::KEYS), Needed, "Any one lets in a request whose body it signs, by HMAC-SHA256 over the bytes on the wire. Each of at least 128 bits, as a token."),
    row("sources.*.auth.hmac.header", Text(names::HEADER), Is("x-signature"), "The header that the signature is in."),
    row("sources.*.auth.hmac.prefix", Text(names::HEADER_TEXT), Absent, "What stands before it there, such as `sha256=`."),
    row("sources.*.auth.hmac.encoding", Choice(&["hex", "base64"]), Is("hex"), "How it is written."),
    row("sources.*.auth.hmac.timestamp_header", Text(names::HEADER), Absent, "A header with the seconds since 1970. Signed is its text, a full stop, and the body then. Not given: whoever records a signed request can send it again for ever."),
    row("sources.*.auth.hmac.tolerance", Duration("1s", "24h"), Is("5m"), "How far that may be from the clock."),
    row("sources.*.auth.standard_webhooks.secrets", Secrets(secrets::WHSEC), Needed, "Any one lets in a request that it signs as Standard Webhooks 1.0 has it: `whsec_` and base64. A `webhook-id` with a full stop, or of over 256 bytes or other than printable ASCII, lets nobody in."),
    row("sources.*.auth.standard_webhooks.tolerance", Duration("1s", "24h"), Is("5m"), "How far `webhook-timestamp` may be from the clock."),
    row("sources.*.auth.mtls.names", List(names::CERTIFICATE_NAME), Absent, "Let in whose client certificate has one of these as an alternative name of its type: a URI (with a colon), an e-mail address (with `@`), an IP address, or a DNS name; this also as the common name where there are no alternative names. An empty section: any certificate of the authority."),
    row("sources.*.auth.none", Bool, Derived("`false`; without a configuration file, `true` on loopback"), "Let in whoever reaches the listener."),
    row("sources.*.allow_from", Networks, Absent, "Networks that may post, whatever the credentials. Not given: all. A network of IPv4 addresses in its own form, without bits behind its length."),
    row("sources.*.trusted_proxies", Networks, Absent, "Networks whose `X-Forwarded-For` is believed, from the right."),
    row("kafka.bootstrap_servers", List(names::HOST_PORT), Needed, "Where to meet the cluster: `host:port`, several with commas."),
    row("kafka.create_topics", Switch, Is("false"), "Create topics that are missing at start, with the brokers' defaults or those of the next rows."),
    row("kafka.create_topics.partitions", Integer(1, 100_000), Absent, "Partitions of a topic that is created. Not given: the brokers' default."),
    row("kafka.create_topics.replication_factor", Integer(1, 100), Absent, "Its copies. Not given: the brokers' default."),
    row("kafka.create_topics.config.*", Text(names::ANY), Absent, "Its configuration, such as `retention.ms`."),
    row("kafka.content_mode", Choice(&["structured", "binary"]), Is("structured"), "`structured`: the value is the envelope. `binary`: it is `data`, and the attributes are in headers, `ce_*`."),
    row("kafka.compression", Choice(&["none", "gzip", "snappy", "lz4", "zstd"]), Is("lz4"), "Codec of the batches."),
    row("kafka.linger", Duration("0", "1s"), Is("0"), "How long a batch waits for more events, besides those that came while others were on their way. Every answer waits with it."),
    row("kafka.security_protocol", Choice(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]), Is("plaintext"), "How the connection is secured."),
    row("kafka.sasl.mechanism", Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]), Is("SCRAM-SHA-512"), "How the bridge logs in. OAUTHBEARER needs a build with the feature `oauth`."),
    row("kafka.sasl.username", Text(names::NON_EMPTY), Absent, "As whom. Needed, but by OAUTHBEARER."),
    row("kafka.sasl.password", Secret, Absent, "With what. Needed, but by OAUTHBEARER."),
    row("kafka.sasl.oauth.token_endpoint", Text(names::HTTP_URL), Needed, "Where tokens are fetched, by OIDC's client credentials."),
    row("kafka.sasl.oauth.client_id", Text(names::NON_EMPTY), Needed, "Who fetches them."),
    row("kafka.sasl.oauth.client_secret", Secret, Needed, "With what."),
    row("kafka.sasl.oauth.scope", Text(names::NON_EMPTY), Absent, "For what. Not given: whatever the endpoint gives."),
    row("kafka.sasl.oauth.ca_file", File, Absent, "The authority of the endpoint's certificate, PEM. Not given: the system's."),
    row("kafka.tls.ca_file", File, Absent, "The authority of the brokers' certificates, PEM. Not given: the system's."),
    row("kafka.tls.cert_file", File, Absent, "The bridge's own certificate, PEM."),
    row("kafka.tls.key_file", File, Absent, "Its private key, PEM."),
    row("kafka.properties.*", Text(names::ANY), Absent, "Any other property of librdkafka, but those that the promises rest on."),
    row("amqp.uri", Uri, Absent, "The broker: `amqp[s]://[user[:password]@]host[:port][/vhost]`."),
    row("amqp.uris", Uris, Absent, "Several of them, tried in turn, instead of `amqp.uri`."),
    row("amqp.password", Secret, Absent, "The user's password, if it is not in the URI."),
    row("amqp.auth_mechanism", Choice(&["plain", "external"]), Is("plain"), "By password, or by the client's certificate."),
    row("amqp.tls.ca_file", File, Absent, "The authority of the broker's certificate, PEM. Not given: the system's."),
    row("amqp.tls.cert_file", File, Absent, "The bridge's own certificate, PEM."),
    row("amqp.tls.key_file", File, Absent, "Its private key, PEM."),
    row("amqp.declare", Bool, Is("true"), "Create exchanges that are missing. What is there is used as it is."),
    row("amqp.content_mode", Choice(&["structured", "binary"]), Is("structured"), "`structured`: the body is the envelope. `binary`: it is `data`, and the attributes are in headers, `cloudEvents_*`."),
    row("amqp.heartbeat", Duration("1s", "5m"), Is("5s"), "A broker that is silent for two of these is gone. Whole seconds."),
    row("file.dir", Dir, Is("./data/events"), "Where the `.ndjson` files are. Not inside `spool.dir`, nor around it."),
    row("routes.*.kafka", Switch, Absent, "Whether this kind goes to Kafka: `true` or a section, of which `{}` has the default names. `false` is the same as not given."),
    row("routes.*.kafka.topic", Text(names::TOPIC), Derived("`<prefix><kind>.v1`"), "This kind's topic."),
    row("routes.*.amqp", Switch, Absent, "Whether this kind goes to RabbitMQ: `true` or a section, of which `{}` has the default names. `false` is the same as not given."),
    row("routes.*.amqp.exchange", Text(names::EXCHANGE), Derived("`<prefix><kind>.v1`"), "This kind's exchange."),
    row("routes.*.amqp.routing_key", Text(names::ROUTING_KEY), Derived("the kind"), "Its routing key there."),
    row("routes.*.file", Switch, Absent, "Whether this kind goes to a file: `true` or a section, of which `{}` has the default names. `false` is the same as not given."),
    row("routes.*.file.name", Text(names::FILE), Derived("`<prefix><kind>.v1`"), "This kind's file, without `.ndjson`."),
    row("routes.*.discard", Bool, Is("false"), "Drop this kind, counted: nobody wants it."),
    row("publish.spool_after", Duration("1ms", "1m"), Is("250ms"), "An event that no confirm came for by then goes to the spool too, and is answered. Trouble that lasts so long counts as an outage."),
    row("publish.deadline", Duration("10ms", "5m"), Is("5s"), "From the end of the body: what neither its destination nor the spool has by then is a 503."),
    row("publish.window", Size("64KiB", "64GiB"), Is("32MiB"), "Unconfirmed bytes kept in memory for each broker; one destination may hold half, or one event. An event that would take more than the window is a dead letter."),
    row("spool.dir", Dir, Is("./data/spool"), "Events wait here for a destination that does not take them now; so do dead letters that no destination takes. One bridge a directory, and not inside `file.dir`, nor around it."),
    row("spool.max_size", Size("0", "1024TiB"), Is("1GiB"), "Bytes on disk, with what is in `quarantine` and `dead-letters` there; one destination may hold half. What needs more gets a 503. 0 turns the spool off: what is not confirmed is a 503 then."),
    row("spool.keep_free", Percent, Is("5%"), "Part of the disk that stays free; under it the spool counts as full."),
    row("log.format", Choice(&["auto", "text", "json"]), Is("auto"), "`auto` is text on a terminal and JSON elsewhere."),
    row("log.level", Choice(&["error", "warn", "info", "debug", "trace"]), Is("info"), "The least that is logged."),
];

const fn row(path: &'static str, kind: Kind, default: Otherwise, doc: &'static str) -> Setting {
    Setting {
        path,
        kind,
        default,
        doc,
    }
}

/// The row of a path, and whether the path is the `_file` of a secret.
pub(super) fn find(path: &SettingPath) -> Option<(&'static Setting, bool)> {
    if let Some(setting) = SETTINGS.iter().find(|setting| path.is_like(setting.path)) {
        return Some((setting, false));
    }
    let secret = path.sibling(path.name().strip_suffix("_file")?);
    let setting = SETTINGS
        .iter()
        .find(|setting| setting.kind.is_secret() && secret.is_like(setting.path))?;
    Some((setting, true))
}

/// Whether settings stand under the path.
pub(super) fn is_section(path: &SettingPath) -> bool {
    SETTINGS.iter().any(|setting| path.is_above(setting.path))
}

/// Whether a path is a setting or a section.
pub(super) fn is_known(path: &SettingPath) -> bool {
    find(path).is_some() || is_section(path)
}

/// The paths in this section that end with a key of this name.
pub(super) fn places_in(section: &SettingPath, name: &str) -> Vec<String> {
    let mut places = Vec::new();
    for setting in SETTINGS
        .iter()
        .filter(|setting| section.is_above(setting.path))
    {
        let parts: Vec<&str> = setting.path.split('.').collect();
        for depth in section.keys().len()..parts.len() {
            let is_last = depth + 1 == parts.len();
            let is_file = is_last
                && setting.kind.is_secret()
                && name.strip_suffix("_file") == Some(parts[depth]);
            let outer = parts[..depth].join(".");
            let place = format!("{outer}.{name}");
            if (parts[depth] == name || is_file) && !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}

/// The keys that a section knows, `*` left out, in the order of the table.
pub(super) fn keys_of(section: &SettingPath) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    let depth = section.keys().len();
    for setting in SETTINGS
        .iter()
        .filter(|setting| section.is_above(setting.path))
    {
        let parts: Vec<&str> = setting.path.split('.').collect();
        let last = parts.len() == depth + 1;
        if parts[depth] == "*" {
            continue;
        }
        keys.push(parts[depth].to_owned());
        if last && setting.kind.is_secret() {
            keys.push(format!("{}_file", parts[depth]));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    keys
}
