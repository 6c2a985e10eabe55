//! No credential is ever shown: not in a log at its most talkative, a metric, an answer, an event, a
//! dead letter, a probe, or what the commands print.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::PAYLOAD;
use super::tls_client::TlsClient;
use crate::authority::Authority;
use crate::client::{Request, get};
use crate::process::{Process, program};

/// Each credential, and what it becomes on its way: no part of any of them may be seen.
const SECRETS: [(&str, &str); 9] = [
    ("a token", "tokenA7pQ2mX9vK4wL8sT3"),
    ("a token from a file", "tokenB7pQ2mX9vK4wL8sT3"),
    ("a token that is wrong", "tokenC7pQ2mX9vK4wL8sT3"),
    ("an HMAC secret", "hmacsecret7pQ2mX9vK4wL8sT3"),
    (
        "a secret of Standard Webhooks",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka",
    ),
    ("a password of Kafka", "kafkapasswordkafka"),
    ("a password of RabbitMQ, in a URI", "amqppasswordamqp"),
    ("a token that a reload brings", "tokenD7pQ2mX9vK4wL8sT3"),
    ("a private key", "PRIVATE KEY"),
];

const YAML: &str = r#"
http: {tls: {cert_file: own.pem, key_file: own.key, client_ca_file: authority.pem}}
log: {level: trace}
sources:
  minchat:
    auth:
      tokens: [tokenA7pQ2mX9vK4wL8sT3]
      hmac: {secrets: [hmacsecret7pQ2mX9vK4wL8sT3]}
      standard_webhooks: {secrets: [whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka]}
      mtls: {names: [relay]}
  files: {auth: {tokens_file: tokens}}
file: {dir: data/events}
kafka:
  bootstrap_servers: 127.0.0.1:1
  security_protocol: sasl_plaintext
  sasl: {username: bridge, password: kafkapasswordkafka}
amqp: {uri: 'amqp://bridge:amqppasswordamqp@127.0.0.1:1'}
spool: {max_size: 0}
routes:
  message.sent: {file: {}}
  conversation.created: {file: {}}
  ai-agent.action: {file: {}}
  user.daily-active: {file: {}}
  unrecognized: {kafka: {}, amqp: {}}
  dead-letter: {file: {}}
"#;

/// What can be seen from outside, gathered as a test goes.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn add(&mut self, what: &str, text: impl Into<String>) {
        self.0.push((what.to_owned(), text.into()));
    }

    /// Every file that the bridge wrote.
    fn add_files(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => self.add_files(&path),
                path => {
                    let bytes = fs::read(&path).expect("it can be read");
                    self.add(&path.display().to_string(), String::from_utf8_lossy(&bytes));
                }
            }
        }
    }

    fn assert_no_secret(&self) {
        for (what, text) in &self.0 {
            for (which, secret) in SECRETS {
                let forms = [secret.to_owned(), STANDARD.encode(format!("user:{secret}"))];
                let shown = forms.iter().find(|form| text.contains(form.as_str()));
                assert!(shown.is_none(), "{which} is in {what}:\n{text}");
            }
        }
    }
}

fn dir() -> Arc<TempDir> {
    let dir = TempDir::new().expect("a directory can be made");
    let authority = Authority::new("servers");
    authority.certify("bridge").write(dir.path(), "own");
    fs::write(dir.path().join("authority.pem"), authority.pem()).expect("it can be written");
    fs::write(dir.path().join("tokens"), "tokenB7pQ2mX9vK4wL8sT3\n").expect("it can be written");
    Arc::new(dir)
}

fn requests() -> Vec<Request> {
    let post = |target: &str, body: &str| Request::post(target, body);
    let basic = |token: &str| format!("Basic {}", STANDARD.encode(format!("user:{token}")));
    vec![
        post("/webhooks/minchat?token=tokenA7pQ2mX9vK4wL8sT3", PAYLOAD),
        post(
            "/webhooks/minchat?token=tokenA7pQ2mX9vK4wL8sT3&dry_run=true",
            PAYLOAD,
        ),
        post("/webhooks/minchat?token=tokenA7pQ2mX9vK4wL8sT3", "not json"),
        post(
            "/webhooks/minchat/nonsense?token=tokenA7pQ2mX9vK4wL8sT3",
            PAYLOAD,
        ),
        post("/webhooks/minchat?token=tokenA7pQ2mX9vK4wL8sT3", "[]"),
        post("/webhooks/minchat?token=tokenC7pQ2mX9vK4wL8sT3", PAYLOAD),
        post("/webhooks/nobody?token=tokenC7pQ2mX9vK4wL8sT3", PAYLOAD),
        post("/webhooks/tokenC7pQ2mX9vK4wL8sT3", PAYLOAD),
        post("/tokenC7pQ2mX9vK4wL8sT3", PAYLOAD),
        post("/webhooks/minchat", PAYLOAD).with("authorization", "Bearer tokenA7pQ2mX9vK4wL8sT3"),
        post("/webhooks/minchat", "not json")
            .with("authorization", &basic("tokenA7pQ2mX9vK4wL8sT3")),
        post("/webhooks/minchat", PAYLOAD).with("authorization", &basic("tokenC7pQ2mX9vK4wL8sT3")),
        post("/webhooks/minchat", PAYLOAD).with("x-signature", "tokenC7pQ2mX9vK4wL8sT3"),
        post("/webhooks/files", "not json").with("authorization", "Bearer tokenB7pQ2mX9vK4wL8sT3"),
        post("/webhooks/files", PAYLOAD)
            .with("authorization", "Bearer tokenB7pQ2mX9vK4wL8sT3")
            .with("content-encoding", "tokenB7pQ2mX9vK4wL8sT3"),
    ]
}

