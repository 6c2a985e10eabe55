//! Values, where they come from, and how they are shown.

use std::time::Duration;

use super::{Given, effective};
use crate::config::table::SETTINGS;
use crate::config::{Inputs, load, markdown_table, to_yaml};
use crate::publish::kafka::settings::{Compression, Mechanism, SecurityProtocol};

/// Every setting but those in [`ELSEWHERE`], none of them at its default, one key a line.
const EVERYTHING: &str = r#"
http:
  listen: 0.0.0.0:9080
  workers: 3
  max_connections: 100
  max_in_flight: 90
  max_in_flight_bytes: 32MiB
  max_body: 256KiB
  head_size: 32KiB
  header_timeout: 4s
  body_timeout: 3s
  body_min_rate: 2KiB
  keep_alive: 60s
  stop_delay: 1s
  shutdown_timeout: 20s
  success_status: 204
  tls:
    cert_file: $DIR/cert.pem
    key_file: $DIR/key.pem
    client_ca_file: $DIR/ca.pem
admin:
  listen: 0.0.0.0:9081
envelope:
  schema_base: https://example.com/schemas/
sources:
  open:
    auth:
      none: true
  support:
    uri: /hooks/support
    prefix: chat-
    rate_limit:
      per_second: 1000
      burst: 2000
    auth:
      tokens: [first-token-of-support, second-token-of-support]
      hmac:
        secrets: [first-secret-of-support]
        header: x-hub-signature-256
        prefix: sha256=
        encoding: base64
        timestamp_header: x-timestamp
        tolerance: 1m
      standard_webhooks:
        secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]
        tolerance: 2m
      mtls:
        names: [relay.example]
    allow_from: [192.0.2.0/24]
    trusted_proxies: [10.0.0.0/8]
kafka:
  bootstrap_servers: a:9092,b:9092
  create_topics:
    partitions: 6
    replication_factor: 3
    config:
      retention.ms: 1000
  content_mode: binary
  compression: zstd
  linger: 1ms
  security_protocol: sasl_ssl
  sasl:
    mechanism: SCRAM-SHA-256
    username: "007: #"
    password: kafka-password
  tls:
    ca_file: $DIR/ca.pem
    cert_file: $DIR/cert.pem
    key_file: $DIR/key.pem
  properties:
    socket.keepalive.enable: true
