//! Time-outs are one chain, and buffers hold what they have to.

use std::time::Duration;

use super::judge::{Judge, at};

/// What a sync of the disk may take, in the chain of time-outs.
const SYNC: Duration = Duration::from_millis(100);

/// What the flush at the end of a stop may take, in the chain of time-outs.
pub(super) const FLUSH: Duration = Duration::from_secs(3);

/// The least that a spool can work with: two segments of 16 MiB for one destination, which may hold half.
const LEAST_SPOOL: u64 = 64 << 20;

/// How many bodies of the largest size the window holds at least. A lane that is empty takes an event of up to the
/// whole window: three times its body, where white space was taken out of that, with the copy that the broker's
/// client makes. A dead letter and its copy take 2.7 times the body.
const BODIES_IN_WINDOW: usize = 4;

/// How many bodies of the largest size the spool holds at least: one destination may hold half of it, and a body in a
/// dead letter is a third larger than it came in.
const BODIES_IN_SPOOL: u64 = 4;

pub(super) fn check(judge: &mut Judge<'_>) {
    check_chain(judge);
    check_sizes(judge);
}

fn check_chain(judge: &mut Judge<'_>) {
    let (http, publish) = (&judge.config.http, &judge.config.publish);
    let (spool_after, deadline) = (publish.spool_after, publish.deadline);
    let (body, shutdown) = (http.body_timeout, http.shutdown_timeout);
    if judge.config.spool.max_size > 0 && spool_after + SYNC >= deadline {
        judge.refuse(
            &[at("publish.spool_after"), at("publish.deadline")],
            format!(
                "publish.spool_after ({spool_after:?}) and a sync ({SYNC:?}) are not less than publish.deadline \
                 ({deadline:?}), so that events would be refused before they are spooled"
            ),
            format!("set publish.deadline above {:?}, or publish.spool_after lower", spool_after + SYNC),
        );
    }
    if body + deadline >= shutdown {
        judge.refuse(
            &[at("http.shutdown_timeout"), at("http.body_timeout"), at("publish.deadline")],
            format!(
                "http.body_timeout ({body:?}) and publish.deadline ({deadline:?}) are not less than \
                 http.shutdown_timeout ({shutdown:?}), so that a stop would cut requests off"
            ),
            format!("set http.shutdown_timeout above {:?}, or the other two lower", body + deadline),
        );
    }
}

fn check_sizes(judge: &mut Judge<'_>) {
    let (http, spool) = (&judge.config.http, &judge.config.spool);
    let (body, in_flight, window) = (
        http.max_body,
        http.max_in_flight_bytes,
        judge.config.publish.window,
    );
    let spool_size = spool.max_size;
    if body > in_flight {
        judge.refuse(
            &[at("http.max_in_flight_bytes"), at("http.max_body")],
            format!("http.max_body ({body} bytes) is more than http.max_in_flight_bytes ({in_flight} bytes)"),
            "let at least one body of the largest size be in flight",
        );
    }
    let least = body.saturating_mul(BODIES_IN_WINDOW);
    if window < least {
        judge.refuse(
            &[at("publish.window"), at("http.max_body")],
            format!("publish.window ({window} bytes) is less than {BODIES_IN_WINDOW} times http.max_body ({body} bytes)"),
            format!("set publish.window to {}KiB or more, or http.max_body lower", least.div_ceil(1024)),
        );
    }
    let least = (body as u64).saturating_mul(BODIES_IN_SPOOL);
    if spool_size >= LEAST_SPOOL && spool_size < least {
        judge.refuse(
            &[at("spool.max_size"), at("http.max_body")],
            format!("spool.max_size ({spool_size} bytes) is less than {BODIES_IN_SPOOL} times http.max_body ({body} bytes)"),
            format!("set spool.max_size to {}KiB or more, or http.max_body lower", least.div_ceil(1024)),
        );
    }
    if spool_size > 0 && spool_size < LEAST_SPOOL {
        judge.refuse(
            &[at("spool.max_size")],
            format!("{spool_size} bytes are too few for segments of 16 MiB, of which one destination may fill half"),
            "give at least 64MiB, or 0 to turn the spool off",
        );
    }
    if spool_size == 0 {
        judge.warn("spool.max_size is 0: while a broker is down, webhooks get a 503, and MinChat promises no retry");
    }
}
