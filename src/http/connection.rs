//! One connection: how far its current request is, and when the connection has to end.
//!
//! Guarantees, for every request of a connection and not just for the first: a head is complete within
//! `http.header_timeout` of its first byte, or the connection is closed; an idle connection is closed after
//! `http.keep_alive`; an incomplete head takes no more than `http.head_size` and one read of [`MAX_READ`] bytes.
//! actix-http 3.20 has none of these after the first request: it arms its head timer once, and stops its keep-alive
//! timer on the next byte.
//! Not responsible for: reading and writing (`stream`), and how many connections there may be (`connections`).
//!
//! A connection belongs to one worker thread. [`Progress`] is the state machine, without clock or I/O; the stream
//! reports the bytes that it hands to the server, and the handlers report when a request begins and ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_web::HttpRequest;
use tokio::time::Instant;

use super::connections::Registration;
use super::tls::ClientCertificate;

/// Bytes that the server is given before it has to look at what it has: as many as actix-http allocates for reading
/// when a connection begins.
pub(super) const MAX_READ: usize = 8 * 1024;

/// The longest time a connection may stay open after the bridge has decided to close it. It lets the last answer
/// arrive at a client that is still sending.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// A connection, as its requests and its stream share it.
#[derive(Clone)]
pub(super) struct Connection(Rc<Shared>);

struct Shared {
    registration: Rc<Registration>,
    certificate: Option<ClientCertificate>,
    progress: RefCell<Progress>,
}

/// Where the body of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// After this many bytes, which the head declared.
    Length(u64),
    /// With the last chunk of a chunked body.
    LastChunk,
}

impl Connection {
    pub(super) fn new(
        registration: Rc<Registration>,
        certificate: Option<ClientCertificate>,
        limits: Limits,
    ) -> Self {
        Self(Rc::new(Shared {
            registration,
            certificate,
            progress: RefCell::new(Progress::new(limits, Instant::now())),
        }))
    }

    /// The certificate that the client presented.
    pub(super) fn certificate(&self) -> Option<&ClientCertificate> {
        self.0.certificate.as_ref()
    }

    pub(super) fn registration(&self) -> &Registration {
        &self.0.registration
    }

    /// Changes the progress. The borrow ends before the caller goes on.
    pub(super) fn progress<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.0.progress.borrow_mut())
    }

    /// A handler begins to work on a request, whose head is complete.
    pub(super) fn begin_request(&self, has_body: bool) {
        self.progress(|progress| progress.begin_request(has_body));
        self.0.registration.set_busy(true);
        self.0.registration.release_head();
    }

    /// The request on this connection has shown good credentials: the connection is not closed in favour of others.
    pub(super) fn authenticated(&self) {
        self.0.registration.authenticated();
    }

    /// The handler has read the whole body, which ended there. From now on the client can send little ahead.
    pub(super) fn body_read(&self, end: BodyEnd) {
        self.progress(|progress| progress.body_read(end));
    }

    /// The handler has produced its answer. Returns whether the connection may be kept for another request: not if the
    /// body was not read to its end, and not after a large head.
    pub(super) fn end_request(&self) -> bool {
        let registration = &self.0.registration;
        registration.set_busy(false);
        self.progress(|progress| {
            if progress.may_read() == 0 {
                registration.wake();
            }
            progress.end_request(Instant::now())
        })
    }
}

/// The connection of a request.
pub(super) fn of(request: &HttpRequest) -> &Connection {
    request
        .conn_data()
        .expect("the acceptor puts one with the data of each connection")
}

/// What bounds a connection, from the section `http`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) header_timeout: Duration,
    pub(super) keep_alive: Duration,
    /// Bytes of a head.
    pub(super) head_size: usize,
}

/// Which part of a request a connection is at.
pub(super) struct Progress {
    limits: Limits,
    stage: Stage,
    /// The last four bytes that the server was given.
    tail: [u8; 4],
}

#[derive(Debug)]
enum Stage {
    /// The server holds no byte of a next request.
    Idle { until: Instant },
    /// The server may hold a part of a head.
    Head {
        until: Instant,
        /// Bytes that the server was given since the last request ended.
        size: usize,
        /// Where the head ends. `None`: bytes of this head were read with the request before, so that its
        /// beginning is not known.
        end: Option<HeadEnd>,
    },
    /// A handler works on a request. Its own time-outs bound how long.
    Request {
        /// Bytes that the server was given since the head began.
        size: usize,
        /// The size of the head, if that is known.
        head: Option<usize>,
        /// The body's end, once it was read, and the bytes that the server was given since.
        body: Option<(BodyEnd, usize)>,
    },
    /// The connection ends; what still comes is thrown away.
    Closing { until: Instant },
}

