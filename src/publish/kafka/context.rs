//! librdkafka's callbacks. They are made while the client's owner polls it: they tell the owner what happened, and do
//! nothing else.

use std::collections::HashMap;
use std::sync::mpsc::Sender;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use serde::Deserialize;

/// Bits of a delivery's opaque that hold the event's number; the 16 above them are the attempt. At
/// a million events a second the numbers last for nine years.
const SEQ_BITS: u32 = 48;

/// What librdkafka gives back with a report.
pub(super) fn opaque(seq: u64, attempt: u16) -> usize {
    (usize::from(attempt) << SEQ_BITS) | (seq as usize & ((1 << SEQ_BITS) - 1))
}

fn seq_and_attempt(opaque: usize) -> (u64, u16) {
    (
        (opaque & ((1 << SEQ_BITS) - 1)) as u64,
        (opaque >> SEQ_BITS) as u16,
    )
}

/// Something that a client tells its owner.
pub(super) enum ClientEvent {
    /// All in-sync replicas have the event.
    Confirmed { seq: u64, attempt: u16 },
    /// The event was not published, or may not have been.
    Failed {
        seq: u64,
        attempt: u16,
        error: KafkaError,
    },
    /// Trouble of the client, in librdkafka's words.
    Error { code: Option<Code>, words: String },
    /// How the client is, every second.
    Statistics(Statistics),
    /// A line was logged.
    Logged,
}

/// The part of librdkafka's statistics that is looked at (`STATISTICS.md`).
#[derive(Deserialize)]
pub(super) struct Statistics {
    /// How many events the client holds.
    pub(super) msg_cnt: i64,
    brokers: HashMap<String, BrokerStatistics>,
    eos: Option<IdempotenceStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    state: String,
    source: String,
}

#[derive(Deserialize)]
struct IdempotenceStatistics {
    idemp_state: String,
}

impl Statistics {
    /// How many brokers the client knows.
    pub(super) fn brokers(&self) -> usize {
        let brokers = self.brokers.values();
        brokers.filter(|broker| broker.source != "internal").count()
    }

    /// Whether any connection is open.
    pub(super) fn is_connected(&self) -> bool {
        self.brokers.values().any(|broker| broker.state == "UP")
    }

    /// Whether the broker gave the producer its number.
    pub(super) fn has_id(&self) -> bool {
        let eos = self.eos.as_ref();
        eos.is_some_and(|eos| eos.idemp_state == "Assigned")
    }
}

/// What a client's callbacks need.
pub(super) struct Context(pub(super) Sender<ClientEvent>);

impl Context {
    fn tell(&self, event: ClientEvent) {
        // An error means that the client is being ended: nobody is interested in it any more.
        let _ = self.0.send(event);
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.tell(ClientEvent::Error {
            code: error.rdkafka_error_code(),
            words: reason.to_owned(),
        });
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let Ok(statistics) = serde_json::from_slice(statistics) {
            self.tell(ClientEvent::Statistics(statistics));
        }
    }

    /// At debug: what matters of it comes as an error or a report, once.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
        self.tell(ClientEvent::Logged);
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let (seq, attempt) = seq_and_attempt(opaque);
        self.tell(match result {
            Ok(_) => ClientEvent::Confirmed { seq, attempt },
            Err((error, _)) => ClientEvent::Failed {
                seq,
                attempt,
                error: error.clone(),
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_holds_every_attempt_and_every_number_of_a_lane() {
        for (seq, attempt) in [
            (0, 0),
            (1, u16::MAX),
            ((1 << SEQ_BITS) - 1, 1),
            (1 << 40, 300),
        ] {
            assert_eq!(seq_and_attempt(opaque(seq, attempt)), (seq, attempt));
        }
    }

    #[test]
    fn the_internal_broker_of_the_statistics_does_not_count() {
        let internal = r#"":0/internal":{"state":"UP","source":"internal"}"#;
        for (brokers, count) in [
            (
                format!(r#"{internal},"k:1/bootstrap":{{"state":"DOWN","source":"configured"}}"#),
                1,
            ),
            (
                format!(r#"{internal},"k:1/1":{{"state":"DOWN","source":"learned"}}"#),
                1,
            ),
            (internal.to_owned(), 0),
        ] {
            let statistics = format!(r#"{{"msg_cnt":0,"brokers":{{{brokers}}}}}"#);
            let statistics: Statistics = serde_json::from_str(&statistics).expect("it is JSON");
            assert_eq!(statistics.brokers(), count, "{brokers}");
        }
    }
}
