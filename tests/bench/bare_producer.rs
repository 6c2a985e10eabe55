//! What draining is measured against: a bare producer that sends the same records to Kafka, and waits for all confirms.
//!
//! Takes the servers, the topic and a file of JSON Lines, as `minchat-bridge spool export` writes it. Prints events a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

struct Count(Arc<AtomicUsize>);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "the broker takes everything");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, servers, topic, file] = &arguments[..] else {
        return Err("takes servers, topic and file".into());
    };
    let envelopes = std::fs::read_to_string(file)?;
    let confirmed = Arc::new(AtomicUsize::new(0));
    // As the bridge's own producers.
    let producer: ThreadedProducer<Count> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("compression.codec", "lz4")
        .set("linger.ms", "0")
        .set("batch.size", "524288")
        .set("queue.buffering.max.messages", "0")
        .set("partitioner", "murmur2_random")
        .create_with_context(Count(Arc::clone(&confirmed)))?;
    let mut events = 0;
    let send = |key: &str, envelope: &str| {
        let content_type = Header {
            key: "content-type",
            value: Some("application/cloudevents+json; charset=UTF-8"),
        };
        let record = BaseRecord::to(topic).key(key).payload(envelope);
        let record = record.headers(OwnedHeaders::new_with_capacity(1).insert(content_type));
        producer.send(record).map_err(|(error, _)| error)
    };
    // The first confirm of a producer takes half a second.
    send("warm", "up")?;
    while confirmed.load(Ordering::Relaxed) < 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let began = Instant::now();
    for envelope in envelopes.lines() {
        let key = envelope
            .split_once("\"partitionkey\":\"")
            .and_then(|(_, rest)| rest.split('"').next());
        send(key.unwrap_or_default(), envelope)?;
        events += 1;
    }
    while confirmed.load(Ordering::Relaxed) < events + 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("{:.0}", events as f64 / began.elapsed().as_secs_f64());
    producer.flush(Duration::from_secs(1))?;
    Ok(())
}
