//! A file that was cut, as one is that somebody saves, or copies, while it is read.

use std::fs;
use std::path::Path;

use crate::config::{Inputs, Loaded, Narrowing, changes, load};
use crate::http::settings::{MtlsSettings, SourceSettings};

/// This file has everything that says who gets in. The beginning of each value would be a value too.
const BLOCK: &str = "\
# Who gets in.
http:
  tls:
    cert_file: $DIR/cert.pem
    key_file: $DIR/key.pem
    client_ca_file: $DIR/ca.pem
log:
  level: info
routes:
  unrecognized:
    discard: true
  message.sent:
    file: {name: messages}
sources:
  first:
    prefix: first.
    allow_from:
      - 203.0.113.0/24
      - 198.51.100.0/25
      - '2001:db8::/32'
    trusted_proxies:
      - 10.0.0.1
      - 10.0.1.0/24
    auth:
      tokens:
        - first-token-of-a-length-that-can-be-cut   # the old one
        - second-token-of-a-length-that-can-be-cut
      hmac:
        secrets: [first-secret-of-a-length-that-can-be-cut, second-secret-of-a-length-that-can-be-cut]
        header: x-hub-signature-256
        prefix: sha256=
        encoding: base64
        timestamp_header: x-hub-timestamp
        tolerance: 30s
      standard_webhooks:
        secrets_file: $DIR/whsec
        tolerance: 30s
      mtls:
        names:
          - relay.example.com
          - relay.example.org
  open:
    auth:
      none: true
    allow_from: 10.0.0.0/16, 192.0.2.16/28
  second:
    rate_limit: {per_second: 10, burst: 20}
    auth:
      tokens_file: $DIR/tokens.new
    trusted_proxies: [10.0.0.0/8]
    allow_from:
      # The office.
      - 203.0.113.128/25
  third:
    # On this machine alone.
    auth: {none: true}
    allow_from: [127.0.0.1]
# Nobody else.
";

/// This file says the same on few lines.
const FLOW: &str = "\
http: {tls: {cert_file: $DIR/cert.pem, key_file: $DIR/key.pem, client_ca_file: $DIR/ca.pem}}
sources: {first: {auth: {tokens: [first-token-of-a-length-that-can-be-cut], mtls: {names: [relay.example.com]},
  hmac: {secrets: [first-secret-of-a-length-that-can-be-cut], timestamp_header: x-hub-timestamp, tolerance: 30s}},
  allow_from: [203.0.113.0/24, '2001:db8::/32'], trusted_proxies: [10.0.0.1, 10.0.1.0/24]}, open: {auth: {none: true}}}
";

/// The last line of this file narrows whom the source lets in.
const LAST: &str = "\
sources:
  first:
    auth:
      none: true
    trusted_proxies: [10.0.0.1, 10.0.0.2]
    allow_from: [10.0.0.0/24]";

/// The last line of this file is a proxy behind which the senders are.
const PROXIES: &str = "\
sources:
  first:
    auth: {none: true}
    allow_from: [10.0.0.0/24]
    trusted_proxies:
    - 10.0.0.1
    - 10.0.0.2
";

/// The last lines of this file say how much a source may post, what its events are called, and where they go.
const LABELS: &str = "\
amqp:
  uri: amqps://127.0.0.1
  tls:
    ca_file: $DIR/ca.pem
file: {dir: $DIR/events}
sources:
  first:
    auth: {none: true}
    prefix: tenant.
    uri: tag:example.com,2026:first
    rate_limit:
      per_second: 10
      burst: 20
  second:
    rate_limit: {per_second: 10, burst: 20}
    auth: {none: true}
envelope:
  schema_base: 'tag:example.com,2026:schema:'
routes:
  ai-agent.action:
    discard: true
  message.sent:
    amqp:
      exchange: chat
      routing_key: message
    file:
      name: messages
  user.daily-active:
    file: {}
";

