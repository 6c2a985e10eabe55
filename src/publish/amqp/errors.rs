//! The one table that sorts what RabbitMQ, the network and lapin say into classes.

use std::io;
use std::time::Duration;

use lapin::protocol::AMQPError;
use lapin::{Error, ErrorKind};

use crate::publish::Class::{DeadLetter, Operator, Retry};
use crate::publish::{Class, Failure, Reason};

/// What a broker's reply asks for: its code, words that its text contains, class, reason. The first
/// row that fits is taken.
///
/// Codes: AMQP 0-9-1, 1.2; texts: RabbitMQ 3.10 to 4.1.
const REPLIES: [(u16, &str, Class, Reason); 27] = [
    (311, "", DeadLetter, Reason::TooLarge),
    (312, "", Operator, Reason::Returned),
    (313, "", Operator, Reason::Returned),
    // An operator closed the connection, or the broker is stopping.
    (320, "", Retry, Reason::Disconnected),
    (402, "", Operator, Reason::UnknownDestination),
    (403, "ogin was refused", Operator, Reason::Authentication),
    (403, "ogin refused", Operator, Reason::Authentication),
    (403, "", Operator, Reason::Unauthorized),
    (404, "", Operator, Reason::UnknownDestination),
    (405, "", Operator, Reason::Unauthorized),
    // `max_message_size`: RabbitMQ closes the channel, and does not say over which event.
    (406, "larger than", DeadLetter, Reason::TooLarge),
    (406, "", Operator, Reason::Rejected),
    (501, "", Retry, Reason::Other),
    (502, "", Retry, Reason::Other),
    (
        503,
        "authentication mechanism",
        Operator,
        Reason::Authentication,
    ),
    (503, "", Retry, Reason::Other),
    // Also what follows when frames of a batch cross the broker's closing of their channel.
    (504, "", Retry, Reason::Other),
    (505, "", Retry, Reason::Other),
    (506, "", Retry, Reason::Other),
    (530, "limit", Operator, Reason::Other),
    (530, "is down", Retry, Reason::Disconnected),
    (530, "not found", Operator, Reason::UnknownDestination),
    (530, "", Operator, Reason::Unauthorized),
    (540, "", Operator, Reason::Rejected),
    (541, "down", Retry, Reason::Disconnected),
    (541, "", Retry, Reason::Other),
    (0, "", Retry, Reason::Other),
];

/// Why there is no connection, where lapin would only say that there was an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct DialError {
    class: Class,
    reason: Reason,
    detail: String,
}

impl DialError {
    /// A certificate or key of ours, or the broker's: somebody has to mend it.
    pub(super) fn certificate(detail: String) -> Self {
        DialError {
            class: Operator,
            reason: Reason::Authentication,
            detail,
        }
    }

    pub(super) fn name(error: io::Error) -> io::Error {
        let detail = format!("its address was not found: {error}");
        io::Error::other(DialError {
            class: Retry,
            reason: Reason::Disconnected,
            detail,
        })
    }

    /// An error of the handshake is about certificates, unless the network or the broker ended it.
    pub(super) fn handshake(error: io::Error) -> io::Error {
        use io::ErrorKind::*;
        match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | TimedOut => error,
            _ => io::Error::other(Self::certificate(format!("TLS: {error}"))),
        }
    }
}

/// Sorts an error of lapin's.
pub(super) fn sort(error: &Error) -> Failure {
    use ErrorKind::*;
    let (class, reason) = match error.kind() {
        ProtocolError(reply) => return sort_reply(reply),
        IOError(cause) => match cause.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(DialError { class, reason, .. }) => (*class, *reason),
            None => (Retry, Reason::Disconnected),
        },
        RuntimeShutdownError(_) | InvalidChannel(_) | InvalidConnectionState(_) => {
            (Retry, Reason::Disconnected)
        }
        InvalidChannelState(..) => (Retry, Reason::Disconnected),
        MissingHeartbeatError => (Retry, Reason::Disconnected),
        AuthProviderError(_) => (Operator, Reason::Authentication),
        InvalidProtocolVersion(_) => (Operator, Reason::Other),
        // Before anything is sent: what can't be written as AMQP never will be.
        SerialisationError(_) => (DeadLetter, Reason::Rejected),
        _ => (Retry, Reason::Other),
    };
    Failure {
        class,
        reason,
        detail: words(error),
    }
}

fn sort_reply(reply: &AMQPError) -> Failure {
    let (code, text) = (reply.get_id(), reply.get_message().as_str());
    let (_, _, class, reason) = REPLIES
        .into_iter()
        .find(|(row, words, ..)| (*row == code || *row == 0) && text.contains(words))
        .expect("the last row fits every reply");
    let detail = match text {
        "" => format!("the broker answered {code}"),
        text => text.to_owned(),
    };
    Failure {
        class,
        reason,
        detail,
    }
}

/// lapin's words, without the prefix that says only that it was an I/O error.
fn words(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IOError(cause) => cause.to_string(),
        _ => error.to_string(),
    }
}

/// Whether an error says why, and not only that something is closed.
pub(super) fn is_telling(error: &Error) -> bool {
    use ErrorKind::*;
    !matches!(
        error.kind(),
        InvalidChannel(_) | InvalidChannelState(..) | InvalidConnectionState(_)
    )
}

