//! Kafka's errors, sorted: one table.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::publish::{Class, Failure, Reason};

/// What each error asks for. What is not here passes by itself, or so it is hoped: it is tried again.
///
/// Sources: Kafka's protocol guide, "Error codes" (which of them are retriable), and librdkafka's
/// `rdkafka.h` for the local ones (negative).
const TABLE: &[(Code, Class, Reason)] = &[
    (
        Code::MessageSizeTooLarge,
        Class::DeadLetter,
        Reason::TooLarge,
    ),
    (
        Code::MessageBatchTooLarge,
        Class::DeadLetter,
        Reason::TooLarge,
    ),
    (Code::InvalidRecord, Class::DeadLetter, Reason::Rejected),
    (Code::InvalidTimestamp, Class::DeadLetter, Reason::Rejected),
    // A neighbour of a bad record: never its own fault.
    (Code::InvalidDifferentRecord, Class::Retry, Reason::Rejected),
    (Code::InvalidMessage, Class::Retry, Reason::Rejected),
    (
        Code::UnknownTopic,
        Class::Operator,
        Reason::UnknownDestination,
    ),
    (
        Code::UnknownTopicOrPartition,
        Class::Operator,
        Reason::UnknownDestination,
    ),
    (
        Code::UnknownTopicId,
        Class::Operator,
        Reason::UnknownDestination,
    ),
    (
        Code::UnknownPartition,
        Class::Operator,
        Reason::UnknownDestination,
    ),
    (
        Code::InvalidTopic,
        Class::Operator,
        Reason::UnknownDestination,
    ),
    (
        Code::TopicAuthorizationFailed,
        Class::Operator,
        Reason::Unauthorized,
    ),
    (
        Code::ClusterAuthorizationFailed,
        Class::Operator,
        Reason::Unauthorized,
    ),
    (Code::PolicyViolation, Class::Operator, Reason::Unauthorized),
    (
        Code::Authentication,
        Class::Operator,
        Reason::Authentication,
    ),
    (
        Code::SaslAuthenticationFailed,
        Class::Operator,
        Reason::Authentication,
    ),
    (
        Code::UnsupportedSASLMechanism,
        Class::Operator,
        Reason::Authentication,
    ),
    (
        Code::IllegalSASLState,
        Class::Operator,
        Reason::Authentication,
    ),
    (Code::SSL, Class::Operator, Reason::Authentication),
    (Code::UnsupportedVersion, Class::Operator, Reason::Other),
    (Code::UnsupportedFeature, Class::Operator, Reason::Other),
    (Code::InvalidRequiredAcks, Class::Operator, Reason::Other),
    (Code::Fatal, Class::Rebuild, Reason::Fatal),
    (Code::GaplessGuarantee, Class::Rebuild, Reason::Fatal),
    (Code::PurgeQueue, Class::Rebuild, Reason::Fatal),
    (Code::PurgeInflight, Class::Rebuild, Reason::Fatal),
    (
        Code::OutOfOrderSequenceNumber,
        Class::Rebuild,
        Reason::Fatal,
    ),
    (Code::DuplicateSequenceNumber, Class::Rebuild, Reason::Fatal),
    (Code::InvalidProducerEpoch, Class::Rebuild, Reason::Fatal),
    (Code::UnknownProducerId, Class::Rebuild, Reason::Fatal),
    (Code::ProducerFenced, Class::Rebuild, Reason::Fatal),
    (Code::State, Class::Rebuild, Reason::Fatal),
    (Code::AllBrokersDown, Class::Retry, Reason::Disconnected),
    (
        Code::BrokerTransportFailure,
        Class::Retry,
        Reason::Disconnected,
    ),
    (Code::Resolve, Class::Retry, Reason::Disconnected),
    (Code::NetworkException, Class::Retry, Reason::Disconnected),
    (Code::BrokerNotAvailable, Class::Retry, Reason::Disconnected),
    (Code::MessageTimedOut, Class::Retry, Reason::Timeout),
    (Code::RequestTimedOut, Class::Retry, Reason::Timeout),
    (Code::OperationTimedOut, Class::Retry, Reason::Timeout),
    (Code::TimedOutQueue, Class::Retry, Reason::Timeout),
    (Code::LeaderNotAvailable, Class::Retry, Reason::NotLeader),
    (Code::NotLeaderForPartition, Class::Retry, Reason::NotLeader),
    (Code::FencedLeaderEpoch, Class::Retry, Reason::NotLeader),
    (Code::NotEnoughReplicas, Class::Retry, Reason::Nack),
    (
        Code::NotEnoughReplicasAfterAppend,
        Class::Retry,
        Reason::Nack,
    ),
    (Code::KafkaStorageError, Class::Retry, Reason::Io),
    (Code::QueueFull, Class::Retry, Reason::QueueFull),
];

