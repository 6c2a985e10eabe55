//! Reads the body of a webhook.
//!
//! Guarantees: a body takes no more memory than `http.max_body` and one piece of actix-http's, whatever
//! `content-length` says; a body that arrives too slowly is refused; every received byte is reserved in
//! [`limits`](super::limits); an evicted body is freed at once, by the thread that evicts it. A body that arrives with
//! its head needs no timer, and a body in one piece is not copied.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::Reservation;
use super::problem::{Problem, Slug};

/// How large a body may be, and how slowly it may arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max: usize,
    pub(super) timeout: Duration,
    /// Bytes a second, after [`SLOW_START`]. 0 means no minimum.
    pub(super) min_rate: u64,
}

/// The time that every body may take whatever its rate is, unless `http.body_timeout` is shorter.
const SLOW_START: Duration = Duration::from_secs(2);

/// The most memory that is allocated because of `content-length` alone.
const MAX_PREALLOCATION: usize = 64 * 1024;

impl Bounds {
    /// Refuses a body whose `content-length` is too large.
    pub(super) fn admit(&self, content_length: Option<u64>) -> Result<(), Problem> {
        match content_length {
            Some(length) if length > self.max as u64 => Err(too_large()),
            _ => Ok(()),
        }
    }

    /// How long after the head a body may still be incomplete if this many bytes of it have been received.
    fn time_limit(&self, received: usize) -> Duration {
        let earned = match self.min_rate {
            0 => Duration::MAX,
            rate => {
                SLOW_START
                    + Duration::from_micros((received as u64).saturating_mul(1_000_000) / rate)
            }
        };
        self.timeout.min(earned)
    }
}

/// The `content-length` of a head.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Reads the whole body.
pub(super) async fn read(
    payload: &mut Payload,
    content_length: Option<u64>,
    bounds: &Bounds,
    reservation: &mut Reservation<'_>,
) -> Result<Bytes, Problem> {
    let mut received = 0;
    let mut body_timer = BodyTimer {
        began: Instant::now(),
        bounds,
        timer: Timer::Unset,
    };
    while let Some(chunk) = body_timer.next(payload, received, reservation).await? {
        received += chunk.len();
        if received > bounds.max {
            return Err(too_large());
        }
        reservation.reserve(chunk.len())?;
        reservation.body().add(chunk, content_length);
    }
    reservation.complete()?;
    Ok(reservation.body().take())
}

fn too_large() -> Problem {
    Problem::new(
        Slug::PayloadTooLarge,
        "the body is larger than http.max_body",
    )
}

/// A body that the task of its request reads, and that another thread may evict.
#[derive(Default)]
pub(super) struct SharedBody(Mutex<State>);

#[derive(Default)]
struct State {
    chunks: Chunks,
    is_evicted: bool,
    /// Wakes the task that reads the body.
    waker: Option<Waker>,
}

impl SharedBody {
    /// Adds a piece, or drops it if the body was evicted.
    pub(super) fn add(&self, chunk: Bytes, content_length: Option<u64>) {
        let mut state = self.state();
        if !state.is_evicted {
            state.chunks = std::mem::take(&mut state.chunks).with(chunk, content_length);
        }
    }

    /// Takes all bytes that have been received.
    pub(super) fn take(&self) -> Bytes {
        std::mem::take(&mut self.state().chunks).into_bytes()
    }