/// Finds the empty line that ends a head.
#[derive(Debug, Default)]
struct HeadEnd {
    /// The current line has a byte that is no line end.
    line_has_content: bool,
    /// A line with content came before. Empty lines before a request line are ignored (RFC 9112, section 2.2).
    has_begun: bool,
    /// The size of the head, once its end was found.
    found: Option<usize>,
}

/// Why a connection is closed while no request is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// No request came in time: there is nothing to answer.
    Idle,
    /// A head was not complete in time: 408.
    Head,
    /// The connection was ending already, and its client did not let go of it in time.
    Closing,
}

/// A head is larger than `http.head_size`: 431.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadTooLarge;

impl Progress {
    fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            // The first head has to be there within the time-out, counted from the connection's beginning.
            stage: Stage::Idle {
                until: now + limits.header_timeout,
            },
            tail: [0; 4],
        }
    }

    /// When the connection has to be closed if nothing happens until then. `None` while a handler works.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Idle { until } | Stage::Head { until, .. } | Stage::Closing { until } => {
                Some(until)
            }
            Stage::Request { .. } => None,
        }
    }

    /// The deadline has passed. What the connection was at; it is closing now.
    pub(super) fn expire(&mut self, now: Instant) -> Expired {
        let expired = match self.stage {
            Stage::Head { .. } => Expired::Head,
            Stage::Closing { .. } => Expired::Closing,
            Stage::Idle { .. } | Stage::Request { .. } => Expired::Idle,
        };
        self.close(now);
        expired
    }

    /// The connection ends within [`LINGER`].
    pub(super) fn close(&mut self, now: Instant) {
        self.stage = Stage::Closing {
            until: now + LINGER,
        };
    }

    /// How many bytes the server may be given now. 0 while a handler works and the client has sent as much ahead as
    /// it may; the connection is woken when the request ends.
    pub(super) fn may_read(&self) -> usize {
        match self.stage {
            Stage::Request {
                body: Some((_, ahead)),
                ..
            } => MAX_READ.saturating_sub(ahead),
            _ => MAX_READ,
        }
    }

    /// Bytes of an incomplete head that the server holds.
    pub(super) fn head_size(&self) -> usize {
        match &self.stage {
            Stage::Head { size, .. } => *size,
            _ => 0,
        }
    }

    /// The server is given these bytes.
    ///
    /// # Errors
    /// When they make a head too large. The server is not to get them then.
    pub(super) fn deliver(&mut self, bytes: &[u8], now: Instant) -> Result<(), HeadTooLarge> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Stage::Idle { .. } = self.stage {
            self.stage = Stage::Head {
                until: now + self.limits.header_timeout,
                size: 0,
                end: Some(HeadEnd::default()),
            };
        }
        match &mut self.stage {
            Stage::Head { size, end, .. } => {
                let before = *size;
                *size += bytes.len();
                let found = end.as_mut().and_then(|end| end.find(bytes, before));
                let head = found.unwrap_or(*size);
                if head > self.limits.head_size || *size > self.limits.head_size + MAX_READ {
                    return Err(HeadTooLarge);
                }
            }
            Stage::Request { size, body, .. } => {
                *size += bytes.len();
                if let Some((_, ahead)) = body {
                    *ahead += bytes.len();
                }
            }
            Stage::Idle { .. } | Stage::Closing { .. } => {}
        }
        let kept = bytes.len().min(4);
        self.tail.rotate_left(kept);
        self.tail[4 - kept..].copy_from_slice(&bytes[bytes.len() - kept..]);
        Ok(())
    }

    fn begin_request(&mut self, has_body: bool) {
        let (size, head) = match &self.stage {
            Stage::Head { size, end, .. } => (*size, end.as_ref().and_then(|end| end.found)),
            _ => (0, None),
        };
        self.stage = Stage::Request {
            size,
            head,
            body: (!has_body).then_some((BodyEnd::Length(0), 0)),
        };
    }

    fn body_read(&mut self, end: BodyEnd) {
        if let Stage::Request { body, .. } = &mut self.stage {
            *body = Some((end, 0));
        }
    }

    fn end_request(&mut self, now: Instant) -> bool {
        let Stage::Request { size, head, body } = self.stage else {
            return false;
        };
        // The server keeps the memory that a large head took, for as long as the connection is open.
        let is_kept = body.is_some() && head.is_none_or(|size| size <= MAX_READ);
        let is_at_end = match body {
            Some((BodyEnd::Length(length), _)) => {
                head.is_some_and(|head| head as u64 + length == size as u64)
            }
            // A part of a head never ends with an empty line.
            Some((BodyEnd::LastChunk, _)) => self.tail == *b"\r\n\r\n",
            None => false,
        };
        self.stage = if !is_kept {
            Stage::Closing {
                until: now + self.limits.header_timeout.max(LINGER),
            }
        } else if is_at_end {
            // With `keep_alive: 0` the server closes the connection once the answer is written.
            let patience = match self.limits.keep_alive {
                Duration::ZERO => self.limits.header_timeout,
                keep_alive => keep_alive,
            };
            Stage::Idle {
                until: now + patience,
            }
        } else {
            Stage::Head {
                until: now + self.limits.header_timeout,
                size: 0,
                end: None,
            }
        };
        is_kept
    }
}

