//! Classify, normalize and seal: what a payload costs before it is handed to anybody.

use std::time::SystemTime;

use criterion::{Criterion, criterion_group, criterion_main};
use minchat_bridge::envelope::settings::Settings;
use minchat_bridge::envelope::{Received, Sealer};
use minchat_bridge::minchat::{self, SAMPLES};

fn seal(criterion: &mut Criterion) {
    let settings = Settings {
        schema_base: "tag:minchat.io,2026:bridge:schema:".to_owned(),
    };
    let sealer = Sealer::new(&settings, [("minchat", "/webhooks/minchat")]);
    let sample = SAMPLES
        .iter()
        .find(|sample| sample.name == "message-sent.current")
        .expect("there is such a sample");
    let value: serde_json::Value = serde_json::from_str(sample.json).expect("a sample is JSON");
    let mut body = value.to_string();
    // MinChat sends compact JSON; the text makes it 500 bytes.
    body = body.replace(
        "Hello guys!",
        &format!("Hello guys!{}", "o".repeat(500 - body.len())),
    );
    assert_eq!(body.len(), 500);
    criterion.bench_function(
        "classify, normalize and seal 500 bytes of today's shape",
        |bencher| {
            bencher.iter(|| {
                let payload = minchat::read(body.as_bytes(), None).expect("it is JSON");
                let received = Received {
                    source: 0,
                    said: None,
                    content_type: Some("application/json"),
                    traceparent: None,
                    tracestate: None,
                    webhook_id: None,
                    body: body.as_bytes(),
                    at: SystemTime::now(),
                };
                sealer.seal(&received, &payload)
            });
        },
    );
}

criterion_group!(benches, seal);
criterion_main!(benches);