/// Loads a file and the files that it names.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let (cert, key) = super::certificate();
        for (name, text) in [
            ("cert.pem", cert),
            ("key.pem", key),
            ("ca.pem", cert),
            ("whsec", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            ("tokens.new", "new-token-of-the-second-source"),
            // The name of the file above leads to this one when it is cut.
            ("tokens", "old-token-of-the-second-source"),
        ] {
            fs::write(dir.path().join(name), text).expect("there is room for a file");
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self, bytes: &[u8]) -> Option<Loaded> {
        let file = self.path().join("config.yaml");
        fs::write(&file, bytes).expect("there is room for a file");
        let inputs = Inputs {
            file: Some(file),
            ..Inputs::default()
        };
        load(&inputs).ok()
    }
}

#[test]
fn a_file_that_is_cut_at_any_byte_lets_in_nothing_that_was_refused_before() {
    let dir = Directory::new();
    let with_files = |yaml: &str| yaml.replace("$DIR", &dir.path().display().to_string());
    for (yaml, least_taken) in [
        (with_files(BLOCK), 9),
        (with_files(BLOCK).replace('\n', "\r\n"), 9),
        (with_files(FLOW), 1),
        (with_files(FLOW).replace('\n', "\r\n"), 1),
        (format!("\u{feff}{}", with_files(FLOW)), 1),
        (LAST.to_owned(), 0),
        (PROXIES.to_owned(), 0),
        (with_files(LABELS), 0),
        (format!("{}# nothing else\n", with_files(LABELS)), 1),
        (format!("{LAST} # nobody else\n# é\n"), 1),
    ] {
        let holds = dir.load(yaml.as_bytes()).expect("the whole file holds");
        let mut narrowing = Narrowing::default();
        narrowing.add(&holds);
        let mut taken = 0;
        for length in 0..yaml.len() {
            let cut = &yaml.as_bytes()[..length];
            let Some(would) = dir.load(cut) else { continue };
            let is_together = changes(&holds, &holds, &would).together.is_empty();
            if !is_together || !narrowing.refuses(&would).is_empty() {
                continue;
            }
            taken += 1;
            // The next cut is compared with this one too, as when a file is written slowly.
            narrowing.add(&would);
            let tail = String::from_utf8_lossy(&cut[length.saturating_sub(60)..]).into_owned();
            assert_eq!(
                places(&would),
                places(&holds),
                "other places after {tail:?}"
            );
            for after in &would.config.sources {
                let mut sources = holds.config.sources.iter();
                let before = sources.find(|one| one.name == after.name);
                let before =
                    before.unwrap_or_else(|| panic!("{} is new after {tail:?}", after.name));
                assert_no_wider(before, after, &tail);
            }
        }
        assert!(
            taken >= least_taken,
            "only {taken} cuts were taken of\n{yaml}"
        );
    }
}

/// What the events of each kind are called, and where they go.
fn places(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let authorities = config.amqp.as_ref().map(|amqp| &amqp.tls);
    format!("{:?} {:?} {authorities:?}", config.envelope, config.routes)
}

#[test]
fn a_file_of_secrets_that_is_cut_at_any_byte_has_no_secret_that_it_had_not_before() {
    const YAML: &str = "\
sources:
  first:
    auth:
      tokens_file: $DIR/tokens
      hmac: {secrets_file: $DIR/tokens}
      standard_webhooks: {secrets_file: $DIR/keys}
amqp: {uri: 'amqp://user@127.0.0.1', password_file: $DIR/password}
";
    let dir = Directory::new();
    let yaml = YAML.replace("$DIR", &dir.path().display().to_string());
    let (tokens, keys) = (
        "first-token-of-a-length-that-can-be-cut\nsecond-token-of-a-length-that-can-be-cut",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
    );
    for (name, whole, least_taken) in [
        ("tokens", tokens.to_owned(), 1),
        ("tokens", format!("{tokens}\n"), 2),
        ("tokens", format!("{}\r\n", tokens.replace('\n', "\r\n")), 2),
        ("keys", keys.to_owned(), 0),
        ("keys", format!("{keys}\n"), 1),
        ("password", "a-password".to_owned(), 0),
        ("password", "a-password\n".to_owned(), 1),
    ] {
        for (name, text) in [
            ("tokens", tokens),
            ("keys", keys),
            ("password", "a-password"),
        ] {
            fs::write(dir.path().join(name), text).expect("there is room for a file");
        }
        let write = |text: &[u8]| {
            fs::write(dir.path().join(name), text).expect("there is room for a file");
            dir.load(yaml.as_bytes())
        };
        let holds = write(whole.as_bytes()).expect("the whole file holds");
        let mut narrowing = Narrowing::default();
        narrowing.add(&holds);
        let mut taken = 0;
        for length in 0..whole.len() {
            let cut = &whole.as_bytes()[..length];
            let Some(would) = write(cut) else { continue };
            let refused = narrowing.refuses(&would);
            if !refused.is_empty() {
                let told = refused.join("\n");
                let file = format!("{}/{name}", dir.path().display());
                assert!(told.contains(&file), "{told}");
                assert!(
                    !told.contains("token-of") && !told.contains("a-pass"),
                    "{told}"
                );
                continue;
            }
            taken += 1;
            narrowing.add(&would);
            assert_no_wider(&holds.config.sources[0], &would.config.sources[0], name);
            let password = |loaded: &Loaded| loaded.config.amqp.clone().map(|amqp| amqp.password);
            assert!(password(&would) == password(&holds), "another password");
        }
        assert!(
            taken >= least_taken,
            "only {taken} cuts were taken of {name}"
        );
        let again = write(whole.as_bytes()).expect("the whole file holds");
        assert_eq!(narrowing.refuses(&again), Vec::<String>::new());
    }
}

