//! Kafka's errors, sorted: one table.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::publish::{Class, Failure, Reason};

/// The class and the reason of every error code that librdkafka knows: its own (negative) and Kafka's. A test
/// holds the table to librdkafka's list.
///
/// Sources: Kafka's protocol guide, "Error codes" (which of them are retriable), and `rdkafka.h`.
#[rustfmt::skip]
const TABLE: &[(Code, Class, Reason)] = &[
    // The broker refuses the event or its batch for what is in it.
    (Code::MessageSizeTooLarge, Class::DeadLetter, Reason::TooLarge),
    (Code::MessageBatchTooLarge, Class::DeadLetter, Reason::TooLarge),
    (Code::InvalidRecord, Class::DeadLetter, Reason::Rejected),

    // Another event of the batch is to blame.
    (Code::InvalidDifferentRecord, Class::Requeue, Reason::Rejected),

    // The bytes were damaged on the way: a checksum is wrong.
    (Code::InvalidMessage, Class::Retry, Reason::Rejected),
    (Code::BadMessage, Class::Retry, Reason::Rejected),
    (Code::BadCompression, Class::Retry, Reason::Rejected),

    // A clock is wrong: this machine's, unless the topic's bounds for timestamps are unusual.
    (Code::InvalidTimestamp, Class::Operator, Reason::Rejected),

    // The topic has to be created, or given its right name.
    (Code::UnknownTopic, Class::Operator, Reason::UnknownDestination),
    (Code::UnknownTopicOrPartition, Class::Operator, Reason::UnknownDestination),
    (Code::UnknownTopicId, Class::Operator, Reason::UnknownDestination),
    (Code::UnknownPartition, Class::Operator, Reason::UnknownDestination),
    (Code::InvalidTopic, Class::Operator, Reason::UnknownDestination),

    // A right has to be granted.
    (Code::TopicAuthorizationFailed, Class::Operator, Reason::Unauthorized),
    (Code::ClusterAuthorizationFailed, Class::Operator, Reason::Unauthorized),
    (Code::GroupAuthorizationFailed, Class::Operator, Reason::Unauthorized),
    (Code::TransactionalIdAuthorizationFailed, Class::Operator, Reason::Unauthorized),
    (Code::DelegationTokenAuthorizationFailed, Class::Operator, Reason::Unauthorized),
    (Code::PolicyViolation, Class::Operator, Reason::Unauthorized),

    // The login or a certificate has to be put right.
    (Code::Authentication, Class::Operator, Reason::Authentication),
    (Code::SaslAuthenticationFailed, Class::Operator, Reason::Authentication),
    (Code::UnsupportedSASLMechanism, Class::Operator, Reason::Authentication),
    (Code::IllegalSASLState, Class::Operator, Reason::Authentication),
    (Code::SSL, Class::Operator, Reason::Authentication),
    (Code::SecurityDisabled, Class::Operator, Reason::Authentication),
    (Code::DelegationTokenAuthDisabled, Class::Operator, Reason::Authentication),
    (Code::DelegationTokenNotFound, Class::Operator, Reason::Authentication),
    (Code::DelegationTokenOwnerMismatch, Class::Operator, Reason::Authentication),
    (Code::DelegationTokenRequestNotAllowed, Class::Operator, Reason::Authentication),
    (Code::DelegationTokenExpired, Class::Operator, Reason::Authentication),
    (Code::InvalidPrincipalType, Class::Operator, Reason::Authentication),
    (Code::UnacceptableCredential, Class::Operator, Reason::Authentication),
    (Code::PrincipalDeserializationFailure, Class::Operator, Reason::Authentication),

    // A setting, here or at the broker, has to be changed: repeating the request changes nothing.
    (Code::InvalidArgument, Class::Operator, Reason::Other),
    (Code::InvalidConfig, Class::Operator, Reason::Other),
    (Code::InvalidPartitions, Class::Operator, Reason::Other),
    (Code::InvalidReplicationFactor, Class::Operator, Reason::Other),
    (Code::InvalidReplicaAssignment, Class::Operator, Reason::Other),
    (Code::InvalidRequest, Class::Operator, Reason::Other),
    (Code::InvalidRequiredAcks, Class::Operator, Reason::Other),
    (Code::InvalidGroupId, Class::Operator, Reason::Other),
    (Code::InvalidSessionTimeout, Class::Operator, Reason::Other),
    (Code::InvalidTransactionTimeout, Class::Operator, Reason::Other),
    (Code::UnsupportedCompressionType, Class::Operator, Reason::Other),
    (Code::UnsupportedForMessageFormat, Class::Operator, Reason::Other),
    (Code::UnsupportedVersion, Class::Operator, Reason::Other),
    (Code::UnsupportedFeature, Class::Operator, Reason::Other),
    (Code::UnknownProtocol, Class::Operator, Reason::Other),
    (Code::NotImplemented, Class::Operator, Reason::Other),
    (Code::NotConfigured, Class::Operator, Reason::Other),
    (Code::LogDirNotFound, Class::Operator, Reason::Other),
    (Code::TopicDeletionDisabled, Class::Operator, Reason::Other),
    // A certificate or a key that can't be read.
    (Code::FileSystem, Class::Operator, Reason::Io),

    // The producer can't go on with its numbers, or was emptied because it gave up.
    (Code::Fatal, Class::Rebuild, Reason::Fatal),
    (Code::Fenced, Class::Rebuild, Reason::Fatal),
    (Code::State, Class::Rebuild, Reason::Fatal),
    (Code::Inconsistent, Class::Rebuild, Reason::Fatal),
    (Code::GaplessGuarantee, Class::Rebuild, Reason::Fatal),
    (Code::PurgeQueue, Class::Rebuild, Reason::Fatal),
    (Code::PurgeInflight, Class::Rebuild, Reason::Fatal),
    (Code::OutOfOrderSequenceNumber, Class::Rebuild, Reason::Fatal),
    (Code::DuplicateSequenceNumber, Class::Rebuild, Reason::Fatal),
    (Code::InvalidProducerEpoch, Class::Rebuild, Reason::Fatal),
    (Code::InvalidProducerIdMapping, Class::Rebuild, Reason::Fatal),
    (Code::InvalidTransactionalState, Class::Rebuild, Reason::Fatal),
    (Code::TransactionCoordinatorFenced, Class::Rebuild, Reason::Fatal),
    (Code::UnknownProducerId, Class::Rebuild, Reason::Fatal),
    (Code::ProducerFenced, Class::Rebuild, Reason::Fatal),

    // The connection, or the broker, is away for now.
    (Code::AllBrokersDown, Class::Retry, Reason::Disconnected),
    (Code::BrokerTransportFailure, Class::Retry, Reason::Disconnected),
    (Code::BrokerDestroy, Class::Retry, Reason::Disconnected),
    (Code::DestroyBroker, Class::Retry, Reason::Disconnected),
    (Code::UnknownBroker, Class::Retry, Reason::Disconnected),
    (Code::NodeUpdate, Class::Retry, Reason::Disconnected),
    (Code::Resolve, Class::Retry, Reason::Disconnected),
    (Code::NetworkException, Class::Retry, Reason::Disconnected),
    (Code::BrokerNotAvailable, Class::Retry, Reason::Disconnected),
    (Code::RebootstrapRequired, Class::Retry, Reason::Disconnected),

    // No answer came in time. The event may have arrived.
    (Code::MessageTimedOut, Class::Retry, Reason::Timeout),
    (Code::RequestTimedOut, Class::Retry, Reason::Timeout),
    (Code::OperationTimedOut, Class::Retry, Reason::Timeout),
    (Code::TimedOutQueue, Class::Retry, Reason::Timeout),

    // The cluster is choosing a leader, or somebody else leads by now.
    (Code::LeaderNotAvailable, Class::Retry, Reason::NotLeader),
    (Code::NotLeaderForPartition, Class::Retry, Reason::NotLeader),
    (Code::ReplicaNotAvailable, Class::Retry, Reason::NotLeader),
    (Code::FencedLeaderEpoch, Class::Retry, Reason::NotLeader),
    (Code::UnknownLeaderEpoch, Class::Retry, Reason::NotLeader),
    (Code::PreferredLeaderNotAvailable, Class::Retry, Reason::NotLeader),
    (Code::EligibleLeadersNotAvailable, Class::Retry, Reason::NotLeader),
    (Code::NotController, Class::Retry, Reason::NotLeader),
    (Code::ListenerNotFound, Class::Retry, Reason::NotLeader),
    (Code::StaleControllerEpoch, Class::Retry, Reason::NotLeader),
    (Code::StaleBrokerEpoch, Class::Retry, Reason::NotLeader),
    (Code::ReassignmentInProgress, Class::Retry, Reason::NotLeader),

    // The broker can't take it now.
    (Code::NotEnoughReplicas, Class::Retry, Reason::Nack),
    (Code::NotEnoughReplicasAfterAppend, Class::Retry, Reason::Nack),
    (Code::ISRInsufficient, Class::Retry, Reason::Nack),
    (Code::ThrottlingQuotaExceeded, Class::Retry, Reason::Nack),
    (Code::KafkaStorageError, Class::Retry, Reason::Io),
    (Code::QueueFull, Class::Retry, Reason::QueueFull),
    (Code::Unknown, Class::Retry, Reason::Other),

    // The library's own affairs: a request was interrupted, answered in part, or has to be sent again.
    (Code::Fail, Class::Retry, Reason::Other),
    (Code::CriticalSystemResource, Class::Retry, Reason::Other),
    (Code::InProgress, Class::Retry, Reason::Other),
    (Code::PreviousInProgress, Class::Retry, Reason::Other),
    (Code::Conflict, Class::Retry, Reason::Other),
    (Code::Outdated, Class::Retry, Reason::Other),
    (Code::WaitCache, Class::Retry, Reason::Other),
    (Code::Interrupted, Class::Retry, Reason::Other),
    (Code::Partial, Class::Retry, Reason::Other),
    (Code::ReadOnly, Class::Retry, Reason::Other),
    (Code::NoEnt, Class::Retry, Reason::Other),
    (Code::Underflow, Class::Retry, Reason::Other),
    (Code::InvalidType, Class::Retry, Reason::Other),
    (Code::Retry, Class::Retry, Reason::Other),
    (Code::Application, Class::Retry, Reason::Other),
    (Code::Noop, Class::Retry, Reason::Other),
    (Code::NoError, Class::Retry, Reason::Other),

    // Answers to requests of the administration.
    (Code::TopicAlreadyExists, Class::Retry, Reason::Other),
    (Code::OperationNotAttempted, Class::Retry, Reason::Other),
    (Code::ElectionNotNeeded, Class::Retry, Reason::Other),
    (Code::NoReassignmentInProgress, Class::Retry, Reason::Other),
    (Code::ResourceNotFound, Class::Retry, Reason::Other),
    (Code::DuplicateResource, Class::Retry, Reason::Other),
    (Code::InconsistentVoterSet, Class::Retry, Reason::Other),
    (Code::InvalidUpdateVersion, Class::Retry, Reason::Other),
    (Code::FeatureUpdateFailed, Class::Retry, Reason::Other),

    // What only consumers, their groups, transactions and telemetry hear.
    (Code::PartitionEOF, Class::Retry, Reason::Other),
    (Code::OffsetOutOfRange, Class::Retry, Reason::Other),
    (Code::InvalidMessageSize, Class::Retry, Reason::Other),
    (Code::OffsetMetadataTooLarge, Class::Retry, Reason::Other),
    (Code::OffsetNotAvailable, Class::Retry, Reason::Other),
    (Code::UnstableOffsetCommit, Class::Retry, Reason::Other),
    (Code::InvalidCommitOffsetSize, Class::Retry, Reason::Other),
    (Code::NoOffset, Class::Retry, Reason::Other),
    (Code::AutoOffsetReset, Class::Retry, Reason::Other),
    (Code::LogTruncation, Class::Retry, Reason::Other),
    (Code::FetchSessionIdNotFound, Class::Retry, Reason::Other),
    (Code::InvalidFetchSessionEpoch, Class::Retry, Reason::Other),
    (Code::KeySerialization, Class::Retry, Reason::Other),
    (Code::ValueSerialization, Class::Retry, Reason::Other),
    (Code::KeyDeserialization, Class::Retry, Reason::Other),
    (Code::ValueDeserialization, Class::Retry, Reason::Other),
    (Code::PollExceeded, Class::Retry, Reason::Other),
    (Code::WaitingForCoordinator, Class::Retry, Reason::Other),
    (Code::CoordinatorLoadInProgress, Class::Retry, Reason::Other),
    (Code::CoordinatorNotAvailable, Class::Retry, Reason::Other),
    (Code::NotCoordinator, Class::Retry, Reason::Other),
    (Code::UnknownGroup, Class::Retry, Reason::Other),
    (Code::ExistingSubscription, Class::Retry, Reason::Other),
    (Code::AssignPartitions, Class::Retry, Reason::Other),
    (Code::RevokePartitions, Class::Retry, Reason::Other),
    (Code::AssignmentLost, Class::Retry, Reason::Other),
    (Code::IllegalGeneration, Class::Retry, Reason::Other),
    (Code::InconsistentGroupProtocol, Class::Retry, Reason::Other),
    (Code::UnknownMemberId, Class::Retry, Reason::Other),
    (Code::RebalanceInProgress, Class::Retry, Reason::Other),
    (Code::NonEmptyGroup, Class::Retry, Reason::Other),
    (Code::GroupIdNotFound, Class::Retry, Reason::Other),
    (Code::MemberIdRequired, Class::Retry, Reason::Other),
    (Code::GroupMaxSizeReached, Class::Retry, Reason::Other),
    (Code::FencedInstanceId, Class::Retry, Reason::Other),
    (Code::GroupSubscribedToTopic, Class::Retry, Reason::Other),
    (Code::FencedMemberEpoch, Class::Retry, Reason::Other),
    (Code::UnreleasedInstanceId, Class::Retry, Reason::Other),
    (Code::UnsupportedAssignor, Class::Retry, Reason::Other),
    (Code::StaleMemberEpoch, Class::Retry, Reason::Other),
    (Code::ConcurrentTransactions, Class::Retry, Reason::Other),
    (Code::UnknownSubscriptionId, Class::Retry, Reason::Other),
    (Code::TelemetryTooLarge, Class::Retry, Reason::Other),
];

