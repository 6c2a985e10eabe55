//! Fits the limits on connections into the limit on open files of the process.

use std::io;

/// Files that the bridge opens besides the connections of the webhook listener: brokers, spool, runtime, the admin
/// listener, and connections over the limit, which are accepted before they are closed.
const OTHER_FILES: u64 = 2048;

/// The lowest limit on open files that the bridge starts with.
const MIN_FILES: u64 = 128;

/// The limits on the connections of both listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionLimits {
    pub(super) webhooks: usize,
    pub(super) admin: usize,
}

/// Raises the soft limit on open files to the hard limit, and returns the limits on connections that fit. If the
/// process reached its limit on open files, the system would refuse every new connection, also those of clients with
/// credentials.
///
/// # Errors
/// When the limit is below [`MIN_FILES`].
pub(super) fn connection_limits(wanted: ConnectionLimits) -> io::Result<ConnectionLimits> {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit on open files could not be raised");
            return Ok(wanted);
        }
    };
    if limit < MIN_FILES {
        return Err(io::Error::other(format!(
            "the limit on open files is {limit}: the bridge needs {MIN_FILES} at least (ulimit -n, LimitNOFILE)"
        )));
    }
    let fitting = limits_under(limit, wanted);
    if fitting.webhooks < wanted.webhooks {
        tracing::warn!(
            limit,
            needed = wanted.webhooks as u64 + OTHER_FILES,
            max_connections = fitting.webhooks,
            "the limit on open files is too low for http.max_connections, which is lowered to what fits"
        );
    }
    Ok(fitting)
}

/// The limits on connections that fit into this limit on open files. Webhooks get what [`OTHER_FILES`] leaves, but at
/// least a quarter of the limit; the admin listener gets at most a sixteenth. Each accepts up to as many again, before it
/// closes some.
fn limits_under(limit: u64, wanted: ConnectionLimits) -> ConnectionLimits {
    let left = usize::try_from(limit.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
    let part = |of: u64| usize::try_from(limit / of).unwrap_or(usize::MAX);
    ConnectionLimits {
        webhooks: wanted.webhooks.min(left.max(part(4))),
        admin: wanted.admin.min(part(16)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_connections_fit_under_the_limit_with_those_that_are_being_closed() {
        let wanted = ConnectionLimits {
            webhooks: 12_000,
            admin: 256,
        };
        for (limit, webhooks, admin) in [
            (1 << 20, 12_000, 256),
            (14_048, 12_000, 256),
            (14_047, 11_999, 256),
            (1024, 256, 64),
            (300, 75, 18),
            (128, 32, 8),
        ] {
            assert_eq!(
                limits_under(limit, wanted),
                ConnectionLimits { webhooks, admin }
            );
            let over_the_limit = webhooks.min(512) + admin;
            assert!(
                webhooks + admin + over_the_limit < usize::try_from(limit).expect("it is small")
            );
        }
    }
}
