//! The limit on open files, which every connection counts against.

/// What the bridge opens besides connections: brokers, spool, runtime.
const BESIDES: u64 = 512;

/// Raises the soft limit to the hard one, and says so if even that is too little.
pub(super) fn raise(max_connections: usize) {
    let needed = max_connections as u64 + BESIDES;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "the limit on open files is too low for http.max_connections: connections over it will wait"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit on open files could not be raised"),
    }
}