/// The failure that a code stands for, with the words that came with it. A code that the table does not have is
/// tried again.
pub(super) fn failure(code: Option<Code>, detail: impl Into<String>) -> Failure {
    let mut detail = detail.into();
    let code = match code {
        Some(Code::BrokerTransportFailure) if is_about_our_certificate(&detail) => Some(Code::SSL),
        Some(Code::SSL) if is_about_the_connection(&detail) => Some(Code::BrokerTransportFailure),
        code => code,
    };
    if code == Some(Code::InvalidTimestamp) {
        detail = format!(
            "Kafka refuses the timestamp: check this machine's clock, then the topic's \
             message.timestamp.before.max.ms and message.timestamp.after.max.ms ({detail})"
        );
    }
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

/// Whether a fatal error of an ordered producer is that the broker refused an event for what is in it. The words have the
/// error of the request in them, as librdkafka describes it.
pub(super) fn is_refusal(words: &str) -> bool {
    let mut refusals = TABLE.iter().filter(|row| row.1 == Class::DeadLetter);
    refusals.any(|(code, ..)| {
        let described = code.to_string();
        let description = described.split_once(" (").map(|(_, rest)| rest);
        description.is_some_and(|rest| words.contains(rest.trim_end_matches(')')))
    })
}

/// The alerts of TLS by which a broker refuses a client's certificate, or that there is none (RFC 8446,
/// section 6.2). With TLS 1.3 they come after the handshake, as librdkafka's trouble in reading.
const ALERTS: [&str; 7] = ["42", "43", "44", "45", "46", "48", "116"];

fn is_about_our_certificate(detail: &str) -> bool {
    let alert = detail.split_once("SSL alert number ").map(|(_, rest)| rest);
    let number = alert.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    number.is_some_and(|number| ALERTS.contains(&number))
}

/// What OpenSSL and librdkafka say of a peer that ended the connection during the handshake: a broker that
/// stops does so, and so does a load balancer with no broker behind it.
const CLOSED: [&str; 3] = [
    "Disconnected",
    "SSL transport error",
    "unexpected eof while reading",
];

fn is_about_the_connection(detail: &str) -> bool {
    CLOSED.iter().any(|words| detail.contains(words))
}

/// The failure that an error of the client stands for.
pub(super) fn of_error(error: &KafkaError) -> Failure {
    match error {
        // librdkafka takes no such client: a property it refuses, or a certificate that it can't read.
        KafkaError::ClientCreation(words) | KafkaError::ClientConfig(_, words, ..) => Failure {
            class: Class::Operator,
            reason: match words.contains("ssl.") {
                true => Reason::Authentication,
                false => Reason::Other,
            },
            detail: error.to_string(),
        },
        error => failure(error.rdkafka_error_code(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    /// The codes of librdkafka's list, but for those that mark its ends.
    fn all_codes() -> impl Iterator<Item = Code> {
        let known = (-200..=1000).filter_map(|code| RDKafkaRespErr::try_from(code).ok());
        let codes = known.map(Code::from);
        codes.filter(|code| !matches!(code, Code::Begin | Code::End | Code::EndAll))
    }

    #[test]
    fn every_code_of_librdkafka_stands_in_the_table() {
        let missing: Vec<_> = all_codes()
            .filter(|code| TABLE.iter().all(|(known, ..)| known != code))
            .collect();
        assert_eq!(missing, []);
        assert_eq!(all_codes().count(), TABLE.len());
    }

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
    fn a_refused_event_is_told_from_the_fatal_error_that_it_causes() {
        for (error, is) in [
            ("Broker: Broker failed to validate record", true),
            ("Broker: Message size too large", true),
            ("Broker: Invalid timestamp", false),
            ("Broker: Topic authorization failed", false),
        ] {
            let words = format!(
                "Fatal error: Local: Gap-less ordering would not be guaranteed if proceeding: ProduceRequest for t [0] with 3 \
                 message(s) failed: {error} (broker 1 PID{{Id:0,Epoch:0}}, base seq 2): unable to satisfy gap-less guarantee"
            );
            assert_eq!(is_refusal(&words), is, "{error}");
        }
    }

    #[test]
    fn a_peer_that_hangs_up_during_the_handshake_is_no_operators_matter() {
        for (words, class) in [
            (
                "SSL handshake failed: Disconnected: connection closed by peer",
                Class::Retry,
            ),
            (
                "SSL handshake failed: SSL transport error: Broken pipe",
                Class::Retry,
            ),
            (
                "SSL handshake failed: error:0A000126:SSL routines::unexpected eof while reading",
                Class::Retry,
            ),
            (
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
                Class::Operator,
            ),
        ] {
            assert_eq!(failure(Some(Code::SSL), words).class, class, "{words}");
        }
    }

    #[test]
    fn a_refused_timestamp_is_an_operators_matter_and_names_the_clock() {
        let failure = failure(Some(Code::InvalidTimestamp), "Broker: Invalid timestamp");
        assert_eq!(failure.class, Class::Operator);
        assert!(
            failure.detail.contains("this machine's clock"),
            "{failure:?}"
        );
    }

    #[test]
    fn a_certificate_that_can_t_be_read_is_an_operators_matter() {
        let words =
            "ssl.ca.location failed: error:80000002:system library::No such file or directory";
        let failure = of_error(&KafkaError::ClientCreation(words.to_owned()));
        assert_eq!(
            (failure.class, failure.reason),
            (Class::Operator, Reason::Authentication)
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
                Code::InvalidRecord
            ]
        );
        assert_eq!(
            failure(Some(Code::InvalidDifferentRecord), "").class,
            Class::Requeue
        );
        assert_eq!(
            failure(Some(Code::StaleBrokerEpoch), "").class,
            Class::Retry
        );
    }
}