/// The connection is gone, or was when the event's turn came.
pub(super) fn disconnected(detail: &str) -> Failure {
    Failure {
        class: Retry,
        reason: Reason::Disconnected,
        detail: detail.to_owned(),
    }
}

/// The broker did not answer in time, which is to be without a connection: it holds for every destination there.
pub(super) fn timed_out(detail: &str) -> Failure {
    Failure {
        class: Retry,
        reason: Reason::Disconnected,
        detail: detail.to_owned(),
    }
}

/// The connection is up, and a confirm is missing.
pub(super) fn unconfirmed(within: Duration) -> Failure {
    let detail = format!(
        "no confirm came within {within:?}, though the connection is up: the channel is closed, and what is not confirmed is published again"
    );
    Failure {
        class: Retry,
        reason: Reason::Timeout,
        detail,
    }
}

/// The broker holds publishers back, for want of memory or disk.
pub(super) fn blocked(why: &str) -> Failure {
    Failure {
        class: Retry,
        reason: Reason::Blocked,
        detail: format!("the broker blocks the connection: {why}"),
    }
}

/// No queue took an event.
pub(super) fn returned(exchange: &str) -> Failure {
    let detail =
        format!("the exchange {exchange} has returned the event: no queue is bound to take it");
    Failure {
        class: Operator,
        reason: Reason::Returned,
        detail,
    }
}

/// The broker refused an event with a nack: a queue was full, or failed.
pub(super) fn nacked(exchange: &str) -> Failure {
    let detail = format!(
        "the broker has not taken the event from the exchange {exchange}: a queue is full, or failed; the attempts slow down to one in two minutes, because each gives the event to the other queues once more"
    );
    Failure {
        class: Retry,
        reason: Reason::Nack,
        detail,
    }
}

/// Nothing was published: an event before it failed, and must not be overtaken.
pub(super) fn behind_a_failure() -> Failure {
    Failure {
        class: Retry,
        reason: Reason::Other,
        detail: "an event before it was not published".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> (Class, Reason) {
        let error =
            AMQPError::from_id(code, text.into()).expect("the code is one of the specification's");
        let failure = sort(&ErrorKind::ProtocolError(error).into());
        (failure.class, failure.reason)
    }

    #[test]
    fn replies_are_sorted_by_their_code_and_where_that_does_not_suffice_by_their_text() {
        let rows = [
            (311, "CONTENT_TOO_LARGE", DeadLetter, Reason::TooLarge),
            (312, "NO_ROUTE", Operator, Reason::Returned),
            (
                320,
                "CONNECTION_FORCED - Closed via management plugin",
                Retry,
                Reason::Disconnected,
            ),
            (
                403,
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.",
                Operator,
                Reason::Authentication,
            ),
            (
                403,
                "ACCESS_REFUSED - write access to exchange 'a' in vhost '/' refused for user 'u'",
                Operator,
                Reason::Unauthorized,
            ),
            (
                404,
                "NOT_FOUND - no exchange 'a' in vhost '/'",
                Operator,
                Reason::UnknownDestination,
            ),
            (
                406,
                "PRECONDITION_FAILED - message size 600 is larger than configured max size 512",
                DeadLetter,
                Reason::TooLarge,
            ),
            (
                406,
                "PRECONDITION_FAILED - message size 600 larger than max size 512",
                DeadLetter,
                Reason::TooLarge,
            ),
            (
                406,
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'a'",
                Operator,
                Reason::Rejected,
            ),
            (501, "FRAME_ERROR", Retry, Reason::Other),
            (
                503,
                "COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL'",
                Operator,
                Reason::Authentication,
            ),
            (
                504,
                "CHANNEL_ERROR - expected 'channel.open'",
                Retry,
                Reason::Other,
            ),
            (505, "UNEXPECTED_FRAME", Retry, Reason::Other),
            (
                530,
                "NOT_ALLOWED - access to vhost 'a' refused for user 'u'",
                Operator,
                Reason::Unauthorized,
            ),
            (
                530,
                "NOT_ALLOWED - vhost a not found",
                Operator,
                Reason::UnknownDestination,
            ),
            (
                530,
                "NOT_ALLOWED - access to vhost 'a' refused for user 'u': connection limit (1) is reached",
                Operator,
                Reason::Other,
            ),
            (
                541,
                "INTERNAL_ERROR - access to vhost '/' refused for user 'u': vhost '/' is down",
                Retry,
                Reason::Disconnected,
            ),
            (541, "INTERNAL_ERROR", Retry, Reason::Other),
        ];
        for (code, text, class, reason) in rows {
            assert_eq!(reply(code, text), (class, reason), "{code} {text}");
        }
    }

    #[test]
    fn what_ends_a_connection_is_tried_again() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let reset = Error::from(reset);
        let silent = Error::from(ErrorKind::MissingHeartbeatError);
        let rows = [
            (reset, Reason::Disconnected),
            (silent, Reason::Disconnected),
        ];
        for (error, reason) in rows {
            let failure = sort(&error);
            assert_eq!((failure.class, failure.reason), (Retry, reason), "{error}");
        }
    }

    #[test]
    fn a_failure_has_the_brokers_own_words() {
        let error =
            AMQPError::from_id(404, "NOT_FOUND - no exchange 'a' in vhost '/'".into()).unwrap();
        let failure = sort(&ErrorKind::ProtocolError(error).into());
        assert_eq!(failure.detail, "NOT_FOUND - no exchange 'a' in vhost '/'");
    }
}
