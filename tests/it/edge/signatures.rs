//! Signatures of the body, alone and beside other credentials.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{PAYLOAD, published};
use crate::client::{Connection, Request};
use crate::process::Process;

const YAML: &str = r#"
sources:
  minchat:
    auth:
      tokens: [a-token-that-is-long-enough]
      hmac: {secrets: [the-secret-before-the-last, a-secret-of-its-own], prefix: "sha256="}
      standard_webhooks: {secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
  timed:
    auth:
      hmac:
        secrets_file: secrets
        header: x-signed
        encoding: base64
        timestamp_header: x-timestamp
        tolerance: 1m
"#;

/// The key that the secret of Standard Webhooks above stands for.
const STANDARD_KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(super) fn bridge() -> Process {
    let dir = std::sync::Arc::new(tempfile::tempdir().expect("a directory can be made"));
    let secrets = "from-a-file-and-long-enough\n\nand-another-one-of-them\n";
    std::fs::write(dir.path().join("secrets"), secrets).expect("it can be written");
    Process::start_in(dir, YAML)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("every length is taken");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// The signature of a body.
pub(super) fn hex(key: &str, body: &[u8]) -> String {
    let bytes = mac(key.as_bytes(), &[body]);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.expect("it is later than 1970").as_secs();
    i64::try_from(seconds).expect("it is not that late")
}

/// A request of Standard Webhooks, signed for this time.
pub(super) fn standard(id: &str, at: i64, body: &[u8]) -> Request {
    let key = STANDARD.decode(STANDARD_KEY).expect("it is base64");
    let at = at.to_string();
    let signed = mac(&key, &[id.as_bytes(), b".", at.as_bytes(), b".", body]);
    Request::post("/webhooks/minchat", body)
        .with("webhook-id", id)
        .with("webhook-timestamp", &at)
        .with(
            "webhook-signature",
            &format!("v1,{}", STANDARD.encode(signed)),
        )
}

pub(super) fn timed(key: &str, at: i64) -> Request {
    let at = at.to_string();
    let signed = mac(key.as_bytes(), &[at.as_bytes(), b".", PAYLOAD.as_bytes()]);
    Request::post("/webhooks/timed", PAYLOAD)
        .with("x-timestamp", &at)
        .with("x-signed", &STANDARD.encode(signed))
}

pub(super) fn signed(key: &str, body: &[u8]) -> Request {
    Request::post("/webhooks/minchat", body)
        .with("x-signature", &format!("sha256={}", hex(key, body)))
}

#[test]
fn any_one_way_that_passes_lets_a_request_in() {
    let bridge = bridge();
    let key = "a-secret-of-its-own";
    let body = PAYLOAD.as_bytes();
    let wrong = signed("another-secret-altogether", body);
    let token =
        |request: Request| request.with("authorization", "Bearer a-token-that-is-long-enough");
    for (what, request, status) in [
        ("a signature", signed(key, body), 202),
        (
            "by the older secret",
            signed("the-secret-before-the-last", body),
            202,
        ),
        ("by another", signed("another-secret-altogether", body), 401),
        (
            "a token",
            token(Request::post("/webhooks/minchat", body)),
            202,
        ),
        ("a token and a wrong signature", token(wrong), 202),
        (
            "a wrong token and a signature",
            signed(key, body).with("authorization", "Bearer nonsense"),
            202,
        ),
        ("Standard Webhooks", standard("msg_1", now(), body), 202),
        (
            "the same, too old",
            standard("msg_1", now() - 302, body),
            401,
        ),
        (
            "the same, from the future",
            standard("msg_1", now() + 310, body),
            401,
        ),
        (
            "a time that overflows",
            standard("msg_1", i64::MIN, body),
            401,
        ),
        ("another", standard("msg_1", i64::MAX, body), 401),
        ("nothing", Request::post("/webhooks/minchat", body), 401),
        (
            "another's header",
            timed("from-a-file-and-long-enough", now()),
            202,
        ),
        (
            "the second of the file",
            timed("and-another-one-of-them", now()),
            202,
        ),
        (
            "too late",
            timed("from-a-file-and-long-enough", now() - 62),
            401,
        ),
        (
            "the token of another source",
            token(Request::post("/webhooks/timed", body)),
            401,
        ),
    ] {
        assert_eq!(bridge.send(&request).status, status, "{what}");
    }
    assert_eq!(published(&bridge, "message.sent").len(), 6);
    bridge.await_metric(
        &[
            "webhooks_rejected_total",
            "unauthorized",
            "source=\"minchat\"",
        ],
        6.0,
    );
}

#[test]
fn a_signature_is_over_the_bytes_on_the_wire() {
    let bridge = bridge();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed
        .write_all(PAYLOAD.as_bytes())
        .expect("memory takes it");
    let packed = packed.finish().expect("memory takes it");
    let key = "a-secret-of-its-own";
    let gzip = |request: Request| request.with("content-encoding", "gzip");
    assert_eq!(bridge.send(&gzip(signed(key, &packed))).status, 202);
    let over_the_unpacked = Request::post("/webhooks/minchat", &packed).with(
        "x-signature",
        &format!("sha256={}", hex(key, PAYLOAD.as_bytes())),
    );
    assert_eq!(bridge.send(&gzip(over_the_unpacked)).status, 401);
    let mut connection = Connection::open(bridge.webhooks());
    connection.send(gzip(signed(key, &packed)).chunked(7));
    assert_eq!(
        connection.answer().expect("an answer").status,
        202,
        "in chunks"
    );
    let spaced = PAYLOAD.replace(':', " : ");
    assert_eq!(
        bridge.send(&signed(key, spaced.as_bytes())).status,
        202,
        "white space counts"
    );
}

#[test]
fn the_id_of_a_verified_webhook_is_in_its_envelope() {
    let bridge = bridge();
    let token = "Bearer a-token-that-is-long-enough";
    let body = PAYLOAD.as_bytes();
    assert_eq!(
        bridge.send(&standard("msg_\"odd\"", now(), body)).status,
        202
    );
    assert_eq!(
        bridge
            .send(&signed("a-secret-of-its-own", body).with("webhook-id", "made-up"))
            .status,
        202
    );
    let unverified = standard("made-up", 1, body).with("authorization", token);
    assert_eq!(bridge.send(&unverified).status, 202);
    let ids: Vec<_> = published(&bridge, "message.sent")
        .iter()
        .map(|envelope| envelope.get("webhookid").cloned())
        .collect();
    assert_eq!(ids, [Some("msg_\"odd\"".into()), None, None]);
}

#[test]
fn nothing_unsigned_gets_any_further_and_what_is_signed_and_bad_is_a_dead_letter() {
    let bridge = bridge();
    let key = "a-secret-of-its-own";
    assert_eq!(
        bridge
            .send(&signed("another-secret-altogether", b"not json"))
            .status,
        401
    );
    assert!(published(&bridge, "dead-letter").is_empty());
    let bad = bridge.send(&signed(key, b"not json"));
    assert_eq!(bad.status, 400);
    assert_eq!(
        published(&bridge, "dead-letter")[0]["id"],
        bad.json["dead_letter_id"]
    );
    let too_large = vec![b' '; 600 << 10];
    assert_eq!(bridge.send(&signed(key, &too_large)).status, 413);
}

#[test]
fn a_body_is_read_only_for_a_signature_that_could_be_one() {
    let bridge = bridge();
    for request in [
        Request::post("/webhooks/minchat", ""),
        Request::post("/webhooks/minchat", "").with("x-signature", "sha256=short"),
        standard("msg_1", now() - 1000, b""),
    ] {
        let mut connection = Connection::open(bridge.webhooks());
        connection.send(request.head("content-length: 1000\r\n"));
        let answer = connection
            .answer()
            .expect("an answer, though no body ever came");
        assert_eq!(answer.status, 401);
    }
    let mut connection = Connection::open(bridge.webhooks());
    let request = signed("a-secret-of-its-own", PAYLOAD.as_bytes());
    connection.send(request.head(&format!(
        "content-length: {}\r\nexpect: 100-continue\r\n",
        PAYLOAD.len()
    )));
    assert_eq!(connection.answer().expect("an answer").status, 100);
    connection.send(PAYLOAD);
    assert_eq!(connection.answer().expect("an answer").status, 202);
}

#[test]
fn a_flood_of_wrong_signatures_takes_nothing_from_the_rate_of_a_source() {
    let yaml = YAML.replace(
        "  minchat:\n",
        "  minchat:\n    rate_limit: {per_second: 1, burst: 2}\n",
    );
    let bridge = Process::start(
        yaml.split("  timed:")
            .next()
            .expect("there is a first part"),
    );
    for _ in 0..20 {
        assert_eq!(
            bridge
                .send(&signed("another-secret-altogether", b"{}"))
                .status,
            401
        );
    }
    assert_eq!(
        bridge.send(&signed("a-secret-of-its-own", b"{}")).status,
        202
    );
    assert_eq!(bridge.send(&standard("msg_1", now(), b"{}")).status, 202);
    let statuses = [0; 3].map(|_| bridge.send(&signed("a-secret-of-its-own", b"{}")).status);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn a_configuration_with_signatures_shows_none_of_their_secrets() {
    let bridge = bridge();
    let config = std::process::Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
        .args(["config", "--config", "config.yaml"])
        .current_dir(bridge.path())
        .output()
        .expect("the program can be run");
    let text = String::from_utf8_lossy(&config.stdout).into_owned();
    assert!(
        text.contains("secrets: [\"***\", \"***\"]") && text.contains("secrets_file: secrets"),
        "{text}"
    );
    for secret in [
        "a-secret-of",
        "the-secret",
        "MfKQ",
        "a-token",
        "from-a-file",
        "and-another",
    ] {
        assert!(!text.contains(secret), "{text}");
    }
}
