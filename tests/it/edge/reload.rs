//! Another configuration while the bridge serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::PAYLOAD;
use super::tls_client::TlsClient;
use crate::authority::Authority;
use crate::client::Request;
use crate::process::{Process, await_some};
use crate::readme::explained;

const OLD: &str = "the-old-token-of-this-test";
const STAYS: &str = "the configuration was not reloaded; the old one stays";
const NEW: &str = "the-new-token-of-this-test";

fn dir() -> Arc<TempDir> {
    Arc::new(TempDir::new().expect("a directory can be made"))
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("it can be written");
}

fn status(bridge: &Process, token: &str) -> u16 {
    let request = Request::post("/webhooks/minchat", PAYLOAD);
    bridge
        .send(&request.with("authorization", &format!("Bearer {token}")))
        .status
}

fn await_status(bridge: &Process, token: &str, wanted: u16) {
    await_some(&format!("{token}: {wanted}"), || {
        (status(bridge, token) == wanted).then_some(())
    });
}

fn is_successful(bridge: &Process) -> bool {
    bridge.metric(&["config_last_reload_successful "]) > 0.5
}

/// What Kubernetes does with a mounted secret: a new directory, and a link that is swapped.
fn mount(dir: &Path, version: u32, tokens: &str) {
    let name = format!("..version-{version}");
    fs::create_dir(dir.join(&name)).expect("it can be made");
    write(&dir.join(&name), "tokens", tokens);
    symlink(&name, dir.join("..data_tmp")).expect("it can be made");
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("it can be renamed");
    if version == 1 {
        symlink("..data/tokens", dir.join("tokens")).expect("it can be made");
    }
}

#[test]
fn tokens_change_when_kubernetes_swaps_the_mounted_secret() {
    let dir = dir();
    mount(dir.path(), 1, &format!("{OLD}\n"));
    let bridge = Process::start_in(
        dir.clone(),
        "sources: {minchat: {auth: {tokens_file: tokens}}}\n",
    );
    let started = bridge.metric(&["config_last_reload_timestamp_seconds"]);
    assert!(is_successful(&bridge) && started > 1.7e9);
    assert_eq!((status(&bridge, OLD), status(&bridge, NEW)), (202, 401));
    mount(dir.path(), 2, &format!("{OLD}\n{NEW}\n"));
    await_status(&bridge, NEW, 202);
    assert_eq!(status(&bridge, OLD), 202, "both hold while it is rotated");
    mount(dir.path(), 3, &format!("{NEW}\n"));
    await_status(&bridge, OLD, 401);
    assert_eq!(status(&bridge, NEW), 202);
    bridge.await_log(&["reloaded the configuration", "a file changed"]);
    assert!(!bridge.log().contains(OLD) && !bridge.log().contains(NEW));
}

#[test]
fn a_file_of_tokens_that_is_cut_inside_the_last_one_is_not_taken() {
    const LAST: &str = "the-last-token-of-this-test-and-a-long-one";
    let dir = dir();
    // A file may end without a line feed.
    write(dir.path(), "tokens", &format!("{OLD}\n{LAST}"));
    let bridge = Process::start_in(
        dir.clone(),
        "sources: {minchat: {auth: {tokens_file: tokens}}}\n",
    );
    let (part, _) = LAST.split_at(LAST.len() - 10);
    write(dir.path(), "tokens", &format!("{OLD}\n{part}"));
    bridge.signal("HUP");
    bridge.await_log(&["ERROR", STAYS, "sources.minchat.auth.tokens_file (tokens)"]);
    assert_eq!((status(&bridge, LAST), status(&bridge, part)), (202, 401));
    // Written slowly: at first the whole line is missing.
    write(dir.path(), "tokens", &format!("{OLD}\n"));
    await_status(&bridge, LAST, 401);
    write(dir.path(), "tokens", &format!("{OLD}\n{part}"));
    await_some("another refusal", || {
        (!is_successful(&bridge)).then_some(())
    });
    assert_eq!((status(&bridge, OLD), status(&bridge, part)), (202, 401));
    write(dir.path(), "tokens", &format!("{OLD}\n{LAST}\n{NEW}"));
    await_status(&bridge, NEW, 202);
    assert_eq!((status(&bridge, LAST), status(&bridge, part)), (202, 401));
    assert!(!bridge.log().contains(part) && !bridge.log().contains(OLD));
}

