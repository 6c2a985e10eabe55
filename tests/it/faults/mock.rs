//! What no broker can be made to do: librdkafka's mock cluster does it.

use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::checker::{Consumed, KAFKA_REPEATS, assert_at_rest, check};
use super::scenes::MESSAGES;
use super::senders::Senders;
use crate::cluster::Cluster;
use crate::process::{Process, await_some};

#[test]
fn row_13_a_producer_that_can_t_go_on_is_rebuilt() {
    const REBUILT_WITHIN: Duration = Duration::from_secs(5);
    let mock = MockCluster::new(1).expect("a port is free");
    for name in crate::payload::destinations("minchat.") {
        mock.create_topic(&name, 1, 1).expect("it is new");
    }
    let servers = mock.bootstrap_servers();
    // The mock cluster does not tell what a topic takes, so that each is waited for. It takes a request that follows one
    // which it has refused, as no broker does for an idempotent producer; so there is one at a time.
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\nkafka: {{bootstrap_servers: \"{servers}\", properties: {{max.in.flight: 1}}}}\n\
         routes: {{conversation.created: {{discard: true}}, ai-agent.action: {{discard: true}},\n  \
         user.daily-active: {{discard: true}}, unrecognized: {{discard: true}}}}\n"
    ));
    bridge.await_ready();
    assert_eq!(bridge.post("no JSON").status, 400);
    bridge.await_metric(&["published_total{", "minchat.dead-letter.v1"], 1.0);
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    let published = || bridge.metric(&["published_total{", MESSAGES]);
    let fatal = || bridge.metric(&["publish_failures_total", "fatal"]);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
    for _ in 0..3 {
        let before = fatal();
        mock.request_errors(RDKafkaApiKey::Produce, &[error]);
        await_some("a fatal error", || (fatal() > before).then_some(()));
        let (began, so_far) = (Instant::now(), published());
        await_some("another producer", || (published() > so_far).then_some(()));
        let rebuilt = began.elapsed();
        assert!(rebuilt < 3 * REBUILT_WITHIN, "{rebuilt:?}");
    }
    senders.await_accepted(100);
    let ledger = senders.end();
    assert_eq!(ledger.refused, [0; 0]);
    assert_at_rest(&bridge);
    let records = Cluster::at(&servers).read(MESSAGES).into_iter();
    let consumed: Vec<_> = records.map(|record| Consumed(record.raw)).collect();
    check(&ledger, &consumed, KAFKA_REPEATS);
}