#[test]
fn no_credential_is_ever_shown() {
    let dir = dir();
    let bridge = Process::start_in(dir.clone(), YAML);
    let mut seen = Seen::default();
    let authority = fs::read_to_string(dir.path().join("authority.pem")).expect("it is there");
    let client = TlsClient::trusting(&authority);
    let mut statuses = Vec::new();
    for request in requests() {
        let mut connection = client
            .connect(bridge.webhooks())
            .expect("the handshake is done");
        let (status, text) = connection
            .exchange_text(&request.bytes())
            .expect("an answer");
        seen.add(&format!("the answer to {}", request.target), text);
        statuses.push(status);
    }
    for expected in [202, 200, 400, 401, 404, 415, 503] {
        assert!(
            statuses.contains(&expected),
            "{statuses:?} has no {expected}"
        );
    }
    bridge.await_log(&["out of reach", "kafka"]);
    bridge.await_log(&["out of reach", "amqp"]);
    let with_a_new_token = YAML.replace("tokenA7pQ2mX9vK4wL8sT3", "tokenD7pQ2mX9vK4wL8sT3");
    for yaml in [
        format!("{with_a_new_token}\nnonsense: 1\n"),
        with_a_new_token,
    ] {
        fs::write(dir.path().join("config.yaml"), yaml).expect("it can be written");
        bridge.signal("HUP");
        bridge.await_log(&[if bridge.log().contains("old one stays") {
            "reloaded the"
        } else {
            "old one stays"
        }]);
    }
    for path in ["/metrics", "/readyz?verbose", "/livez", "/version"] {
        seen.add(path, get(bridge.admin(), path).text());
    }
    let config = dir.path().join("config.yaml").display().to_string();
    for command in ["config", "check"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
            .args([command, "--config", &config])
            .current_dir(dir.path())
            .output()
            .expect("the program can be run");
        assert!(output.status.success());
        seen.add(
            command,
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()),
        );
    }
    seen.add_files(&dir.path().join("data"));
    seen.add("the log", bridge.log());
    assert!(
        seen.0
            .iter()
            .any(|(what, text)| what.contains("dead-letter") && text.contains("not json"))
    );
    seen.assert_no_secret();
}

#[test]
fn no_credential_is_in_what_is_said_of_a_configuration_that_does_not_hold() {
    let mut seen = Seen::default();
    for yaml in [
        "sources: {minchat: {auth: {tokens: [tokenA7pQ2mX9vK4wL8sT3, tokenA7pQ2mX9vK4wL8sT3]}}}",
        "sources: {minchat: {auth: {tokens: tokenA7pQ2mX9vK4wL8sT3}}}",
        "sources: {minchat: {auth: {tokens: {tokenA7pQ2mX9vK4wL8sT3: 1}}}}",
        "sources: {minchat: {auth: {hmac: {secrets: hmacsecret7pQ2mX9vK4wL8sT3}}}}",
        "sources: {minchat: {auth: {hmac: {secrets: [hmacsecret7pQ2mX9vK4wL8sT3, hmacsecret7pQ2mX9vK4wL8sT3]}}}}",
        "sources: {minchat: {auth: {standard_webhooks: {secrets: [AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka]}}}}",
        "kafka: {bootstrap_servers: a, sasl: {username: u, password: [kafkapasswordkafka]}}",
        "amqp: {uri: 'amqp://u:amqppasswordamqp@a b'}",
        "amqp: {uri: 'http://u:amqppasswordamqp@a'}",
        "http: {tls: {cert_file: own.key, key_file: own.pem}}",
    ] {
        let dir = dir();
        let file = dir.path().join("config.yaml");
        fs::write(&file, yaml).expect("it can be written");
        for command in ["serve", "check", "config"] {
            let (code, text) = program(&[command, "--config"], &[&file.display().to_string()]);
            assert_eq!(code, 78, "{yaml}: {text}");
            seen.add(&format!("what {command} says of {yaml:.40}"), text);
        }
    }
    seen.assert_no_secret();
}