amqp:
  uris: [amqps://one@rabbit-1/prod, amqps://one@rabbit-2/prod]
  password: amqp-password
  auth_mechanism: plain
  tls:
    ca_file: $DIR/ca.pem
    cert_file: $DIR/cert.pem
    key_file: $DIR/key.pem
  declare: false
  content_mode: binary
  heartbeat: 10s
file:
  dir: /events
routes:
  message.sent:
    kafka:
      topic: chat-messages
    amqp:
      exchange: chat
      routing_key: message
    file:
      name: chat
  unrecognized:
    discard: true
publish:
  spool_after: 100ms
  deadline: 4s
  window: 16MiB
spool:
  dir: /spool
  max_size: 2GiB
  keep_free: 10%
log:
  format: json
  level: debug
"#;

/// Settings that can't be there together with those above, or have one value that is valid with the others.
const ELSEWHERE: [&str; 11] = [
    "sources.*.rate_limit",
    "routes.*.kafka",
    "routes.*.amqp",
    "routes.*.file",
    "amqp.uri",
    "kafka.create_topics",
    "kafka.sasl.oauth.token_endpoint",
    "kafka.sasl.oauth.client_id",
    "kafka.sasl.oauth.client_secret",
    "kafka.sasl.oauth.scope",
    "kafka.sasl.oauth.ca_file",
];
const ONE_VALUE: [&str; 1] = ["amqp.auth_mechanism"];

fn everything(yaml: &str) -> Given {
    Given::yaml(yaml)
}

#[test]
fn nothing_given_is_the_embedded_default() {
    let loaded = load(&Inputs::default()).expect("the defaults hold");
    let config = &loaded.config;
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.max_body, 512 << 10);
    assert_eq!(config.http.success_status, 202);
    assert!(config.http.workers >= 1 && config.http.tls.is_none());
    assert_eq!(config.publish.spool_after, Duration::from_millis(250));
    assert_eq!(config.spool.keep_free.of(100), 5);
    assert_eq!(
        config
            .file
            .as_ref()
            .map(|file| file.dir.display().to_string())
            .as_deref(),
        Some("./data/events")
    );
    assert!(config.kafka.is_none() && config.amqp.is_none() && config.routes.is_empty());
    let [source] = config.sources.as_slice() else {
        panic!("one source: {:?}", config.sources)
    };
    assert_eq!(
        (source.name.as_str(), source.uri.as_str()),
        ("minchat", "/webhooks/minchat")
    );
    assert_eq!(
        (source.prefix.as_str(), source.auth.none),
        ("minchat.", true)
    );
    assert!(loaded.effective.iter().all(|one| one.origin == "default"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn everything_given_reaches_its_room() {
    let config = everything(EVERYTHING).load().config;
    let kafka = config.kafka.expect("kafka is on");
    assert_eq!(kafka.bootstrap_servers, ["a:9092", "b:9092"]);
    assert_eq!(
        (kafka.compression, kafka.linger),
        (Compression::Zstd, Duration::from_millis(1))
    );
    assert_eq!(kafka.security_protocol, SecurityProtocol::SaslSsl);
    assert_eq!(kafka.properties["socket.keepalive.enable"], "true");
    let topics = kafka.create_topics.expect("topics are created");
    assert_eq!(
        (topics.partitions, topics.replication_factor),
        (Some(6), Some(3))
    );
    assert_eq!(topics.config["retention.ms"], "1000");
    let sasl = kafka.sasl.expect("it logs in");
    assert_eq!(
        (sasl.mechanism, sasl.username.as_deref()),
        (Mechanism::ScramSha256, Some("007: #"))
    );
    assert_eq!(
        sasl.password
            .map(|password| password.expose().to_owned())
            .as_deref(),
        Some("kafka-password")
    );
    let amqp = config.amqp.expect("amqp is on");
    assert_eq!(
        amqp.uris
            .iter()
            .map(|uri| uri.expose())
            .collect::<Vec<_>>()
            .len(),
        2
    );
    assert_eq!(amqp.password.expect("it has one").expose(), "amqp-password");
    let support = &config.sources[1];
    assert_eq!(support.auth.tokens[1].expose(), "second-token-of-support");
    assert_eq!(
        support
            .rate_limit
            .map(|limit| (limit.per_second, limit.burst)),
        Some((1000, 2000))
    );
    let message = &config.routes["message.sent"];
    assert_eq!(
        message
            .kafka
            .as_ref()
            .and_then(|route| route.topic.as_deref()),
        Some("chat-messages")
    );
    assert_eq!(
        message
            .file
            .as_ref()
            .and_then(|route| route.name.as_deref()),
        Some("chat")
    );
    assert!(config.routes["unrecognized"].discard);
}

/// A row of the table that no room's settings have would be read and lost.
#[test]
fn every_setting_moves_something() {
    let given = everything(EVERYTHING);
    let loaded = given.load();
    for setting in SETTINGS {
        let is_there = loaded
            .effective
            .iter()
            .any(|one| one.path.is_like(setting.path) && one.origin != "default");
        assert!(
            is_there || ELSEWHERE.contains(&setting.path),
            "{} is not in EVERYTHING",
            setting.path
        );
    }
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    let is_free = |path: &str| !ONE_VALUE.contains(&path);
    for one in loaded
        .effective
        .iter()
        .filter(|one| one.origin != "default" && is_free(&one.path.to_string()))
    {
        let (_, line) = one.origin.rsplit_once(':').expect("it has a line");
        let line: usize = line.parse().expect("a number");
        let without = everything(&[&lines[..line - 1], &lines[line..]].concat().join("\n"));
        // Without what is needed it does not load at all.
        if without.problems().is_empty() {
            assert_ne!(settings(&without), settings(&given), "{}", one.path);
        }
    }
}

/// The rooms' settings as text, the directory's name left out.
fn settings(given: &Given) -> String {
    format!("{:?}", given.load().config).replace(&given.dir(), "")
}

#[test]
fn a_limit_or_a_destination_can_be_denied_in_writing() {
    let yaml = |limit: &str, route: &str| {
        Given::yaml(&format!(
            "sources: {{a: {{auth: {{none: true}}, rate_limit: {limit}}}}}\n\
             amqp: {{uri: 'amqp://127.0.0.1'}}\nfile: {{}}\n\
             routes: {{message.sent: {{amqp: {route}, file: {{}}}}}}\n"
        ))
    };
    let with = yaml("{per_second: 1, burst: 2}", "true").load().config;
    assert!(with.sources[0].rate_limit.is_some());
    assert!(with.routes["message.sent"].amqp.is_some());
    let without = yaml("false", "false").load().config;
    assert!(without.sources[0].rate_limit.is_none());
    assert!(without.routes["message.sent"].amqp.is_none());
    assert!(without.routes["message.sent"].file.is_some());
    let problems = yaml("true", "{}").problems().join("\n");
    assert!(
        problems.contains("sources.a.rate_limit.per_second"),
        "{problems}"
    );
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let yaml = "http:\n  # said\n  keep_alive: 10s\n";
    let (name, path) = ("MINCHAT_BRIDGE__HTTP__KEEP_ALIVE", "http.keep_alive");
    let table = [
        (Given::yaml(""), "75s", "default"),
        (Given::yaml(yaml), "10s", "config.yaml:3"),
        (
            Given::yaml(yaml).variable(name, "20s"),
            "20s",
            "variable MINCHAT_BRIDGE__HTTP__KEEP_ALIVE",
        ),
        (
            Given::yaml(yaml).flag(path, "30s"),
            "30s",
            "--set http.keep_alive",
        ),
        (
            Given::yaml(yaml).variable(name, "20s").flag(path, "30s"),
            "30s",
            "--set http.keep_alive",
        ),
        (
            Given::yaml("").variable(name, "20s"),
            "20s",
            "variable MINCHAT_BRIDGE__HTTP__KEEP_ALIVE",
        ),
        (
            Given::yaml("").flag(path, "30s").flag(path, "31s"),
            "31s",
            "--set http.keep_alive",
        ),
    ];
    for (given, value, origin) in table {
        assert_eq!(
            effective(&given, path),
            (value.to_owned(), origin.to_owned())
        );
    }
}

#[test]
fn layers_fill_one_section_together() {
    let given = Given::yaml("kafka:\n  compression: gzip\n")
        .variable("MINCHAT_BRIDGE__KAFKA__BOOTSTRAP_SERVERS", "a:9092, b:9092")
        .variable("MINCHAT_BRIDGE_PORT", "tcp://10.0.0.1:8080")
        .variable("MINCHAT_BRIDGE_CONFIG", "elsewhere.yaml")
        .flag("kafka.create_topics", "true");
    let kafka = given.load().config.kafka.expect("kafka is on");
    assert_eq!(kafka.bootstrap_servers, ["a:9092", "b:9092"]);
    assert_eq!(kafka.compression, Compression::Gzip);
    assert!(
        kafka
            .create_topics
            .is_some_and(|topics| topics.partitions.is_none())
    );
}

#[test]
fn a_broker_is_on_when_its_section_is_there() {
    let kafka = "kafka: {bootstrap_servers: a}\n";
    let amqp = "amqp: {uri: amqp://a}\n";
    let table = [
        (String::new(), [false, false, true]),
        (kafka.to_owned(), [true, false, false]),
        (amqp.to_owned(), [false, true, false]),
        (format!("{kafka}{amqp}"), [true, true, false]),
        (format!("{kafka}file: {{}}\n"), [true, false, true]),
        ("file: {dir: /x}\n".to_owned(), [false, false, true]),
    ];
    for (yaml, on) in table {
        let config = Given::yaml(&yaml).load().config;
        assert_eq!(
            [
                config.kafka.is_some(),
                config.amqp.is_some(),
                config.file.is_some()
            ],
            on,
            "{yaml}"
        );
    }
}

#[test]
fn a_switch_is_on_by_true_or_by_its_section() {
    for (switch, on) in [
        ("false", false),
        ("true", true),
        ("{}", true),
        ("{partitions: 3}", true),
    ] {
        let given = Given::yaml(&format!(
            "kafka: {{bootstrap_servers: a, create_topics: {switch}}}"
        ));
        let kafka = given.load().config.kafka.expect("kafka is on");
        assert_eq!(kafka.create_topics.is_some(), on, "{switch}");
    }
}

#[test]
fn an_empty_route_to_a_broker_takes_its_own_name_there() {
    let given =
        Given::yaml("routes: {message.sent: {file: {}}, dead-letter: {file: {name: letters}}}\n");
    let config = given.load().config;
    assert!(
        config.routes["message.sent"]
            .file
            .as_ref()
            .is_some_and(|route| route.name.is_none())
    );
    assert!(config.routes["dead-letter"].file.is_some());
    assert_eq!(
        effective(&given, "routes.message.sent.file"),
        ("{}".to_owned(), "config.yaml:1".to_owned())
    );
}

#[test]
fn secrets_come_from_files_without_their_line_end() {
    let given = Given::yaml(
        "sources: {minchat: {auth: {tokens_file: $DIR/tokens}}}\n\
         kafka: {bootstrap_servers: a, security_protocol: sasl_ssl, sasl: {username: u, password_file: $DIR/kafka}}\n\
         amqp: {uri: amqp://u@a, password_file: $DIR/amqp}\n",
    )
    .file(
        "tokens",
        "first-token-in-this-file\r\n\nsecond-token-in-this-file\n",
    )
    .file("kafka", "two words \n")
    .file("amqp", "no-line-end");
    let config = given.load().config;
    let tokens: Vec<&str> = config.sources[0]
        .auth
        .tokens
        .iter()
        .map(|token| token.expose())
        .collect();
    assert_eq!(
        tokens,
        ["first-token-in-this-file", "second-token-in-this-file"]
    );
    assert!(!config.sources[0].auth.none);
    let sasl = config
        .kafka
        .and_then(|kafka| kafka.sasl)
        .expect("it logs in");
    assert_eq!(
        sasl.password
            .map(|password| password.expose().to_owned())
            .as_deref(),
        Some("two words ")
    );
    assert_eq!(
        config
            .amqp
            .and_then(|amqp| amqp.password)
            .expect("it has one")
            .expose(),
        "no-line-end"
    );
    let (value, _) = effective(&given, "amqp.password_file");
    assert!(value.ends_with("/amqp"));
}

#[test]
fn no_secret_is_shown() {
    let secrets = [
        "first-token",
        "second-token",
        "kafka-password",
        "amqp-password",
        "in-the-uri",
    ];
    let yaml = EVERYTHING
        .replace("one@rabbit-1", "one:in-the-uri@rabbit-1")
        .replace("  password: amqp-password\n", "");
    let yaml = yaml.replace(", amqps://one@rabbit-2/prod", "");
    let loaded = everything(&yaml).load();
    let shown = format!("{}\n{loaded:?}", to_yaml(&loaded.effective));
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
    assert!(shown.contains("amqps://one:***@rabbit-1/prod"), "{shown}");
}

#[test]
fn what_is_shown_can_be_loaded_again() {
    let yaml = EVERYTHING
        .replace(
            "tokens: [first-token-of-support, second-token-of-support]",
            "tokens_file: $DIR/tokens",
        )
        .replace(
            "secrets: [first-secret-of-support]",
            "secrets_file: $DIR/hmac",
        )
        .replace(
            "secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]",
            "secrets_file: $DIR/standard",
        )
        .replace("password: kafka-password", "password_file: $DIR/kafka")
        .replace("password: amqp-password", "password_file: $DIR/amqp");
    let given = ["tokens", "hmac", "kafka", "amqp"]
        .iter()
        .fold(everything(&yaml), |given, name| {
            given.file(name, "a-secret-that-is-long-enough")
        })
        .file("standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    let loaded = given.load();
    let shown = to_yaml(&loaded.effective);
    let again = Given::yaml(&shown).load();
    assert_eq!(
        format!("{:?}", again.config),
        format!("{:?}", loaded.config),
        "{shown}"
    );
    assert!(shown.contains("# "), "{shown}");
}

#[test]
fn what_is_shown_stands_in_the_order_of_the_table() {
    let yaml = to_yaml(&everything(EVERYTHING).load().effective);
    let keys: Vec<&str> = yaml.lines().filter(|line| !line.starts_with(' ')).collect();
    let sections = [
        "http:",
        "admin:",
        "envelope:",
        "sources:",
        "kafka:",
        "amqp:",
        "file:",
        "routes:",
        "publish:",
        "spool:",
        "log:",
    ];
    assert_eq!(keys, sections, "{yaml}");
    assert!(
        yaml.contains("  message.sent:\n    kafka:\n      topic: chat-messages"),
        "{yaml}"
    );
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let open = "http: {listen: '0.0.0.0:8080'}\nsources: {minchat: {auth: {none: true}}}\n";
    let table = [
        (
            open,
            "sources.minchat.auth.none is true: whoever reaches 0.0.0.0:8080 can post as minchat",
        ),
        (
            "sources: {minchat: {auth: {hmac: {secrets: [a-secret-that-is-long-enough]}}}}\n",
            "sources.minchat.auth.hmac has no timestamp_header: whoever records a signed request can send it again for ever",
        ),
        ("spool: {max_size: 0}\n", "spool.max_size is 0"),
        (
            "kafka: {bootstrap_servers: a, security_protocol: sasl_plaintext, \
             sasl: {mechanism: PLAIN, username: u, password: p}}\n",
            "kafka.security_protocol sasl_plaintext with PLAIN sends the password in the clear",
        ),
    ];
    for (yaml, warning) in table {
        let warnings = Given::yaml(yaml).load().warnings;
        assert!(
            warnings.len() == 1 && warnings[0].starts_with(warning),
            "{yaml}: {warnings:?}"
        );
    }
}

#[test]
fn a_stop_takes_as_long_as_its_parts() {
    let given = Given::yaml("http: {stop_delay: 5s}\n");
    assert_eq!(given.load().config.stops_within(), Duration::from_secs(20));
}

/// To bring it up to date: `SETTINGS=write cargo test the_readme`.
#[test]
fn the_readme_has_the_table_of_settings() {
    const MARKS: [&str; 2] = ["<!-- settings:begin -->\n", "<!-- settings:end -->"];
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("there is a README.md");
    let (before, rest) = readme.split_once(MARKS[0]).expect("it has the first mark");
    let (table, after) = rest.split_once(MARKS[1]).expect("it has the second mark");
    if std::env::var_os("SETTINGS").is_some_and(|what| what == "write") {
        let readme = [before, MARKS[0], &markdown_table(), MARKS[1], after].concat();
        std::fs::write(path, readme).expect("it can be written");
    } else {
        assert_eq!(
            table,
            markdown_table(),
            "to bring it up to date: SETTINGS=write cargo test the_readme"
        );
    }
}
