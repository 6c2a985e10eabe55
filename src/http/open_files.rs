//! The limit on open files, which every connection counts against.

use std::io;

/// What the bridge opens besides connections of the webhook listener: brokers, spool, runtime, the admin listener, and
/// connections that are being closed.
const BESIDES: u64 = 1024;

/// The fewest open files that the bridge can work with.
const LEAST: u64 = 128;

/// How many connections the listeners may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) webhooks: usize,
    pub(super) admin: usize,
}

/// Raises the soft limit to the hard one. Where that is too low for all connections that are wanted, fewer are
/// allowed: at the limit on open files the system would refuse every connection, whoever opens it.
///
/// # Errors
/// When the limit is too low for anything.
pub(super) fn room(wanted: Room) -> io::Result<Room> {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit on open files could not be raised");
            return Ok(wanted);
        }
    };
    if limit < LEAST {
        return Err(io::Error::other(format!(
            "the limit on open files is {limit}: the bridge needs {LEAST} at least (ulimit -n, LimitNOFILE)"
        )));
    }
    let room = room_of(limit, wanted);
    if room != wanted {
        tracing::warn!(
            limit,
            needed = wanted.webhooks as u64 + BESIDES,
            max_connections = room.webhooks,
            "the limit on open files is too low for http.max_connections, which is lowered to what fits"
        );
    }
    Ok(room)
}

/// The room that a limit on open files leaves: a third of it for webhooks, an eighth for the admin listener, and the rest
/// for what else is open, if it is too low for all.
fn room_of(limit: u64, wanted: Room) -> Room {
    let all_but = usize::try_from(limit.saturating_sub(BESIDES)).unwrap_or(usize::MAX);
    let part = |of: u64| usize::try_from(limit / of).unwrap_or(usize::MAX);
    Room {
        webhooks: wanted.webhooks.min(all_but.max(part(3))),
        admin: wanted.admin.min(part(8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_connections_fit_under_the_limit_with_those_that_are_being_closed() {
        let wanted = Room {
            webhooks: 12_000,
            admin: 256,
        };
        for (limit, webhooks, admin) in [
            (1 << 20, 12_000, 256),
            (13_024, 12_000, 256),
            (13_023, 11_999, 256),
            (1024, 341, 128),
            (300, 100, 37),
            (128, 42, 16),
        ] {
            assert_eq!(room_of(limit, wanted), Room { webhooks, admin });
            let closing = (webhooks / 2).clamp(16, 256) + (admin / 2).clamp(16, 256);
            assert!(webhooks + admin + closing < usize::try_from(limit).expect("it is small"));
        }
    }
}
