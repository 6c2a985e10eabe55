//! Whom `emit` and `healthcheck` trust at an `https` URL.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, IsCa};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::authority::{Authority, Certificate};
use crate::command::Ran;
use crate::process::Process;

const YAML: &str = "http: {tls: {cert_file: own.pem, key_file: own.key}}\n\
                    sources: {minchat: {auth: {tokens: [0123456789abcdef0123456789abcdef]}}}\n";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A bridge that speaks TLS with a certificate of the authority in `ca.pem`. That in `other.pem` is another, and that in
/// `namesake.pem` is another of the same name.
struct Setting {
    bridge: Process,
    authority: Authority,
}

impl Setting {
    fn start() -> Self {
        let authority = Authority::new("ours");
        let certificate = authority.certify("bridge");
        Self::with(authority, &certificate)
    }

    fn with(authority: Authority, certificate: &Certificate) -> Self {
        let dir = Arc::new(TempDir::new().expect("a directory can be made"));
        certificate.write(dir.path(), "own");
        let (other, namesake) = (Authority::new("another"), Authority::new("ours"));
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("other.pem", other.pem()),
            ("namesake.pem", namesake.pem()),
        ] {
            fs::write(dir.path().join(name), text).expect("it can be written");
        }
        fs::create_dir(dir.path().join("authorities")).expect("it can be made");
        fs::write(dir.path().join("authorities/ours.pem"), authority.pem())
            .expect("it can be written");
        let bridge = Process::start_in(dir, YAML);
        bridge.await_ready();
        Setting { bridge, authority }
    }

    /// `emit` of one webhook to the bridge.
    fn emit(&self, words: &[&str], env: &[(&str, &str)]) -> Ran {
        let url = format!(
            "https://localhost:{}/webhooks/minchat",
            self.bridge.webhooks().port()
        );
        let emit = ["emit", "message.sent", "--token", TOKEN, "--url", &url];
        self.run(&[&emit, words].concat(), env)
    }

    /// A command in the bridge's directory, which has nothing of the environment but these variables.
    fn run(&self, words: &[&str], env: &[(&str, &str)]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
            .args(words)
            .current_dir(self.bridge.path())
            .env_clear()
            .envs(env.iter().copied())
            .output();
        output.expect("the program can be run").into()
    }
}