#[test]
fn sighup_reloads_at_once_what_a_source_lets_in() {
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{tokens: [{OLD}]}}}}}}\n"
    ));
    let yaml = format!(
        "sources: {{minchat: {{auth: {{tokens: [{NEW}]}}, rate_limit: {{per_second: 1, burst: 1}}}}}}\nhttp: {{keep_alive: 10s}}\n"
    );
    write(bridge.path(), "config.yaml", &yaml);
    bridge.signal("HUP");
    bridge.await_log(&["reloaded the configuration"]);
    bridge.await_log(&["wait for a restart", "http.keep_alive"]);
    assert_eq!((status(&bridge, OLD), status(&bridge, NEW)), (401, 202));
    await_status(&bridge, NEW, 429);
    write(
        bridge.path(),
        "config.yaml",
        &yaml.replace("auth:", "allow_from: [192.0.2.1], auth:"),
    );
    bridge.signal("HUP");
    await_status(&bridge, NEW, 403);
}

#[test]
fn the_old_configuration_stays_as_a_whole_while_anything_of_the_new_does_not_hold() {
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{tokens: [{OLD}]}}}}}}\n"
    ));
    let with =
        |more: &str| format!("sources: {{minchat: {{auth: {{tokens: [{NEW}]}}}}}}\n{more}\n");
    for (more, told) in [
        ("http: {lisen: x}", "http.lisen"),
        (
            "kafka: {bootstrap_servers: a, security_protocol: ssl, tls: {ca_file: /nowhere}}",
            "kafka.tls.ca_file",
        ),
        (
            "routes: {message.sent: {kafka: {topic: elsewhere}}}",
            "routes.message.sent.kafka",
        ),
        (
            "kafka: {bootstrap_servers: \"127.0.0.1:1\"}",
            "kafka, file can't change without a restart",
        ),
    ] {
        write(bridge.path(), "config.yaml", &with(more));
        bridge.signal("HUP");
        bridge.await_log(&["ERROR", explained(STAYS), told]);
        assert!(!is_successful(&bridge), "{more}");
        assert_eq!(
            (status(&bridge, OLD), status(&bridge, NEW)),
            (202, 401),
            "{more}"
        );
    }
    write(bridge.path(), "config.yaml", &with(""));
    await_status(&bridge, NEW, 202);
    assert!(is_successful(&bridge));
    assert!(!bridge.log().contains(OLD) && !bridge.log().contains(NEW));
}

#[test]
fn a_file_that_comes_later_than_the_configuration_that_names_it_is_waited_for() {
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{tokens: [{OLD}]}}}}}}\n"
    ));
    write(
        bridge.path(),
        "config.yaml",
        "sources: {minchat: {auth: {tokens_file: tokens}}}\n",
    );
    bridge.await_log(&["ERROR", explained(STAYS), "tokens_file"]);
    write(bridge.path(), "tokens", &format!("{NEW}\n"));
    await_status(&bridge, NEW, 202);
    let told = bridge.log().matches("the old one stays").count();
    assert_eq!(told, 1, "once, however often it is tried");
}

