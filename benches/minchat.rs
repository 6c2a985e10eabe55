//! What it costs to read a payload and to write its data.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use minchat_bridge::minchat::{SAMPLES, read};

fn sample(name: &str) -> &'static str {
    SAMPLES
        .iter()
        .find(|sample| sample.name == name)
        .expect("a sample of that name")
        .json
}

/// The sample without white space, its text made longer until the body has `len` bytes.
fn compact(name: &str, len: usize) -> Vec<u8> {
    let mut body = Vec::new();
    read(sample(name).as_bytes(), None)
        .expect("a payload")
        .write_data(&mut body);
    let padding = " Hello guys!"
        .bytes()
        .cycle()
        .take(len.saturating_sub(body.len()));
    let text = body
        .windows(11)
        .position(|window| window == b"Hello guys!")
        .expect("a text");
    body.splice(text + 11..text + 11, padding);
    body
}

fn payloads(c: &mut Criterion) {
    let old = br#"{"sentBy":{"id":"639575b2c280a7001e892906","name":"Samantha Smith","createdAt":"d"},"sentTo":[{"id":"639575b2c280a7001e892906","name":"Jackie"}],"text":"Hello guys!","channelId":"63d3e12d669fc928b3d78f80"}"#;
    let mut group = c.benchmark_group("minchat");
    for (name, body) in [
        ("message of 500 bytes", compact("message-sent.current", 500)),
        (
            "message of 64 KiB",
            compact("message-sent.current", 64 << 10),
        ),
        (
            "message with white space",
            sample("message-sent.current").into(),
        ),
        ("message in old spellings", old.to_vec()),
    ] {
        let mut out = Vec::with_capacity(body.len() + 64);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                out.clear();
                read(black_box(&body), None)
                    .expect("a payload")
                    .write_data(&mut out);
                black_box(&mut out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, payloads);
criterion_main!(benches);