/// Answers the one request of each connection with 200, over TLS.
fn answering(certificate: &Certificate) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(certificate.cert.as_bytes());
    let chain = chain.map(|one| one.expect("it is PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("it is PEM");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("they fit together");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("the settings hold");
            let mut stream = StreamOwned::new(session, stream);
            if stream.read(&mut [0; 1024]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    address
}

#[test]
fn emit_trusts_the_authorities_of_its_flag_or_else_those_of_the_system() {
    let setting = Setting::start();
    let untrusted = "of no authority that is trusted; name its authority with --ca-file";
    let (ours, other) = (
        &["--ca-file", "ca.pem"][..],
        &["--ca-file", "other.pem"][..],
    );
    let namesake = ["--ca-file", "namesake.pem"];
    let file = ("SSL_CERT_FILE", "ca.pem");
    let directory = ("SSL_CERT_DIR", "authorities");
    let other_file = ("SSL_CERT_FILE", "other.pem");
    for (what, words, env, code, says) in [
        ("its flag", ours, &[][..], 0, "published"),
        ("another by its flag", other, &[], 69, untrusted),
        ("one of the same name", &namesake, &[], 69, untrusted),
        ("whoever the system trusts", &[], &[], 69, untrusted),
        ("the system's file", &[], &[file], 0, "published"),
        ("the system's directory", &[], &[directory], 0, "published"),
        ("another by the system", &[], &[other_file], 69, untrusted),
        (
            "its flag against the system",
            ours,
            &[other_file],
            0,
            "published",
        ),
        ("its flag alone", other, &[file], 69, untrusted),
    ] {
        let ran = setting.emit(words, env);
        assert_eq!(ran.code, code, "{what}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(says), "{what}: {}", ran.stdout);
    }
    assert_eq!(setting.bridge.metric(&["webhooks_accepted_total"]), 4.0);
    // The address is in the certificate too.
    let url = format!("https://{}/webhooks/minchat", setting.bridge.webhooks());
    let words = [
        "emit",
        "--token",
        TOKEN,
        "--ca-file",
        "ca.pem",
        "--url",
        &url,
    ];
    setting.run(&words, &[]).with(0);
}

#[test]
fn healthcheck_trusts_the_same() {
    let setting = Setting::start();
    let address = answering(&setting.authority.certify("x"));
    let url = format!("https://localhost:{}/livez", address.port());
    let check = |words: &[&str], env: &[(&str, &str)]| {
        let words = [&["healthcheck", "--url", &url], words].concat();
        setting.run(&words, env)
    };
    let untrusted = "of no authority that is trusted; name its authority with --ca-file";
    check(&["--ca-file", "ca.pem"], &[]).with(0);
    check(&[], &[("SSL_CERT_FILE", "ca.pem")]).with(0);
    check(&[], &[("SSL_CERT_DIR", "authorities")]).with(0);
    check(&[], &[]).with(69).says(&[untrusted]);
    let words = ["--ca-file", "other.pem"];
    check(&words, &[("SSL_CERT_FILE", "ca.pem")])
        .with(69)
        .says(&[untrusted]);
    let bridge = format!(
        "https://localhost:{}/livez",
        setting.bridge.webhooks().port()
    );
    let words = ["healthcheck", "--ca-file", "ca.pem", "--url", &bridge];
    setting.run(&words, &[]).with(69).says(&["answered 404"]);
}

#[test]
fn a_certificate_for_another_name_is_told_with_the_names_that_it_has() {
    let authority = Authority::new("ours");
    let certificate = authority.certify_with("bridge", |params| {
        let name = "hooks.example.com".try_into().expect("it is a name");
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
    });
    let setting = Setting::with(authority, &certificate);
    setting
        .emit(&["--ca-file", "ca.pem"], &[])
        .with(69)
        .says(&["not valid for name \"localhost\"", "hooks.example.com"]);
    assert_eq!(setting.bridge.metric(&["webhooks_received_total"]), 0.0);
}

#[test]
fn a_certificate_that_is_an_authoritys_own_is_told() {
    let authority = Authority::new("ours");
    let certificate = authority.certify_with("bridge", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let setting = Setting::with(authority, &certificate);
    setting
        .emit(&["--ca-file", "ca.pem"], &[])
        .with(69)
        .says(&["an authority's own (CA:TRUE)"]);
}

#[test]
fn a_file_without_authorities_is_told_by_its_name_and_nothing_is_sent() {
    let setting = Setting::start();
    let dir = setting.bridge.path();
    let pem = setting.authority.pem();
    let torn = format!("{}{}", pem, &pem[..pem.len() / 2]);
    let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let files = [
        ("empty.pem", "", "no certificate (PEM)"),
        (
            "garbage.pem",
            "no certificate at all",
            "no certificate (PEM)",
        ),
        ("torn.pem", &torn, "not PEM"),
        ("block.pem", block, "a certificate that can't be read"),
    ];
    for (name, text, _) in files {
        fs::write(dir.join(name), text).expect("it can be written");
    }
    let files = files.map(|(name, _, says)| (name, says));
    let others = [
        ("own.key", "no certificate (PEM)"),
        ("gone.pem", "can't be read"),
        ("authorities", "can't be read"),
    ];
    let health = format!("http://{}/livez", setting.bridge.admin());
    for (name, says) in files.into_iter().chain(others) {
        let words = ["--ca-file", name];
        setting.emit(&words, &[]).with(78).says(&[name, says]);
        let check = ["healthcheck", "--url", &health, "--ca-file", name];
        setting.run(&check, &[]).with(78).says(&[name, says]);
    }
    let none = [("SSL_CERT_FILE", "gone.pem")];
    setting
        .emit(&[], &none)
        .with(78)
        .says(&["no authorities", "gone.pem", "--ca-file"]);
    assert_eq!(setting.bridge.metric(&["webhooks_received_total"]), 0.0);
    // Where no TLS is spoken, nobody has to be trusted.
    let check = ["healthcheck", "--url", &health];
    setting.run(&check, &none).with(0);
}

#[test]
fn a_token_that_is_not_there_is_told_and_nothing_is_sent() {
    let bridge = Process::start(
        "sources: {minchat: {auth: {tokens: [0123456789abcdef0123456789abcdef]}}}\n",
    );
    bridge.await_ready();
    let url = format!("http://{}/webhooks/minchat", bridge.webhooks());
    let emit = |words: &[&str], env: &[(&str, &str)]| -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
            .args(["emit", "message.sent", "--url", &url])
            .args(words)
            .current_dir(bridge.path())
            .env_clear()
            .envs(env.iter().copied())
            .output();
        output.expect("the program can be run").into()
    };
    for (name, text, says) in [
        ("empty", String::new(), "has no token in its first line"),
        (
            "blank",
            format!("  \n{TOKEN}\n"),
            "has no token in its first line",
        ),
        (
            "marked",
            format!("\u{feff}{TOKEN}\n"),
            "begins with a byte order mark",
        ),
        (
            "odd",
            format!("{TOKEN}\u{200b}\n"),
            "has something in its first line that is not printable ASCII",
        ),
        (
            "torn",
            format!("{TOKEN}\u{7}\n"),
            "has something in its first line that is not printable ASCII",
        ),
    ] {
        fs::write(bridge.path().join(name), text).expect("it can be written");
        let ran = emit(&["--token-file", name], &[]).with(78);
        let line = format!("minchat-bridge emit: the token's file {name} {says}");
        assert!(ran.stderr.starts_with(&line), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains(TOKEN), "{}", ran.stderr);
    }
    fs::write(bridge.path().join("good"), format!("{TOKEN}\n")).expect("it can be written");
    let both = ["--token", "x", "--token-file", "good"];
    emit(&both, &[])
        .with(64)
        .says(&["--token <T>", "cannot be used with", "--token-file <FILE>"]);
    emit(&["--token-file", "gone"], &[])
        .with(74)
        .says(&["gone"]);
    assert_eq!(bridge.metric(&["webhooks_received_total"]), 0.0);
    assert_eq!(bridge.metric(&["http_requests_total", "webhooks"]), 0.0);
    // A flag wins over the variable.
    let variable = |token| [("MINCHAT_BRIDGE_TOKEN", token)];
    emit(&["--token-file", "good"], &variable("wrong")).with(0);
    emit(&["--token", TOKEN], &variable("wrong")).with(0);
    emit(&[], &variable(TOKEN)).with(0);
    emit(&[], &variable("wrong")).with(78).says(&["401"]);
}

#[test]
fn the_wrong_scheme_is_told_with_the_right_one() {
    let setting = Setting::start();
    let (tls, plain) = (setting.bridge.webhooks(), setting.bridge.admin());
    for (url, says) in [
        (
            format!("http://{tls}/livez"),
            "if the server speaks TLS, write https://",
        ),
        (
            format!("https://{plain}/livez"),
            "the server does not speak TLS; write http://",
        ),
    ] {
        let words = ["--ca-file", "ca.pem", "--url", &url];
        let ran = setting.run(&[&["healthcheck"][..], &words].concat(), &[]);
        ran.with(69).says(&[says]);
        let emit = ["emit", "message.sent", "--token", TOKEN];
        setting
            .run(&[&emit[..], &words].concat(), &[])
            .with(69)
            .says(&[says]);
    }
}

#[test]
fn a_file_of_the_system_that_is_not_there_is_told_even_beside_a_directory() {
    let setting = Setting::start();
    for file in ["gone.pem", "authorities"] {
        let env = [("SSL_CERT_FILE", file), ("SSL_CERT_DIR", "authorities")];
        let named = format!("SSL_CERT_FILE names {file}");
        setting
            .emit(&[], &env)
            .with(78)
            .says(&["no authorities", &named, "--ca-file"]);
        let url = format!(
            "https://localhost:{}/livez",
            setting.bridge.webhooks().port()
        );
        let check = setting.run(&["healthcheck", "--url", &url], &env);
        check.with(78).says(&[&named]);
    }
    assert_eq!(setting.bridge.metric(&["webhooks_received_total"]), 0.0);
}