#[test]
fn a_new_certificate_is_presented_and_no_connection_is_dropped() {
    let (dir, authority) = (dir(), Authority::new("servers"));
    authority.certify("bridge").write(dir.path(), "own");
    let yaml = "http: {tls: {cert_file: own.pem, key_file: own.key}}\nsources: {minchat: {auth: {none: true}}}\n";
    let bridge = Process::start_in(dir.clone(), yaml);
    let client = TlsClient::trusting(authority.pem());
    let request = Request::post("/webhooks/minchat", PAYLOAD).bytes();
    let mut open = client
        .connect(bridge.webhooks())
        .expect("the handshake is done");
    assert_eq!(open.exchange(&request).expect("an answer"), 202);

    let next = authority.certify_with("bridge", |params| {
        params.not_after = rcgen::date_time_ymd(2099, 1, 1)
    });
    write(dir.path(), "own.pem", &next.cert);
    bridge.await_log(&[
        "ERROR",
        "the old one stays",
        "http.tls.key_file",
        "the key is not that of the certificate",
    ]);
    assert_eq!(open.exchange(&request).expect("an answer"), 202);
    let meanwhile = client
        .connect(bridge.webhooks())
        .expect("the old certificate is presented");
    assert_eq!(meanwhile.certificate(), open.certificate());

    write(dir.path(), "own.key", &next.key);
    await_some("the new certificate", || {
        let connection = client
            .connect(bridge.webhooks())
            .expect("the handshake is done");
        (connection.certificate() != open.certificate()).then_some(())
    });
    assert_eq!(open.exchange(&request).expect("an answer"), 202);
    bridge.await_metric(
        &["tls_certificate_not_after_timestamp_seconds"],
        4_070_908_800.0,
    );
}

#[test]
fn a_new_client_authority_counts_at_once_on_open_connections_too() {
    let (dir, own) = (dir(), Authority::new("servers"));
    let (old, new) = (Authority::new("clients"), Authority::new("clients"));
    own.certify("bridge").write(dir.path(), "own");
    write(dir.path(), "clients.pem", old.pem());
    let yaml = "http: {tls: {cert_file: own.pem, key_file: own.key, client_ca_file: clients.pem}}\nsources: {minchat: {auth: {mtls: {}}}}\n";
    let bridge = Process::start_in(dir.clone(), yaml);
    let client = |authority: &Authority| {
        let certificate = authority.certify("relay");
        TlsClient::trusting(own.pem())
            .with(&certificate)
            .connect(bridge.webhooks())
    };
    let request = Request::post("/webhooks/minchat", PAYLOAD).bytes();
    let mut open = client(&old).expect("the handshake is done");
    assert_eq!(open.exchange(&request).expect("an answer"), 202);

    write(
        dir.path(),
        "clients.pem",
        &format!("{}{}", old.pem(), new.pem()),
    );
    await_some("the new authority", || {
        let answer = client(&new).and_then(|mut connection| connection.exchange(&request));
        answer.is_ok_and(|status| status == 202).then_some(())
    });
    assert_eq!(
        open.exchange(&request).expect("an answer"),
        202,
        "both count"
    );

    write(dir.path(), "clients.pem", new.pem());
    await_some("the end of the old authority", || {
        let answer = client(&old).and_then(|mut connection| connection.exchange(&request));
        answer.is_err().then_some(())
    });
    assert_eq!(
        open.exchange(&request)
            .expect("the connection is not dropped"),
        401
    );
}