/// Asserts that a source lets in nothing that it refused before, as fast as before, under the same names.
fn assert_no_wider(before: &SourceSettings, after: &SourceSettings, cut: &str) {
    let texts = |secrets: &[crate::secret::Secret]| -> Vec<String> {
        secrets
            .iter()
            .map(|secret| secret.expose().to_owned())
            .collect()
    };
    let is_part =
        |part: Vec<String>, whole: Vec<String>| part.iter().all(|one| whole.contains(one));
    let names = |source: &SourceSettings| {
        let limit = source.rate_limit.as_ref();
        let limit = limit.map(|limit| (limit.per_second, limit.burst));
        (source.uri.clone(), source.prefix.clone(), limit)
    };
    assert_eq!(names(after), names(before), "{cut:?}");
    let (was, is) = (&before.auth, &after.auth);
    assert!(was.none || !is.none, "everybody is let in after {cut:?}");
    assert!(
        is_part(texts(&is.tokens), texts(&was.tokens)),
        "another token after {cut:?}"
    );
    if let Some(is) = &is.hmac {
        let was = was.hmac.as_ref().expect("it was there");
        let how = |hmac: &crate::http::settings::HmacSettings| {
            let texts = (
                hmac.header.clone(),
                hmac.prefix.clone(),
                hmac.timestamp_header.clone(),
            );
            (texts, hmac.encoding, hmac.tolerance)
        };
        assert_eq!(how(is), how(was), "{cut:?}");
        assert!(
            is_part(texts(&is.secrets), texts(&was.secrets)),
            "another key after {cut:?}"
        );
    }
    if let Some(is) = &is.standard_webhooks {
        let was = was.standard_webhooks.as_ref().expect("it was there");
        assert_eq!(is.tolerance, was.tolerance, "{cut:?}");
        assert!(
            is_part(texts(&is.secrets), texts(&was.secrets)),
            "another key after {cut:?}"
        );
    }
    if let Some(is) = &is.mtls {
        let names = |mtls: &MtlsSettings| {
            let shown = mtls.names.iter().map(|name| format!("{name:?}"));
            shown.collect::<Vec<_>>()
        };
        let was = was.mtls.as_ref().expect("it was there");
        let is_narrow = was.names.is_empty() || !is.names.is_empty();
        assert!(
            is_narrow && is_part(names(is), names(was)),
            "another certificate after {cut:?}"
        );
    }
    let is_limited = before.allow_from.is_empty() || !after.allow_from.is_empty();
    let networks =
        |networks: &[ipnet::IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(is_limited, "every network after {cut:?}");
    if !before.allow_from.is_empty() {
        let (is, was) = (networks(&after.allow_from), networks(&before.allow_from));
        assert!(is_part(is, was), "another network after {cut:?}");
        let (is, was) = (
            networks(&after.trusted_proxies),
            networks(&before.trusted_proxies),
        );
        assert_eq!(is, was, "other proxies after {cut:?}");
    }
}