    /// Frees all bytes that have been received, and wakes the task that reads the body.
    pub(super) fn evict(&self) {
        let mut state = self.state();
        state.is_evicted = true;
        state.chunks = Chunks::None;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Returns `Ready` when the body was evicted. The task of `cx` is woken when that happens.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.is_evicted {
            return Poll::Ready(());
        }
        let known = state.waker.as_ref();
        if known.is_none_or(|waker| !waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a body that have been received.
#[derive(Default)]
enum Chunks {
    #[default]
    None,
    /// One piece, which shares the read buffer of actix-http.
    One(Bytes),
    Joined(Vec<u8>),
}

impl Chunks {
    fn with(self, chunk: Bytes, content_length: Option<u64>) -> Self {
        let mut bytes = match self {
            Self::None => return Self::One(chunk),
            Self::One(first) => {
                let content_length = content_length.map_or(0, |length| {
                    usize::try_from(length).unwrap_or(MAX_PREALLOCATION)
                });
                let mut bytes = Vec::with_capacity(
                    content_length
                        .min(MAX_PREALLOCATION)
                        .max(first.len() + chunk.len()),
                );
                bytes.extend_from_slice(&first);
                bytes
            }
            Self::Joined(bytes) => bytes,
        };
        bytes.extend_from_slice(&chunk);
        Self::Joined(bytes)
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Joined(bytes) => Bytes::from(bytes),
        }
    }
}

/// Limits how long a body may take.
struct BodyTimer<'a> {
    began: Instant,
    bounds: &'a Bounds,
    timer: Timer,
}

/// The timer is created on the second poll. actix-http passes a body on only after it has polled the handler once, even
/// if the body arrived with its head; so a timer on the first poll would be created for every body.
enum Timer {
    Unset,
    Next,
    Set(Pin<Box<Sleep>>),
}

impl BodyTimer<'_> {
    /// Returns the next piece of the body. Fails if it takes too long, or if the body is evicted.
    async fn next(
        &mut self,
        payload: &mut Payload,
        received: usize,
        reservation: &Reservation<'_>,
    ) -> Result<Option<Bytes>, Problem> {
        poll_fn(|cx| {
            if let Poll::Ready(chunk) = Pin::new(&mut *payload).poll_next(cx) {
                return Poll::Ready(chunk.transpose().map_err(|error| aborted(&error)));
            }
            if let Poll::Ready(evicted) = reservation.poll_evicted(cx) {
                return Poll::Ready(Err(evicted));
            }
            ready!(self.poll_timeout(cx, received));
            Poll::Ready(Err(Problem::new(
                Slug::BodyTimeout,
                "the body came too slowly",
            )))
        })
        .await
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>, received: usize) -> Poll<()> {
        let due = self.began + self.bounds.time_limit(received);
        loop {
            match &mut self.timer {
                Timer::Unset => {
                    self.timer = Timer::Next;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Timer::Next => self.timer = Timer::Set(Box::pin(sleep_until(due))),
                Timer::Set(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    // More of the body may have arrived since the timer was set, and have moved the deadline.
                    if Instant::now() >= due {
                        return Poll::Ready(());
                    }
                    sleep.as_mut().reset(due);
                }
            }
        }
    }
}

fn aborted(error: &PayloadError) -> Problem {
    tracing::debug!(%error, "a body ended early");
    Problem::new(Slug::BodyTimeout, "the body broke off")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        max: 10,
        timeout: Duration::from_secs(60),
        min_rate: 1024,
    };

    #[test]
    fn patience_grows_with_what_is_there_and_ends_at_the_timeout() {
        for (received, seconds) in [
            (0, 2.0),
            (512, 2.5),
            (1024, 3.0),
            (10 * 1024, 12.0),
            (1 << 40, 60.0),
        ] {
            assert_eq!(
                BOUNDS.time_limit(received),
                Duration::from_secs_f64(seconds),
                "{received}"
            );
        }
        let no_rate = Bounds {
            min_rate: 0,
            ..BOUNDS
        };
        assert_eq!(no_rate.time_limit(0), BOUNDS.timeout);
        let short = Bounds {
            timeout: Duration::from_millis(100),
            ..BOUNDS
        };
        assert_eq!(short.time_limit(0), short.timeout);
    }

    #[test]
    fn a_content_length_over_the_limit_is_refused() {
        for (content_length, admitted) in [
            (None, true),
            (Some(0), true),
            (Some(10), true),
            (Some(11), false),
            (Some(u64::MAX), false),
        ] {
            assert_eq!(
                BOUNDS.admit(content_length).is_ok(),
                admitted,
                "{content_length:?}"
            );
        }
    }

    #[test]
    fn pieces_are_joined_and_a_false_content_length_allocates_little() {
        let one = Chunks::None.with(Bytes::from_static(b"ab"), Some(u64::MAX));
        assert!(matches!(one, Chunks::One(_)));
        let Chunks::Joined(many) = one.with(Bytes::from_static(b"cd"), Some(u64::MAX)) else {
            panic!("two pieces are many");
        };
        assert!(many.capacity() <= MAX_PREALLOCATION);
        let all = Chunks::Joined(many).with(Bytes::from_static(b"e"), None);
        assert_eq!(all.into_bytes(), "abcde");
        assert_eq!(Chunks::None.into_bytes(), "");
    }
}