#[test]
fn a_reload_names_what_changed_and_what_waits_and_never_a_secret() {
    let (dir, authority) = (dir(), Authority::new("servers"));
    authority.certify("bridge").write(dir.path(), "own");
    write(dir.path(), "tokens", &format!("{OLD}\n"));
    let yaml = |source: &str, more: &str| {
        format!(
            "http: {{tls: {{cert_file: own.pem, key_file: own.key}}{more}}}\n\
             sources: {{minchat: {{auth: {{tokens_file: tokens}}}}{source}}}\n"
        )
    };
    let bridge = Process::start_in(dir.clone(), &yaml("", ""));
    let reloaded = |changed: &str| {
        bridge.signal("HUP");
        let changed = format!("\"changed\":\"{changed}\"");
        bridge.await_log(&["INFO", "reloaded the configuration", &changed])
    };
    reloaded("nothing");
    write(dir.path(), "tokens", &format!("{NEW}\n"));
    reloaded("sources.minchat.auth.tokens_file");
    authority.certify("bridge").write(dir.path(), "own");
    reloaded("http.tls.cert_file, http.tls.key_file");
    let other = ", other: {auth: {tokens: [another-token-of-this-test]}}";
    write(dir.path(), "config.yaml", &yaml(other, ""));
    reloaded("sources.other");
    let line = reloaded("nothing");
    assert!(!line.contains("WARN"), "{line}");
    assert!(!bridge.log().contains("wait for a restart"));

    write(dir.path(), "config.yaml", &yaml("", ", keep_alive: 10s"));
    reloaded("sources.other");
    bridge.await_log(&["WARN", "wait for a restart", "http.keep_alive"]);
    let routes = "routes: {unrecognized: {discard: true}}\n";
    write(
        dir.path(),
        "config.yaml",
        &format!("{}{routes}", yaml("", ", keep_alive: 75s")),
    );
    let back = reloaded("routes.unrecognized");
    let third = ", third: {auth: {tokens: [a-third-token-of-this-test]}}";
    let yaml = yaml(third, ", keep_alive: 75s");
    write(dir.path(), "config.yaml", &format!("{yaml}{routes}"));
    reloaded("sources.third");
    let log = bridge.log();
    let (_, since) = log.split_once(&back).expect("the line is in the log");
    assert!(
        !since.contains("wait for a restart"),
        "what runs is what the file says again"
    );
    for secret in [OLD, NEW, "another-token-of-this-test"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_reload_that_opens_a_source_to_everybody_says_so_once() {
    const OPEN: &str = "this source is open to everybody who reaches it from now on";
    let closed = format!("{{auth: {{tokens: [{OLD}]}}}}");
    let bridge = Process::start(&format!("sources: {{a: {closed}, b: {closed}}}\n"));
    let reload = |a: &str, b: &str, more: &str, changed: &str| {
        let yaml = format!("sources: {{a: {a}, b: {b}{more}}}\n");
        write(bridge.path(), "config.yaml", &yaml);
        bridge.signal("HUP");
        let changed = format!("\"changed\":\"{changed}\"");
        bridge.await_log(&["reloaded the configuration", &changed]);
    };
    let warned = |source: &str| {
        let source = format!("\"source\":\"{source}\"");
        let log = bridge.log();
        let lines = log.lines().filter(|line| line.contains(OPEN));
        lines
            .filter(|line| line.contains("WARN") && line.contains(&source))
            .count()
    };
    let open = "{auth: {none: true}}";
    reload(
        &closed,
        &closed,
        ", c: {auth: {tokens: [a-token-that-is-long-enough]}}",
        "sources.c",
    );
    assert_eq!((warned("a"), warned("b"), warned("c")), (0, 0, 0));
    reload(
        &closed,
        open,
        "",
        "sources.b.auth.none, sources.b.auth.tokens, sources.c",
    );
    assert_eq!((warned("a"), warned("b")), (0, 1));
    reload(&closed, open, ", d: {auth: {none: true}}", "sources.d");
    assert_eq!((warned("a"), warned("b"), warned("d")), (0, 1, 1));
    reload(
        open,
        &closed,
        ", d: {auth: {none: true}}",
        "sources.a.auth.none, sources.a.auth.tokens, sources.b.auth.none, sources.b.auth.tokens",
    );
    assert_eq!((warned("a"), warned("b"), warned("d")), (1, 1, 1));
}

#[test]
fn what_a_file_that_was_cut_leaves_out_is_told_with_how_to_mean_it() {
    let (dir, own) = (dir(), Authority::new("servers"));
    own.certify("bridge").write(dir.path(), "own");
    write(dir.path(), "clients.pem", own.pem());
    let yaml = |mtls: &str| {
        format!(
            "http: {{tls: {{cert_file: own.pem, key_file: own.key, client_ca_file: clients.pem}}}}\n\
             sources: {{minchat: {{auth: {{mtls: {mtls}}}}}}}\n"
        )
    };
    let bridge = Process::start_in(dir.clone(), &yaml("{names: [relay.example.com]}"));
    write(dir.path(), "config.yaml", &yaml("{}"));
    bridge.signal("HUP");
    let line = bridge.await_log(&["ERROR", STAYS, "sources.minchat.auth.mtls.names was given"]);
    assert!(line.contains("restart the bridge"), "{line}");
    assert!(!line.contains("allow_from"), "{line}");
}
