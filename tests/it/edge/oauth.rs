//! A login to a real Kafka by OAUTHBEARER, with tokens of an identity provider that the test is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::cluster::Cluster;
use crate::node::Node;
use crate::payload::message;
use crate::process::{Process, await_some};

const SECRET: &str = "the-clients-secret";

/// Gives out tokens to whoever knows the secret, and its public key to everybody.
struct Provider {
    url: String,
    given: Arc<AtomicUsize>,
    /// Who wants a token is hung up on.
    down: Arc<AtomicBool>,
}

impl Provider {
    fn start() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("there is randomness");
        let key =
            EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("it was just made");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let given = Arc::new(AtomicUsize::new(0));
        let down = Arc::new(AtomicBool::new(false));
        let (count, is_down) = (given.clone(), down.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &key, &random, &count, &is_down);
            }
        });
        Provider {
            url: format!("http://{address}"),
            given,
            down,
        }
    }
}

fn answer(
    stream: TcpStream,
    key: &EcdsaKeyPair,
    random: &SystemRandom,
    given: &AtomicUsize,
    down: &AtomicBool,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        head.push_str(&line);
        line.clear();
    }
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let credentials = STANDARD.encode(format!("bridge:{SECRET}"));
    let (status, body) = if head.starts_with("GET /keys ") {
        ("200 OK", keys(key))
    } else if down.load(Ordering::Relaxed) {
        return None;
    } else if head.contains(&credentials) && body.starts_with(b"grant_type=client_credentials") {
        given.fetch_add(1, Ordering::Relaxed);
        let token = token(key, random);
        (
            "200 OK",
            format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#),
        )
    } else {
        (
            "401 Unauthorized",
            r#"{"error":"invalid_client"}"#.to_owned(),
        )
    };
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    (&stream).write_all(answer.as_bytes()).ok()
}

/// The public key, as a JSON Web Key (RFC 7518, section 6.2.1).
fn keys(key: &EcdsaKeyPair) -> String {
    let point = key.public_key().as_ref();
    let (x, y) = (
        URL_SAFE_NO_PAD.encode(&point[1..33]),
        URL_SAFE_NO_PAD.encode(&point[33..]),
    );
    format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"1","use":"sig","alg":"ES256","x":"{x}","y":"{y}"}}]}}"#
    )
}

fn token(key: &EcdsaKeyPair, random: &SystemRandom) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later than 1970")
        .as_secs();
    let claims = format!(
        r#"{{"sub":"bridge","aud":"kafka","iat":{now},"exp":{}}}"#,
        now + 3600
    );
    let signed = [r#"{"alg":"ES256","kid":"1","typ":"JWT"}"#, &claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let signature = key
        .sign(random, signed.as_bytes())
        .expect("there is randomness");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("it can be written");
}

fn kafka(provider: &Provider, certificates: &Path) -> Node {
    let listener = "listener.name.sasl_ssl.oauthbearer";
    let module = "org.apache.kafka.common.security.oauthbearer";
    let keys = format!("{}/keys", provider.url);
    let settings = [
        "sasl.enabled.mechanisms=OAUTHBEARER".to_owned(),
        format!("{listener}.sasl.jaas.config={module}.OAuthBearerLoginModule required;"),
        format!(
            "{listener}.sasl.server.callback.handler.class={module}.OAuthBearerValidatorCallbackHandler"
        ),
        format!("{listener}.sasl.oauthbearer.jwks.endpoint.url={keys}"),
        format!("{listener}.sasl.oauthbearer.expected.audience=kafka"),
    ];
    let certificates = certificates.display().to_string();
    let mut options = vec!["--tls", certificates.as_str()];
    options.extend(
        settings
            .iter()
            .flat_map(|setting| ["--set", setting.as_str()]),
    );
    Node::kafka_with(
        &format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}"),
        &options,
    )
}

/// Waits until an event is published without having to wait in the spool.
fn await_published(bridge: &Process) {
    await_some("an event that is published", || {
        let posted = bridge.post(&message("c1", "hi"));
        (posted.json["receipt"] == "published").then_some(())
    });
}

/// A Kafka that takes tokens of this provider, and a bridge before it with this secret.
fn kafka_and_bridge(provider: &Provider, secret: &str) -> (Node, Process) {
    let authority = Authority::new("the-authority");
    let certificates = TempDir::new().expect("a directory can be made");
    authority
        .certify("kafka")
        .write(certificates.path(), "server");
    write(certificates.path(), "ca.pem", authority.pem());
    let node = kafka(provider, certificates.path());
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    write(dir.path(), "ca.pem", authority.pem());
    write(dir.path(), "secret", secret);
    let yaml = format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\n\
         kafka:\n  bootstrap_servers: {}\n  create_topics: true\n  security_protocol: sasl_ssl\n  tls: {{ca_file: ca.pem}}\n  \
         sasl:\n    mechanism: OAUTHBEARER\n    \
         oauth: {{token_endpoint: '{}/token', client_id: bridge, client_secret_file: secret}}\n",
        node.env("KAFKA_SASL_SSL_BOOTSTRAP_SERVERS"),
        provider.url,
    );
    (node, Process::start_in(dir, &yaml))
}

/// The ids of the messages that are there, in order: all have one key.
fn ids(node: &Node) -> Vec<String> {
    let cluster = Cluster::at(&node.env("KAFKA_BOOTSTRAP_SERVERS"));
    let records = cluster.read("minchat.message.sent.v1");
    records
        .iter()
        .map(|record| record.id().to_owned())
        .collect()
}

#[test]
fn events_are_published_with_a_token_and_a_wrong_secret_is_told_until_it_is_right() {
    let provider = Provider::start();
    let (node, bridge) = kafka_and_bridge(&provider, "the-wr0ng-secret");
    bridge.await_log(&["ERROR", "until somebody mends this", "authentication"]);
    let waiting = bridge.post_spooled();
    assert_eq!(provider.given.load(Ordering::Relaxed), 0);
    write(bridge.path(), "secret", SECRET);
    await_published(&bridge);
    assert!(ids(&node).contains(&waiting));
    assert!(provider.given.load(Ordering::Relaxed) > 0);
    assert!(!bridge.log().contains(SECRET) && !bridge.log().contains("the-wr0ng-secret"));
}

#[test]
fn row_42_while_the_token_endpoint_is_down_events_wait_and_are_then_published_in_order() {
    let provider = Provider::start();
    provider.down.store(true, Ordering::Relaxed);
    let (node, bridge) = kafka_and_bridge(&provider, SECRET);
    bridge.await_ready();
    let waiting: Vec<_> = (0..20).map(|_| bridge.post_spooled()).collect();
    bridge.await_log(&["ERROR", "until somebody mends this", "authentication"]);
    assert_eq!(provider.given.load(Ordering::Relaxed), 0);
    provider.down.store(false, Ordering::Relaxed);
    await_published(&bridge);
    assert_eq!(ids(&node)[..waiting.len()], waiting);
    bridge.await_metric(&["spool_events"], 0.0);
    bridge.assert_the_books_balance();
}