impl HeadEnd {
    /// Looks for the end of the head in `bytes`, which come after `before` bytes of it. Returns the size of the head, once
    /// its end was found.
    fn find(&mut self, bytes: &[u8], before: usize) -> Option<usize> {
        let mut rest = bytes;
        while self.found.is_none()
            && let Some(line_end) = memchr::memchr(b'\n', rest)
        {
            self.read_line(&rest[..line_end]);
            rest = &rest[line_end + 1..];
            if !self.line_has_content && self.has_begun {
                self.found = Some(before + bytes.len() - rest.len());
            }
            self.has_begun |= self.line_has_content;
            self.line_has_content = false;
        }
        if self.found.is_none() {
            self.read_line(rest);
        }
        self.found
    }

    fn read_line(&mut self, part: &[u8]) {
        self.line_has_content |= !matches!(part, [] | [b'\r']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        header_timeout: Duration::from_secs(5),
        keep_alive: Duration::from_secs(75),
        head_size: 16 * 1024,
    };

    const HEAD: &[u8] = b"POST /webhooks/minchat HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n";

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn begun() -> (Progress, Instant) {
        let now = Instant::now();
        (Progress::new(LIMITS, now), now)
    }

    fn request(progress: &mut Progress, bytes: &[u8], body: BodyEnd, now: Instant) -> bool {
        progress.deliver(bytes, now).expect("the head is small");
        progress.begin_request(true);
        assert_eq!(progress.deadline(), None);
        progress.body_read(body);
        progress.end_request(now)
    }

    #[test]
    fn each_head_has_the_header_timeout_from_its_first_byte() {
        let (mut progress, began) = begun();
        assert_eq!(progress.deadline(), Some(began + seconds(5)));
        for round in 1..4 {
            let now = began + round * seconds(60);
            assert!(request(
                &mut progress,
                &[HEAD, b"{}"].concat(),
                BodyEnd::Length(2),
                now
            ));
            assert_eq!(progress.deadline(), Some(now + seconds(75)));
        }
        let now = began + seconds(300);
        for (byte, at) in HEAD.iter().zip(0..) {
            let later = now + Duration::from_millis(at);
            progress.deliver(&[*byte], later).expect("it is small");
            assert_eq!(progress.deadline(), Some(now + seconds(5)));
        }
        assert_eq!(progress.expire(now), Expired::Head);
        assert_eq!(progress.deadline(), Some(now + LINGER));
        assert_eq!(progress.expire(now), Expired::Closing);
    }

    #[test]
    fn empty_lines_between_requests_do_not_extend_an_idle_connection() {
        let (mut progress, now) = begun();
        request(&mut progress, HEAD, BodyEnd::Length(0), now);
        progress
            .deliver(b"\r\n", now + seconds(10))
            .expect("it is small");
        assert_eq!(progress.deadline(), Some(now + seconds(15)));
        progress
            .deliver(b"\r\n", now + seconds(14))
            .expect("it is small");
        assert_eq!(progress.deadline(), Some(now + seconds(15)));
    }

    #[test]
    fn a_connection_that_may_hold_a_part_of_a_head_has_only_the_header_timeout() {
        for (bytes, body, idle) in [
            (&b"{}"[..], BodyEnd::Length(2), true),
            (b"{}P", BodyEnd::Length(2), false),
            (b"{}POST /", BodyEnd::Length(2), false),
            (b"2\r\n{}\r\n0\r\n\r\n", BodyEnd::LastChunk, true),
            (b"2\r\n{}\r\n0\r\nx: y\r\n\r\n", BodyEnd::LastChunk, true),
            (b"2\r\n{}\r\n0\r\n\r\nP", BodyEnd::LastChunk, false),
            (
                b"2\r\n{}\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
                BodyEnd::LastChunk,
                false,
            ),
        ] {
            let (mut progress, now) = begun();
            assert!(request(&mut progress, &[HEAD, bytes].concat(), body, now));
            let patience = if idle { seconds(75) } else { seconds(5) };
            assert_eq!(progress.deadline(), Some(now + patience), "{bytes:?}");
        }
    }

    #[test]
    fn what_follows_a_pipelined_request_has_only_the_header_timeout() {
        let (mut progress, now) = begun();
        let two = [HEAD, b"{}", HEAD, b"{}"].concat();
        assert!(request(&mut progress, &two, BodyEnd::Length(2), now));
        progress.begin_request(true);
        progress.body_read(BodyEnd::Length(2));
        assert!(progress.end_request(now));
        assert_eq!(progress.deadline(), Some(now + seconds(5)));
        assert_eq!(progress.expire(now), Expired::Head);
    }

    #[test]
    fn a_head_is_refused_once_it_is_too_large_however_it_comes() {
        for step in [1, 100, MAX_READ] {
            let (mut progress, now) = begun();
            progress
                .deliver(b"GET / HTTP/1.1\r\nx: ", now)
                .expect("it is small");
            let chunk = vec![b'x'; step];
            let mut taken = progress.head_size();
            while progress.deliver(&chunk, now).is_ok() {
                taken += step;
            }
            assert!(taken <= LIMITS.head_size && taken + step > LIMITS.head_size);
        }
        let (mut progress, now) = begun();
        request(
            &mut progress,
            &[HEAD, b"{}P"].concat(),
            BodyEnd::Length(2),
            now,
        );
        let mut taken = 0;
        while progress.deliver(&[b'x'; 100], now).is_ok() {
            taken += 100;
        }
        assert!(
            taken <= LIMITS.head_size + MAX_READ,
            "also where the beginning of the head is not known"
        );
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_is_cut_into_pieces() {
        for head in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"GET / HTTP/1.1\n\n",
            b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\n\r\n",
        ] {
            let bytes = [head, b"body\r\n\r\nmore"].concat();
            for step in 1..bytes.len() {
                let mut end = HeadEnd::default();
                let mut read = 0;
                for piece in bytes.chunks(step) {
                    end.find(piece, read);
                    read += piece.len();
                }
                assert_eq!(end.found, Some(head.len()));
            }
        }
        for head in [&b"GET / HTTP/1.1\r\nhost: a\r\n"[..], b"\r\n\r\n\r\n", b""] {
            assert_eq!(HeadEnd::default().find(head, 0), None);
        }
    }

    #[test]
    fn a_client_can_send_little_ahead_while_its_request_is_worked_on() {
        let (mut progress, now) = begun();
        progress
            .deliver(&[HEAD, b"{}"].concat(), now)
            .expect("it is small");
        progress.begin_request(true);
        assert_eq!(progress.may_read(), MAX_READ);
        progress.body_read(BodyEnd::Length(2));
        for _ in 0..MAX_READ {
            assert!(progress.may_read() > 0);
            progress.deliver(b"x", now).expect("it is no head yet");
        }
        assert_eq!(progress.may_read(), 0);
        assert!(progress.end_request(now));
        assert_eq!(progress.may_read(), MAX_READ);
    }

    #[test]
    fn a_large_head_and_an_unread_body_are_the_connections_last() {
        let (mut progress, now) = begun();
        let large = [b"GET / HTTP/1.1\r\nx: ", &[b'x'; MAX_READ][..], b"\r\n\r\n"].concat();
        assert!(!request(&mut progress, &large, BodyEnd::Length(0), now));
        let (mut progress, now) = begun();
        progress.deliver(HEAD, now).expect("it is small");
        progress.begin_request(true);
        assert!(!progress.end_request(now));
        assert_eq!(progress.deadline(), Some(now + seconds(5)));
        assert_eq!(progress.expire(now), Expired::Closing);
    }
}
