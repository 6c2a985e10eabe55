//! Bounds on what a sender may do, through the binary.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::PAYLOAD;
use crate::client::Request;
use crate::process::Process;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).expect("memory takes it");
    packed.finish().expect("memory takes it")
}

/// A good payload of about that size, with a text of one letter.
fn blown_up(size: usize) -> String {
    PAYLOAD.replace("hello", &"a".repeat(size))
}

#[test]
fn what_is_unpacked_may_grow_a_hundredfold() {
    let bridge = Process::start("{}");
    for (size, ratio, detail) in [
        (60 << 10, "over 100, and small", None),
        (200 << 10, "over 100", Some("more than 100 times")),
        (
            600 << 10,
            "over 100, and too large",
            Some("more than 100 times"),
        ),
    ] {
        let text = blown_up(size);
        for (encoding, packed) in [
            ("gzip", gzip(text.as_bytes())),
            (
                "zstd",
                zstd::encode_all(text.as_bytes(), 3).expect("memory takes it"),
            ),
        ] {
            assert!(
                text.len() > 100 * packed.len(),
                "{ratio}: {} to {}",
                text.len(),
                packed.len()
            );
            let request =
                Request::post("/webhooks/minchat", &packed).with("content-encoding", encoding);
            let answer = request.send_to(bridge.webhooks());
            assert_eq!(
                answer.status,
                if detail.is_some() { 413 } else { 202 },
                "{encoding} {ratio}"
            );
            assert!(
                detail.is_none_or(|detail| answer.text().contains(detail)),
                "{}",
                answer.text()
            );
        }
    }
    bridge.await_metric(&["webhooks_rejected_total", "payload-too-large"], 4.0);
}
