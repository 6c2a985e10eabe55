//! TLS on the webhook listener, and client certificates.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, SanType};
use tempfile::TempDir;

use super::PAYLOAD;
use super::tls_client::TlsClient;
use crate::authority::{Authority, Certificate};
use crate::client::Request;
use crate::command::run;
use crate::process::{Process, program};
use crate::readme::explained;

const YAML: &str = "
http: {tls: {cert_file: own.pem, key_file: own.key, client_ca_file: clients.pem}}
sources:
  minchat: {auth: {tokens: [a-token-that-is-long-enough], mtls: {names: [relay.example, 'spiffe://cluster/relay', ops@example.com, 192.0.2.7]}}}
  any: {auth: {mtls: {}}}
";

struct Setting {
    own: Authority,
    clients: Authority,
    bridge: Process,
}

fn setting() -> Setting {
    setting_with(YAML)
}

fn setting_with(yaml: &str) -> Setting {
    let (own, clients) = (Authority::new("servers"), Authority::new("clients"));
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    own.certify("bridge").write(dir.path(), "own");
    std::fs::write(dir.path().join("clients.pem"), clients.pem()).expect("it can be written");
    let bridge = Process::start_in(dir, yaml);
    Setting {
        own,
        clients,
        bridge,
    }
}

fn named(authority: &Authority, common: &str, alternative: Option<SanType>) -> Certificate {
    authority.certify_with(common, |params| {
        params.subject_alt_names = alternative.into_iter().collect();
        params.distinguished_name.push(DnType::CommonName, common);
    })
}

fn post(path: &str) -> Request {
    Request::post(path, PAYLOAD)
}

#[test]
fn the_listener_speaks_tls_1_2_and_1_3() {
    let Setting { own, bridge, .. } = setting();
    let request = post("/webhooks/minchat?token=a-token-that-is-long-enough").bytes();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = TlsClient::trusting(own.pem()).speaking(version);
        let mut connection = client
            .connect(bridge.webhooks())
            .expect("the handshake is done");
        assert_eq!(connection.version(), Some(version.version));
        assert_eq!(connection.exchange(&request).expect("an answer"), 202);
        assert_eq!(connection.exchange(&request).expect("another"), 202);
    }
    assert!(bridge.log().contains("post webhooks to https://127.0.0.1:"));
    bridge.await_metric(&["http_connections"], 0.0);
    let expires = bridge.metric(&[
        "tls_certificate_not_after_timestamp_seconds",
        "endpoint=\"webhooks\"",
    ]);
    assert!(expires > 4e9, "{expires}");
}

#[test]
fn what_is_no_tls_gets_nothing() {
    let Setting { bridge, .. } = setting();
    let mut connection = crate::client::Connection::open(bridge.webhooks());
    connection.send(post("/webhooks/minchat?token=a-token-that-is-long-enough").bytes());
    let rest = connection.rest();
    assert!(!rest.contains("HTTP/1.1"), "{rest:?}");
    assert_eq!(bridge.metric(&["webhooks_accepted_total"]), 0.0);
}

#[test]
fn handshakes_that_do_not_come_hold_nobody_up() {
    // Longer than the client waits for its answer.
    let yaml = YAML.replace("http: {", "http: {header_timeout: 1m, ");
    let Setting { own, bridge, .. } = setting_with(&yaml);
    let silent: Vec<_> = (0..600)
        .map(|_| std::net::TcpStream::connect(bridge.webhooks()).expect("the bridge listens"))
        .collect();
    let client = TlsClient::trusting(own.pem());
    let mut connection = client
        .connect(bridge.webhooks())
        .expect("the handshake is done");
    let request = post("/webhooks/minchat?token=a-token-that-is-long-enough").bytes();
    assert_eq!(connection.exchange(&request).expect("an answer"), 202);
    drop(silent);
}