/// The failure that a code stands for, with the words that came with it.
pub(super) fn failure(code: Option<Code>, detail: impl Into<String>) -> Failure {
    let detail = detail.into();
    let code = match code {
        Some(Code::BrokerTransportFailure) if is_about_our_certificate(&detail) => Some(Code::SSL),
        code => code,
    };
    let row = TABLE.iter().find(|(known, ..)| Some(*known) == code);
    let (class, reason) = row.map_or((Class::Retry, Reason::Other), |(_, class, reason)| {
        (*class, *reason)
    });
    Failure {
        class,
        reason,
        detail,
    }
}

/// The alerts of TLS by which a broker refuses a client's certificate, or that there is none (RFC 8446,
/// section 6.2). With TLS 1.3 they come after the handshake, as librdkafka's trouble in reading.
const ALERTS: [&str; 7] = ["42", "43", "44", "45", "46", "48", "116"];

fn is_about_our_certificate(detail: &str) -> bool {
    let alert = detail.split_once("SSL alert number ").map(|(_, rest)| rest);
    let number = alert.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    number.is_some_and(|number| ALERTS.contains(&number))
}

/// The failure of one event.
pub(super) fn of_event(error: &KafkaError) -> Failure {
    failure(error.rdkafka_error_code(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_in_the_table_once() {
        for (index, (code, ..)) in TABLE.iter().enumerate() {
            assert!(
                TABLE[..index].iter().all(|(other, ..)| other != code),
                "{code:?} stands twice"
            );
        }
    }

    #[test]
    fn a_refused_client_certificate_is_an_operators_matter_whenever_the_broker_says_so() {
        let received = |alert| {
            format!(
                "ssl://b:9093/bootstrap: Receive failed: error:0A000412:SSL routines::x: SSL alert number {alert} (after 8ms in state APIVERSION_QUERY)"
            )
        };
        for (alert, class) in [
            (42, Class::Operator),
            (116, Class::Operator),
            (80, Class::Retry),
            (4, Class::Retry),
        ] {
            assert_eq!(
                failure(Some(Code::BrokerTransportFailure), received(alert)).class,
                class,
                "{alert}"
            );
        }
        assert_eq!(
            failure(Some(Code::BrokerTransportFailure), "Connection refused").class,
            Class::Retry
        );
    }

    #[test]
    fn only_what_the_broker_says_of_the_event_itself_is_a_dead_letter() {
        let dead: Vec<_> = TABLE
            .iter()
            .filter(|row| row.1 == Class::DeadLetter)
            .map(|row| row.0)
            .collect();
        assert_eq!(
            dead,
            [
                Code::MessageSizeTooLarge,
                Code::MessageBatchTooLarge,
                Code::InvalidRecord,
                Code::InvalidTimestamp
            ]
        );
        assert_eq!(
            failure(Some(Code::InvalidDifferentRecord), "").class,
            Class::Retry
        );
        assert_eq!(
            failure(Some(Code::StaleBrokerEpoch), "").class,
            Class::Retry
        );
    }
}
