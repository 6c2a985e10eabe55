//! Reads the body of a webhook.
//!
//! Guarantees: never more than `http.max_body` in memory, whatever the head declared; a body that
//! comes too slowly is given up; every byte that is there counts as in flight; a body that is evicted
//! is freed at once, by the thread that evicts it. A body that came with its head costs no timer, and
//! one that came in one piece is not copied.

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

use super::limits::Flight;
use super::problem::{Problem, Slug};

/// How large and how slow a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max: usize,
    pub(super) timeout: Duration,
    /// Bytes a second, after [`SLOW_START`].
    pub(super) min_rate: u64,
}

/// How long a body may take before its rate is looked at.
const SLOW_START: Duration = Duration::from_secs(2);

/// The most that is allocated for what a head merely declares.
const STEP: usize = 64 * 1024;

impl Bounds {
    /// Refuses a body that says of itself that it is too large.
    pub(super) fn admit(&self, declared: Option<u64>) -> Result<(), Problem> {
        match declared {
            Some(length) if length > self.max as u64 => Err(too_large()),
            _ => Ok(()),
        }
    }

    /// How long after the head a body may still be incomplete of which so much is there.
    fn patience(&self, received: usize) -> Duration {
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

/// The `content-length` that a head declares.
pub(super) fn declared(headers: &HeaderMap) -> Option<u64> {
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
    declared: Option<u64>,
    bounds: &Bounds,
    flight: &mut Flight<'_>,
) -> Result<Bytes, Problem> {
    let mut received = 0;
    let mut clock = Clock {
        began: Instant::now(),
        bounds,
        timer: Timer::Unset,
    };
    while let Some(chunk) = clock.next(payload, received, flight).await? {
        received += chunk.len();
        if received > bounds.max {
            return Err(too_large());
        }
        flight.hold(chunk.len())?;
        flight.body().add(chunk, declared);
    }
    flight.complete()?;
    Ok(flight.body().take())
}

fn too_large() -> Problem {
    Problem::new(
        Slug::PayloadTooLarge,
        "the body is larger than http.max_body",
    )
}

/// A body that is being read by the task of its request, and may be evicted by another thread.
#[derive(Default)]
pub(super) struct Body(Mutex<Incoming>);

#[derive(Default)]
struct Incoming {
    gathered: Gathered,
    is_evicted: bool,
    /// The task that waits for more of the body.
    waker: Option<Waker>,
}

impl Body {
    /// Adds a piece. Of a body that was evicted, nothing is kept.
    pub(super) fn add(&self, chunk: Bytes, declared: Option<u64>) {
        let mut incoming = self.incoming();
        if !incoming.is_evicted {
            incoming.gathered = std::mem::take(&mut incoming.gathered).with(chunk, declared);
        }
    }

    /// Takes what is there.
    pub(super) fn take(&self) -> Bytes {
        std::mem::take(&mut self.incoming().gathered).into_bytes()
    }

    /// Frees what is there, and wakes the task that reads the body.
    pub(super) fn evict(&self) {
        let mut incoming = self.incoming();
        incoming.is_evicted = true;
        incoming.gathered = Gathered::Nothing;
        if let Some(waker) = incoming.waker.take() {
            waker.wake();
        }
    }

    /// Ready when the body was evicted. The task of `cx` is woken when that happens.
    pub(super) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut incoming = self.incoming();
        if incoming.is_evicted {
            return Poll::Ready(());
        }
        let known = incoming.waker.as_ref();
        if known.is_none_or(|waker| !waker.will_wake(cx.waker())) {
            incoming.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is there of a body.
#[derive(Default)]
enum Gathered {
    #[default]
    Nothing,
    /// One piece: a view of what was read from the socket.
    One(Bytes),
    Many(Vec<u8>),
}

impl Gathered {
    fn with(self, chunk: Bytes, declared: Option<u64>) -> Self {
        let mut bytes = match self {
            Self::Nothing => return Self::One(chunk),
            Self::One(first) => {
                let declared = declared.map_or(0, |length| usize::try_from(length).unwrap_or(STEP));
                let mut bytes =
                    Vec::with_capacity(declared.min(STEP).max(first.len() + chunk.len()));
                bytes.extend_from_slice(&first);
                bytes
            }
            Self::Many(bytes) => bytes,
        };
        bytes.extend_from_slice(&chunk);
        Self::Many(bytes)
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => Bytes::from(bytes),
        }
    }
}

/// Measures how long a body takes.
struct Clock<'a> {
    began: Instant,
    bounds: &'a Bounds,
    timer: Timer,
}

/// The timer is made on the second wait: the server hands a body over only after the handler was
/// asked for the first time, also one that came with its head.
enum Timer {
    Unset,
    Next,
    Set(Pin<Box<Sleep>>),
}

impl Clock<'_> {
    /// The next piece of the body, unless it takes too long or the body is evicted.
    async fn next(
        &mut self,
        payload: &mut Payload,
        received: usize,
        flight: &Flight<'_>,
    ) -> Result<Option<Bytes>, Problem> {
        poll_fn(|cx| {
            if let Poll::Ready(chunk) = Pin::new(&mut *payload).poll_next(cx) {
                return Poll::Ready(chunk.transpose().map_err(|error| broken_off(&error)));
            }
            if let Poll::Ready(evicted) = flight.poll_evicted(cx) {
                return Poll::Ready(Err(evicted));
            }
            ready!(self.poll_late(cx, received));
            Poll::Ready(Err(Problem::new(
                Slug::BodyTimeout,
                "the body came too slowly",
            )))
        })
        .await
    }

    fn poll_late(&mut self, cx: &mut Context<'_>, received: usize) -> Poll<()> {
        let due = self.began + self.bounds.patience(received);
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
                    // More of the body may have come since the timer was set.
                    if Instant::now() >= due {
                        return Poll::Ready(());
                    }
                    sleep.as_mut().reset(due);
                }
            }
        }
    }
}

fn broken_off(error: &PayloadError) -> Problem {
    tracing::debug!(%error, "a body broke off");
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
                BOUNDS.patience(received),
                Duration::from_secs_f64(seconds),
                "{received}"
            );
        }
        let no_rate = Bounds {
            min_rate: 0,
            ..BOUNDS
        };
        assert_eq!(no_rate.patience(0), BOUNDS.timeout);
        let short = Bounds {
            timeout: Duration::from_millis(100),
            ..BOUNDS
        };
        assert_eq!(short.patience(0), short.timeout);
    }

    #[test]
    fn a_declared_length_over_the_limit_is_refused() {
        for (declared, admitted) in [
            (None, true),
            (Some(0), true),
            (Some(10), true),
            (Some(11), false),
            (Some(u64::MAX), false),
        ] {
            assert_eq!(BOUNDS.admit(declared).is_ok(), admitted, "{declared:?}");
        }
    }

    #[test]
    fn pieces_are_gathered_and_a_lie_about_their_length_allocates_little() {
        let one = Gathered::Nothing.with(Bytes::from_static(b"ab"), Some(u64::MAX));
        assert!(matches!(one, Gathered::One(_)));
        let Gathered::Many(many) = one.with(Bytes::from_static(b"cd"), Some(u64::MAX)) else {
            panic!("two pieces are many");
        };
        assert!(many.capacity() <= STEP);
        let all = Gathered::Many(many).with(Bytes::from_static(b"e"), None);
        assert_eq!(all.into_bytes(), "abcde");
        assert_eq!(Gathered::Nothing.into_bytes(), "");
    }
}