#[test]
fn a_client_certificate_lets_in_whom_it_is_made_out_to() {
    let Setting {
        own,
        clients,
        bridge,
    } = setting();
    let dns = |name: &str| Some(SanType::DnsName(name.try_into().expect("it is a name")));
    let uri = |name: &str| Some(SanType::URI(name.try_into().expect("it is a URI")));
    for (what, certificate, path, status) in [
        (
            "a DNS name",
            named(&clients, "x", dns("relay.example")),
            "/webhooks/minchat",
            202,
        ),
        (
            "a URI",
            named(&clients, "x", uri("spiffe://cluster/relay")),
            "/webhooks/minchat",
            202,
        ),
        (
            "a common name",
            named(&clients, "relay.example", None),
            "/webhooks/minchat",
            202,
        ),
        (
            "another name",
            named(&clients, "x", dns("relay.example.org")),
            "/webhooks/minchat",
            401,
        ),
        (
            "a name under it",
            named(&clients, "x", dns("a.relay.example")),
            "/webhooks/minchat",
            401,
        ),
        (
            "another name, and a token",
            named(&clients, "x", None),
            "/webhooks/minchat?token=a-token-that-is-long-enough",
            202,
        ),
        (
            "whatever name",
            named(&clients, "x", None),
            "/webhooks/any",
            202,
        ),
    ] {
        let client = TlsClient::trusting(own.pem()).with(&certificate);
        let mut connection = client
            .connect(bridge.webhooks())
            .expect("the handshake is done");
        let answer = connection.exchange(&post(path).bytes());
        assert_eq!(answer.expect("an answer"), status, "{what}");
    }
    let client = TlsClient::trusting(own.pem());
    let mut connection = client
        .connect(bridge.webhooks())
        .expect("the handshake is done");
    assert_eq!(
        connection
            .exchange(&post("/webhooks/any").bytes())
            .expect("an answer"),
        401,
        "no certificate"
    );
}

/// The answer to a webhook with this certificate.
fn status(setting: &Setting, certificate: &Certificate, path: &str) -> u16 {
    let client = TlsClient::trusting(setting.own.pem()).with(certificate);
    let mut connection = client
        .connect(setting.bridge.webhooks())
        .expect("the handshake is done");
    let answer = connection.exchange(&post(path).bytes());
    answer.expect("an answer")
}

#[test]
fn a_name_counts_as_what_it_is_alone_and_a_common_name_only_without_others() {
    let setting = setting();
    let ia5 = |text: &str| text.try_into().expect("it is ASCII");
    let dns = |text: &str| SanType::DnsName(ia5(text));
    let uri = |text: &str| SanType::URI(ia5(text));
    let mail = |text: &str| SanType::Rfc822Name(ia5(text));
    let ip = |address: [u8; 4]| SanType::IpAddress(address.into());
    let other = |text: &str| SanType::OtherName((vec![1, 3, 6, 1], text.into()));
    let (relay, spiffe) = ("relay.example", "spiffe://cluster/relay");
    let rows: Vec<(&str, Vec<SanType>, u16)> = vec![
        ("x", vec![dns(relay)], 202),
        ("x", vec![dns("Relay.EXAMPLE")], 202),
        ("x", vec![dns("relay.example.")], 202),
        ("x", vec![uri(spiffe)], 202),
        ("x", vec![mail("ops@example.com")], 202),
        ("x", vec![mail("ops@Example.COM")], 202),
        ("x", vec![ip([192, 0, 2, 7])], 202),
        ("x", vec![dns("other.example"), dns(relay)], 202),
        ("x", vec![ip([127, 0, 0, 1]), uri(spiffe)], 202),
        // As a common name: a DNS name, and nothing beside it.
        (relay, vec![], 202),
        ("RELAY.example", vec![], 202),
        (spiffe, vec![], 401),
        ("ops@example.com", vec![], 401),
        ("192.0.2.7", vec![], 401),
        ("*.example", vec![], 401),
        ("relay.example\0", vec![], 401),
        ("relay.example\0.evil.test", vec![], 401),
        ("relay.example, other.example", vec![], 401),
        (relay, vec![dns("someone-else.example")], 401),
        (relay, vec![uri("spiffe://cluster/other")], 401),
        (relay, vec![mail("mary@example.com")], 401),
        (relay, vec![ip([127, 0, 0, 1])], 401),
        (relay, vec![other(relay)], 401),
        // Of another type, or another name.
        ("x", vec![uri(relay)], 401),
        ("x", vec![mail(relay)], 401),
        ("x", vec![other(relay)], 401),
        ("x", vec![dns(spiffe)], 401),
        ("x", vec![mail(spiffe)], 401),
        ("x", vec![dns("ops@example.com")], 401),
        ("x", vec![uri("ops@example.com")], 401),
        ("x", vec![dns("192.0.2.7")], 401),
        ("x", vec![uri("192.0.2.7")], 401),
        ("x", vec![dns("*.example")], 401),
        ("x", vec![dns("*")], 401),
        ("x", vec![dns("relay.example\0")], 401),
        ("x", vec![dns("relay.example\0.evil.test")], 401),
        ("x", vec![dns("evil.relay.example")], 401),
        ("x", vec![dns("relay.example.evil.test")], 401),
        ("x", vec![dns(" relay.example")], 401),
        ("x", vec![uri("spiffe://cluster/relay/")], 401),
        ("x", vec![uri("spiffe://cluster/Relay")], 401),
        ("x", vec![mail("OPS@example.com")], 401),
        ("x", vec![mail("ops@a.example.com")], 401),
    ];
    for (common, alternatives, expected) in rows {
        let certificate = setting.clients.certify_with(common, |params| {
            params.subject_alt_names = alternatives.clone();
        });
        assert_eq!(
            status(&setting, &certificate, "/webhooks/minchat"),
            expected,
            "{common:?} {alternatives:?}"
        );
        assert_eq!(status(&setting, &certificate, "/webhooks/any"), 202);
    }
}

