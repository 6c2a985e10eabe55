//! Bodies: whole, in pieces, packed, too large, too slow, broken off.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{PAYLOAD, webhook, webhook_with_token};
use crate::bridge::Bridge;
use crate::client::Request;

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(bytes.as_ref())
        .expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}

fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(bytes.as_ref(), 3).expect("memory takes every byte")
}

#[test]
fn a_body_is_whole_however_it_is_cut() {
    let bridge = Bridge::start();
    let long = format!(r#"{{"sent_by":{{}},"text":"{}"}}"#, "x".repeat(60_000));
    for body in [PAYLOAD, &long] {
        let request = Request::post("/webhooks/open", body);
        for bytes in [request.bytes(), request.chunked(1000), request.chunked(7)] {
            for piece in [bytes.len(), 20_000, 1_001] {
                let mut connection = bridge.connect();
                bytes
                    .chunks(piece)
                    .for_each(|piece| assert!(connection.send(piece)));
                assert_eq!(connection.answer().expect("an answer").status, 202);
            }
        }
    }
    let delivered = bridge.published();
    assert_eq!(delivered.len(), 18);
    assert!(
        delivered
            .iter()
            .all(|envelope| *envelope == PAYLOAD || *envelope == long)
    );
}

#[test]
fn a_body_in_single_bytes_is_taken() {
    let bridge = Bridge::start();
    let mut connection = bridge.connect();
    for byte in webhook().bytes() {
        connection.send([byte]);
    }
    assert_eq!(connection.answer().expect("an answer").status, 202);
}

#[test]
fn a_packed_body_is_unpacked() {
    let bridge = Bridge::start();
    let two_members = [gzip(&PAYLOAD[..10]), gzip(&PAYLOAD[10..])].concat();
    for (encoding, body) in [
        ("gzip", gzip(PAYLOAD)),
        ("GZip", gzip(PAYLOAD)),
        ("x-gzip", gzip(PAYLOAD)),
        ("gzip", two_members),
        ("zstd", zstd(PAYLOAD)),
        ("identity", PAYLOAD.into()),
        ("", PAYLOAD.into()),
    ] {
        let answer = Request::post("/webhooks/open", body)
            .with("content-encoding", encoding)
            .send_to(bridge.webhooks());
        assert_eq!(answer.status, 202, "{encoding}: {}", answer.text());
    }
    assert!(
        bridge
            .published()
            .iter()
            .all(|envelope| envelope == PAYLOAD)
    );
}

#[test]
fn a_bomb_is_too_large() {
    let bridge = Bridge::start();
    let zeros = vec![b'0'; 200 << 20];
    for (encoding, body) in [("gzip", gzip(&zeros[..20 << 20])), ("zstd", zstd(&zeros))] {
        assert!(
            body.len() < 64 << 10,
            "{} bytes get past the first check",
            body.len()
        );
        let answer = Request::post("/webhooks/open", body)
            .with("content-encoding", encoding)
            .send_to(bridge.webhooks());
        assert_eq!(
            answer.slug().as_deref(),
            Some("payload-too-large"),
            "{encoding}"
        );
    }
    assert_eq!(bridge.published(), [""; 0]);
}

#[test]
fn a_body_that_does_not_fit_its_encoding_is_a_dead_letter_as_it_came() {
    let bridge = Bridge::start();
    let torn = |whole: Vec<u8>| whole[..whole.len() - 5].to_vec();
    for (encoding, body) in [
        ("gzip", b"plain".to_vec()),
        ("zstd", b"plain".to_vec()),
        ("gzip", torn(gzip(PAYLOAD))),
        ("zstd", torn(zstd(PAYLOAD))),
    ] {
        let answer = Request::post("/webhooks/open", body)
            .with("content-encoding", encoding)
            .send_to(bridge.webhooks());
        assert_eq!(
            answer.slug().as_deref(),
            Some("malformed-json"),
            "{encoding}"
        );
        assert!(answer.json()["dead_letter_id"].is_string());
    }
    assert!(bridge.published()[0].contains(r#""body":"plain""#));
}

#[test]
fn a_body_is_too_large_as_soon_as_that_is_known() {
    let bridge = Bridge::start();
    let mut declared = bridge.connect();
    declared.send(webhook().head("content-length: 65537\r\n"));
    assert_eq!(declared.answer().expect("an answer").status, 413);

    let mut chunked = bridge.connect();
    chunked.send(webhook().head("transfer-encoding: chunked\r\n"));
    chunked.send(format!("10001\r\n{}", "x".repeat(65_537)));
    assert_eq!(
        chunked.answer().expect("an answer").status,
        413,
        "the chunk's end is still missing"
    );

    let just_fits = format!("\"{}\"", "x".repeat((64 << 10) - 2));
    for bytes in [
        Request::post("/webhooks/open", &just_fits).bytes(),
        Request::post("/webhooks/open", &just_fits).chunked(5000),
    ] {
        let mut connection = bridge.connect();
        connection.send(bytes);
        assert_eq!(connection.answer().expect("an answer").status, 202);
    }
}

#[test]
fn a_body_that_does_not_come_is_cut_and_so_is_its_connection() {
    let bridge = Bridge::with(|settings| settings.body_timeout = Duration::from_millis(300));
    for part in ["", "{", &PAYLOAD[..20]] {
        let began = Instant::now();
        let mut connection = bridge.connect();
        connection.send(webhook().head("content-length: 1000\r\n"));
        connection.send(part);
        let answer = connection.answer().expect("an answer");
        assert_eq!(
            (answer.status, answer.slug().as_deref()),
            (408, Some("body-timeout"))
        );
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(
            (300..2000).contains(&began.elapsed().as_millis()),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(connection.rest(), "");
    }
    bridge.await_metric("minchat_bridge_http_requests_in_flight", 0.0);
    bridge.await_metric("minchat_bridge_http_in_flight_bytes", 0.0);
}

#[test]
fn a_body_that_trickles_is_cut_at_the_timeout_too() {
    let bridge = Bridge::with(|settings| settings.body_timeout = Duration::from_millis(500));
    let mut connection = bridge.connect();
    connection.send(webhook().head("content-length: 1000\r\n"));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(700) {
        connection.send("x");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(connection.answer().expect("an answer").status, 408);
}

#[test]
fn a_body_under_the_slowest_rate_is_cut_and_one_above_it_is_not() {
    let bridge = Bridge::with(|settings| {
        settings.body_timeout = Duration::from_secs(60);
        settings.body_min_rate = 2000;
    });
    // Every tenth of a second: 100 bytes are 1000 a second, 400 are 4000.
    for (step, status) in [(100, 408), (400, 202)] {
        let body = format!("\"{}\"", "x".repeat(step * 60 - 2));
        let began = Instant::now();
        let mut connection = bridge.connect();
        connection.send(webhook().head(&format!("content-length: {}\r\n", body.len())));
        for piece in body.as_bytes().chunks(step) {
            if !connection.send(piece) || began.elapsed() > Duration::from_secs(5) {
                break;
            }
            std::thread::sleep(Duration::from_millis(if step == 100 { 100 } else { 60 }));
        }
        assert_eq!(connection.answer().expect("an answer").status, status);
        assert!(
            began.elapsed() >= Duration::from_secs(2),
            "nothing is judged in the first two seconds"
        );
    }
}

#[test]
fn a_body_that_breaks_off_goes_nowhere() {
    let bridge = Bridge::start();
    let mut connection = bridge.connect();
    connection.send(webhook().head("content-length: 1000\r\n"));
    connection.send(PAYLOAD);
    connection.shut_sending_down();
    let answer = connection.answer();
    assert!(answer.is_none_or(|answer| answer.status == 408));
    bridge.await_metric("minchat_bridge_http_requests_in_flight", 0.0);
    assert_eq!(bridge.published(), [""; 0]);
}

#[test]
fn as_many_requests_as_allowed_are_in_flight() {
    let bridge = Bridge::with(|settings| settings.max_in_flight = 1);
    let mut slow = bridge.connect();
    slow.send(webhook().head(&format!("content-length: {}\r\n", PAYLOAD.len())));
    bridge.await_metric("minchat_bridge_http_requests_in_flight", 1.0);
    let answer = webhook().send_to(bridge.webhooks());
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("1"))
    );
    assert_eq!(
        Request::post("/webhooks/minchat", "")
            .send_to(bridge.webhooks())
            .status,
        401,
        "that needs no room"
    );
    slow.send(PAYLOAD);
    assert_eq!(slow.answer().expect("an answer").status, 202);
    assert_eq!(webhook().send_to(bridge.webhooks()).status, 202);
}

#[test]
fn as_many_bytes_as_allowed_are_in_flight() {
    let bridge = Bridge::with(|settings| settings.max_in_flight_bytes = 1000);
    let mut slow = bridge.connect();
    slow.send(webhook().head("content-length: 1000\r\n"));
    slow.send(format!("\"{}", "x".repeat(949)));
    bridge.await_metric("minchat_bridge_http_in_flight_bytes", 950.0);
    let answer = webhook().send_to(bridge.webhooks());
    assert_eq!(
        (answer.status, answer.slug().as_deref()),
        (429, Some("too-many-requests"))
    );
    slow.send(format!("{}\"", "x".repeat(49)));
    assert_eq!(slow.answer().expect("an answer").status, 202);
    let unpacked =
        Request::post("/webhooks/open", gzip("0".repeat(2000))).with("content-encoding", "gzip");
    assert_eq!(
        unpacked.send_to(bridge.webhooks()).status,
        429,
        "what is unpacked counts"
    );
    assert_eq!(webhook().send_to(bridge.webhooks()).status, 202);
    bridge.await_metric("minchat_bridge_http_in_flight_bytes", 0.0);
}

#[test]
fn credentials_are_asked_for_before_the_body_comes() {
    let bridge = Bridge::start();
    let mut connection = bridge.connect();
    connection.send(Request::post("/webhooks/minchat", "").head("content-length: 50\r\n"));
    assert_eq!(connection.answer().expect("an answer").status, 401);
    let mut connection = bridge.connect();
    connection.send(webhook_with_token().head(&format!(
        "expect: 100-continue\r\ncontent-length: {}\r\n",
        PAYLOAD.len()
    )));
    assert_eq!(connection.answer().expect("an interim answer").status, 100);
    connection.send(PAYLOAD);
    assert_eq!(connection.answer().expect("an answer").status, 202);
}