#[test]
fn alternative_names_that_can_t_be_read_and_several_common_names_let_nobody_in() {
    let setting = setting();
    let certify = |change: &dyn Fn(&mut CertificateParams)| {
        setting.clients.certify_with("relay.example", |params| {
            params.subject_alt_names.clear();
            change(params);
        })
    };
    let alternatives = |content: &'static [u8]| {
        certify(&move |params| {
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec());
            params.custom_extensions = vec![extension];
        })
    };
    let second = |name: &'static str| {
        certify(&move |params| {
            let common_name = DnType::CustomDnType(vec![2, 5, 4, 3]);
            let name = DnValue::Utf8String(name.to_owned());
            params.distinguished_name.push(common_name, name);
        })
    };
    let bmp = certify(&|params| {
        let name = "relay.example".try_into().expect("it is of the plane");
        params
            .distinguished_name
            .push(DnType::CommonName, DnValue::BmpString(name));
    });
    for (what, certificate) in [
        ("no name in it", alternatives(b"\x30\x00")),
        ("cut off", alternatives(b"\x30\x03\x82\x10a")),
        ("not ASCII", alternatives(b"\x30\x04\x82\x02\xc3\x28")),
        (
            "an address of three bytes",
            alternatives(b"\x30\x05\x87\x03\xc0\x00\x02"),
        ),
        ("two common names", second("other.example")),
        ("the same twice", second("relay.example")),
        ("in another encoding", bmp),
    ] {
        assert_eq!(
            status(&setting, &certificate, "/webhooks/minchat"),
            401,
            "{what}"
        );
    }
    let plain = certify(&|_| {});
    assert_eq!(status(&setting, &plain, "/webhooks/minchat"), 202);
}

#[test]
fn a_certificate_that_the_authority_does_not_vouch_for_ends_the_handshake() {
    let Setting {
        own,
        clients,
        bridge,
    } = setting();
    let strangers = Authority::new("clients");
    let expired = clients.certify_with("x", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for (what, certificate) in [
        ("another authority", named(&strangers, "x", None)),
        ("expired", expired),
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = TlsClient::trusting(own.pem())
                .with(&certificate)
                .speaking(version);
            // With 1.3 the client hears of it only when it reads.
            let outcome = client
                .connect(bridge.webhooks())
                .and_then(|mut connection| connection.exchange(&post("/webhooks/any").bytes()));
            assert!(outcome.is_err(), "{what}: {outcome:?}");
        }
    }
    assert_eq!(bridge.metric(&["webhooks_accepted_total"]), 0.0);
}

#[test]
fn a_certificate_that_does_not_fit_its_key_is_refused_at_start_by_name() {
    let authority = Authority::new("servers");
    let dir = TempDir::new().expect("a directory can be made");
    let path = |name: &str| dir.path().join(name).display().to_string();
    authority.certify("bridge").write(dir.path(), "own");
    authority.certify("other").write(dir.path(), "other");
    let set = |setting: &str, file: &str| format!("{setting}={}", path(file));
    for command in ["serve", "check"] {
        let (code, text) = program(
            &[command],
            &[
                "--set",
                &set("http.tls.cert_file", "own.pem"),
                "--set",
                &set("http.tls.key_file", "other.key"),
            ],
        );
        assert_eq!(code, 78, "{text}");
        assert!(
            text.contains("http.tls.key_file")
                && text.contains("other.key")
                && text.contains("the key is not that of the certificate"),
            "{text}"
        );
    }
}

/// The files `NAME.pem` and `NAME.key`, valid between these years.
fn certify(authority: &Authority, dir: &Path, name: &str, from: i32, to: i32) {
    let certificate = authority.certify_with(name, |params| {
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
    });
    certificate.write(dir, name);
}

#[test]
fn a_certificate_that_is_not_valid_now_is_warned_of_by_check_and_at_start_and_reload() {
    const EXPIRED: &str =
        "http.tls.cert_file: the certificate in \"own.pem\" expired at 2020-01-01T00:00:00Z";
    const EARLY: &str = "http.tls.cert_file: the certificate in \"own.pem\" is not valid before 2090-01-01T00:00:00Z";
    let authority = Authority::new("servers");
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    certify(&authority, dir.path(), "own", 2010, 2020);
    let yaml = "http: {tls: {cert_file: own.pem, key_file: own.key}}\n";
    let bridge = Process::start_in(dir.clone(), yaml);
    let refused = explained("whoever it is shown to refuses it");
    bridge.await_log(&["WARN", &EXPIRED.replace('"', "\\\""), refused]);
    run(dir.path(), &["check"])
        .with(0)
        .says(&["warning: ", EXPIRED]);
    certify(&authority, dir.path(), "own", 2090, 2099);
    bridge.signal("HUP");
    bridge.await_log(&["WARN", &EARLY.replace('"', "\\\"")]);
    run(dir.path(), &["check"])
        .with(0)
        .says(&["warning: ", EARLY]);
    certify(&authority, dir.path(), "own", 2020, 2099);
    let ran = run(dir.path(), &["check"]).with(0);
    assert!(!ran.stderr.contains("cert_file"), "{}", ran.stderr);
}

#[cfg(all(feature = "amqp", feature = "kafka"))]
#[test]
fn the_certificates_for_the_brokers_are_warned_of_and_shown_until_they_are_not_used_any_more() {
    let authority = Authority::new("servers");
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).expect("it can be written");
    certify(&authority, dir.path(), "kafka", 2010, 2020);
    certify(&authority, dir.path(), "amqp", 2010, 2099);
    let yaml = |kafka: &str| {
        let tls = |name: &str| format!("tls: {{ca_file: ca.pem{name}}}");
        let pair = |name: &str| format!(", cert_file: {name}.pem, key_file: {name}.key");
        format!(
            "sources: {{minchat: {{auth: {{none: true}}}}}}\n\
             kafka: {{bootstrap_servers: '127.0.0.1:1', security_protocol: ssl, {}}}\n\
             amqp: {{uri: 'amqps://127.0.0.1:1', {}}}\n",
            tls(kafka),
            tls(&pair("amqp"))
        )
    };
    let with = yaml(", cert_file: kafka.pem, key_file: kafka.key");
    let bridge = Process::start_in(dir.clone(), &with);
    bridge.await_log(&[
        "WARN",
        "kafka.tls.cert_file: the certificate in",
        "expired at 2020",
    ]);
    assert!(!bridge.log().contains("amqp.tls.cert_file: the"));
    let expires = |at: &str| {
        let endpoint = format!("endpoint=\"{at}\"");
        bridge.metric(&["tls_certificate_not_after_timestamp_seconds", &endpoint])
    };
    assert_eq!(
        (expires("kafka"), expires("amqp")),
        (1_577_836_800.0, 4_070_908_800.0)
    );
    certify(&authority, dir.path(), "kafka", 2010, 2098);
    bridge.await_metric(
        &["tls_certificate_not_after_timestamp_seconds", "kafka"],
        4_039_372_800.0,
    );
    std::fs::write(dir.path().join("config.yaml"), yaml("")).expect("it can be written");
    bridge.await_metric(
        &["tls_certificate_not_after_timestamp_seconds", "kafka"],
        0.0,
    );
    assert_eq!(expires("amqp"), 4_070_908_800.0);
}
