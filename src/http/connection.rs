//! One connection: how far its current request is, and when the connection has to end.
//!
//! Guarantees, for every request of a connection and not just for the first: a head is complete within
//! `http.header_timeout` of its first byte, or the connection is closed; an idle connection is closed after
//! `http.keep_alive`; an incomplete head takes no more than `http.head_size` and one read of [`MAX_READ`] bytes; the
//! server has one request at a time, and the next one only when the answer was written, or never if that answer closes
//! the connection (RFC 9112, section 9.6).
//! actix-http 3.20 has none of these: it arms its head timer once, stops its keep-alive timer on the next byte, and
//! decodes all requests of a read at once, each of which takes about 6 KiB.
//! Not responsible for: reading and writing (`stream`), and how many connections there may be (`connections`).
//!
//! A connection belongs to one worker thread. [`Progress`] is the state machine, without clock or I/O; the stream
//! asks it how many bytes the server may have, and the handlers report when a request begins and ends. Where a request
//! ends is read here just to hold back what follows: the server reads it again, and what it refuses is refused.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::ConnectionType;
use actix_web::{HttpRequest, HttpResponse};
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
    /// The current request has shown good credentials.
    is_authenticated: Cell<bool>,
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
            is_authenticated: Cell::new(false),
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
    pub(super) fn begin_request(&self, request: &HttpRequest, has_body: bool) {
        self.0.is_authenticated.set(false);
        // The server keeps no connection whose client asks for another protocol.
        let is_last = request.head().connection_type() != ConnectionType::KeepAlive;
        self.progress(|progress| progress.begin_request(has_body, is_last));
        self.0.registration.set_busy(true);
        self.0.registration.release_head();
    }

    /// The request on this connection has shown good credentials: the connection is not closed in favour of others.
    pub(super) fn authenticated(&self) {
        self.0.is_authenticated.set(true);
        self.0.registration.authenticated();
    }

    /// The handler has read the whole body.
    pub(super) fn body_read(&self) {
        self.progress(Progress::body_read);
    }

    /// The handler has produced this answer. The connection is kept for another request, but not if the body was not read
    /// to its end, not after a large head, and not if the client wants it closed or another protocol on it.
    pub(super) fn end_request(&self, response: &mut HttpResponse) {
        let registration = &self.0.registration;
        registration.set_busy(false);
        if !self.0.is_authenticated.get() {
            registration.unauthenticated();
        }
        let is_last = response.head().connection_type() == ConnectionType::Close;
        let is_kept = self.progress(|progress| progress.end_request(is_last, Instant::now()));
        if !is_kept {
            response
                .head_mut()
                .set_connection_type(ConnectionType::Close);
        }
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
}

#[derive(Debug)]
enum Stage {
    /// The server holds no byte of a next request.
    Idle { until: Instant },
    /// The server has a part of a head, or all of it.
    Head {
        until: Instant,
        head: Head,
        /// What follows the head, once that is complete.
        body: Option<Body>,
    },
    /// A handler works on a request. Its own time-outs bound how long.
    Request {
        body: Body,
        is_body_read: bool,
        /// The connection is closed after the answer.
        is_last: bool,
    },
    /// The answer is not written yet.
    Answer { until: Instant, is_last: bool },
    /// The connection ends; what still comes is thrown away.
    Closing { until: Instant },
}

/// Finds the end of a head, and what follows it.
#[derive(Debug, Default)]
struct Head {
    /// The bytes of the head so far.
    size: usize,
    /// The beginning of the line that is not complete.
    line: Vec<u8>,
    /// A line with content came. Empty lines before a request line are ignored (RFC 9112, section 2.2).
    has_begun: bool,
    content_length: u64,
    is_chunked: bool,
}

/// What the server may still have of a body.
#[derive(Debug)]
enum Body {
    /// So many bytes.
    Length(u64),
    /// A chunked body ends with an empty line, which can also be in the middle of one. So after each of them the server
    /// looks at what it has before it gets more. `line_has_content`: the current line is not empty.
    Chunked { line_has_content: bool },
}

/// The longest part of a line that is remembered until the rest of it comes, in bytes: enough for the fields that tell
/// where a body ends.
const MAX_LINE: usize = 256;

/// What the server is given of what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// So many bytes.
    pub(super) bytes: usize,
    /// The server has to look at them before it may get more.
    pub(super) is_end_possible: bool,
}

/// What the server has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// No answer to a request, or nothing.
    NoAnswer,
    /// An answer: another request may come.
    Answer,
    /// The answer that closes the connection.
    LastAnswer,
}

/// Why a connection is closed while no request is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// No request came in time: there is nothing to answer.
    Idle,
    /// A head was not complete in time: 408.
    Head,
    /// The client did not read its answer, or did not let go of a connection that was ending, in time.
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
        }
    }

    /// When the connection has to be closed if nothing happens until then. `None` while a handler works.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Idle { until }
            | Stage::Head { until, .. }
            | Stage::Answer { until, .. }
            | Stage::Closing { until } => Some(until),
            Stage::Request { .. } => None,
        }
    }

    /// The deadline has passed. What the connection was at; it is closing now.
    pub(super) fn expire(&mut self, now: Instant) -> Expired {
        let expired = match self.stage {
            Stage::Head { .. } => Expired::Head,
            Stage::Answer { .. } | Stage::Closing { .. } => Expired::Closing,
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

    /// Whether the server may have nothing now: it has a whole request, or the connection ends.
    pub(super) const fn is_held_back(&self) -> bool {
        match &self.stage {
            Stage::Idle { .. } | Stage::Head { body: None, .. } => false,
            Stage::Head {
                body: Some(body), ..
            } => body.is_complete(),
            Stage::Request {
                body, is_body_read, ..
            } => *is_body_read || body.is_complete(),
            Stage::Answer { .. } | Stage::Closing { .. } => true,
        }
    }

    /// Bytes of an incomplete head that the server holds.
    pub(super) const fn head_size(&self) -> usize {
        match &self.stage {
            Stage::Head { head, .. } => head.size,
            _ => 0,
        }
    }

    /// How many of these bytes the server is given now.
    ///
    /// # Errors
    /// When they make a head too large. The server is not to get them then.
    pub(super) fn deliver(&mut self, bytes: &[u8], now: Instant) -> Result<Delivery, HeadTooLarge> {
        if let Stage::Idle { .. } = self.stage {
            self.stage = Stage::Head {
                until: now + self.limits.header_timeout,
                head: Head::default(),
                body: None,
            };
        }
        let (of_head, body) = match &mut self.stage {
            Stage::Head { head, body, .. } => {
                let of_head = match body {
                    None => {
                        let end = head.find_end(bytes);
                        if head.size > self.limits.head_size {
                            return Err(HeadTooLarge);
                        }
                        *body = end.is_some().then(|| head.body());
                        end.unwrap_or(bytes.len())
                    }
                    Some(_) => 0,
                };
                (of_head, body.as_mut())
            }
            Stage::Request {
                body,
                is_body_read: false,
                ..
            } => (0, Some(body)),
            _ => (0, None),
        };
        let (of_body, is_end_possible) =
            body.map_or((0, false), |body| body.take(&bytes[of_head..]));
        Ok(Delivery {
            bytes: of_head + of_body,
            is_end_possible,
        })
    }

    fn begin_request(&mut self, has_body: bool, is_last: bool) {
        let before = std::mem::replace(
            &mut self.stage,
            Stage::Request {
                body: Body::Length(0),
                is_body_read: !has_body,
                is_last: is_last || self.limits.keep_alive.is_zero(),
            },
        );
        if let Stage::Head {
            head,
            body: Some(of_request),
            ..
        } = before
            && let Stage::Request { body, is_last, .. } = &mut self.stage
        {
            *body = of_request;
            // The server keeps the memory that a large head took, for as long as the connection is open.
            *is_last |= head.size > MAX_READ;
        }
    }

    fn body_read(&mut self) {
        if let Stage::Request { is_body_read, .. } = &mut self.stage {
            *is_body_read = true;
        }
    }

    fn end_request(&mut self, is_last_answer: bool, now: Instant) -> bool {
        let Stage::Request {
            is_body_read,
            is_last,
            ..
        } = self.stage
        else {
            return false;
        };
        let is_last = is_last || is_last_answer || !is_body_read;
        self.stage = Stage::Answer {
            until: now + self.limits.header_timeout.max(LINGER),
            is_last,
        };
        !is_last
    }

    /// The server has written all it had to write.
    pub(super) fn all_written(&mut self, now: Instant) -> Written {
        match self.stage {
            Stage::Answer { is_last: true, .. } => {
                self.close(now);
                Written::LastAnswer
            }
            Stage::Answer { is_last: false, .. } => {
                self.stage = Stage::Idle {
                    until: now + self.limits.keep_alive,
                };
                Written::Answer
            }
            _ => Written::NoAnswer,
        }
    }
}

impl Head {
    /// Looks for the end of the head in `bytes`, the next ones of it. Returns how many of them belong to it, if it ends
    /// with them.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        while let Some(line_end) = memchr::memchr(b'\n', rest) {
            let is_empty = if self.line.is_empty() {
                self.read_line(&rest[..line_end])
            } else {
                self.remember(&rest[..line_end]);
                let line = std::mem::take(&mut self.line);
                self.read_line(&line)
            };
            rest = &rest[line_end + 1..];
            if is_empty && self.has_begun {
                let read = bytes.len() - rest.len();
                self.size += read;
                return Some(read);
            }
            self.has_begun |= !is_empty;
        }
        self.remember(rest);
        self.size += bytes.len();
        None
    }

    fn remember(&mut self, part: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Reads what a line says of the body. Returns whether the line is empty.
    fn read_line(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut parts = line.splitn(2, |byte| *byte == b':');
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            if name.eq_ignore_ascii_case(b"content-length") {
                let value = std::str::from_utf8(value).ok();
                let length = value.and_then(|value| value.trim().parse().ok());
                self.content_length = length.unwrap_or_default();
            }
            self.is_chunked |= name.eq_ignore_ascii_case(b"transfer-encoding");
        }
        line.is_empty()
    }

    const fn body(&self) -> Body {
        match self.is_chunked {
            true => Body::Chunked {
                line_has_content: false,
            },
            false => Body::Length(self.content_length),
        }
    }
}

impl Body {
    const fn is_complete(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// How many of these bytes the server may have, and whether the body can end with them, as far as is known here.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        match self {
            Self::Length(left) => {
                let taken = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                (taken, false)
            }
            Self::Chunked { line_has_content } => {
                let has_content = |line: &[u8]| !matches!(line, [] | [b'\r']);
                let mut begin = 0;
                for end in memchr::memchr_iter(b'\n', bytes) {
                    let is_empty = !*line_has_content && !has_content(&bytes[begin..end]);
                    *line_has_content = false;
                    begin = end + 1;
                    if is_empty {
                        return (begin, true);
                    }
                }
                *line_has_content |= has_content(&bytes[begin..]);
                (bytes.len(), false)
            }
        }
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
    const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn begun() -> (Progress, Instant) {
        let now = Instant::now();
        (Progress::new(LIMITS, now), now)
    }

    /// How many of these bytes the server gets.
    fn delivered(progress: &mut Progress, bytes: &[u8], now: Instant) -> usize {
        let delivery = progress.deliver(bytes, now).expect("the head is small");
        delivery.bytes
    }

    /// Plays one whole request, and returns whether the connection is kept.
    fn request(progress: &mut Progress, bytes: &[u8], now: Instant) -> bool {
        assert_eq!(delivered(progress, bytes, now), bytes.len());
        progress.begin_request(bytes.starts_with(b"POST"), false);
        assert_eq!(progress.deadline(), None);
        progress.body_read();
        let is_kept = progress.end_request(false, now);
        assert_eq!(progress.deadline(), Some(now + seconds(5)));
        let is_last = progress.all_written(now) == Written::LastAnswer;
        assert_eq!(is_last, !is_kept);
        is_kept
    }

    #[test]
    fn each_head_has_the_header_timeout_from_its_first_byte() {
        let (mut progress, began) = begun();
        assert_eq!(progress.deadline(), Some(began + seconds(5)));
        for round in 1..4 {
            let now = began + round * seconds(60);
            assert!(request(&mut progress, &[HEAD, b"{}"].concat(), now));
            assert_eq!(progress.deadline(), Some(now + seconds(75)));
        }
        let now = began + seconds(300);
        for (byte, at) in HEAD.iter().zip(0..) {
            let later = now + Duration::from_millis(at);
            assert_eq!(delivered(&mut progress, &[*byte], later), 1);
            assert_eq!(progress.deadline(), Some(now + seconds(5)));
        }
        assert_eq!(progress.expire(now), Expired::Head);
        assert_eq!(progress.deadline(), Some(now + LINGER));
        assert_eq!(progress.expire(now), Expired::Closing);
    }

    #[test]
    fn empty_lines_between_requests_do_not_extend_an_idle_connection() {
        let (mut progress, now) = begun();
        request(&mut progress, GET, now);
        for at in [10, 14] {
            assert_eq!(delivered(&mut progress, b"\r\n", now + seconds(at)), 2);
            assert_eq!(progress.deadline(), Some(now + seconds(15)));
        }
    }

    #[test]
    fn the_server_gets_one_request_at_a_time_however_they_are_cut_into_pieces() {
        let requests = [
            [HEAD, b"{}"].concat(),
            GET.to_vec(),
            [CHUNKED, b"2\r\n{}\r\n0\r\n\r\n"].concat(),
            [CHUNKED, b"4\r\n\r\n\r\n\r\n0\r\nx: y\r\n\r\n"].concat(),
            b"GET / HTTP/1.1\nhost: a\n\n".to_vec(),
            b"\r\n\r\nPOST / HTTP/1.1\r\nCONTENT-LENGTH:1\r\n\r\n1".to_vec(),
        ];
        let all = requests.concat();
        for step in 1..all.len() {
            let (mut progress, now) = begun();
            let mut next = all.as_slice();
            for request in &requests {
                let mut got = Vec::new();
                let mut has_begun = false;
                while got.len() < request.len() {
                    let piece = &next[..next.len().min(step)];
                    let count = delivered(&mut progress, piece, now);
                    got.extend_from_slice(&piece[..count]);
                    next = &next[count..];
                    let is_head_complete =
                        matches!(progress.stage, Stage::Head { body: Some(_), .. });
                    if is_head_complete && !has_begun {
                        has_begun = true;
                        progress.begin_request(!request.starts_with(b"GET"), false);
                    }
                    assert!(count > 0, "the request is not complete");
                }
                assert_eq!(got, *request, "{step}");
                progress.body_read();
                assert!(progress.is_held_back());
                assert_eq!(delivered(&mut progress, next, now), 0);
                assert!(progress.end_request(false, now));
                assert_eq!(delivered(&mut progress, next, now), 0, "before the answer");
                assert_eq!(progress.all_written(now), Written::Answer);
            }
        }
    }

    #[test]
    fn after_each_empty_line_of_a_chunked_body_the_server_looks_at_what_it_has() {
        let (mut progress, now) = begun();
        let body = b"4\r\n\r\n\r\n\r\n0\r\n\r\n";
        let bytes = [CHUNKED, body, GET].concat();
        let first = Delivery {
            bytes: CHUNKED.len() + 5,
            is_end_possible: true,
        };
        assert_eq!(progress.deliver(&bytes, now), Ok(first));
        progress.begin_request(true, false);
        let mut rest = &bytes[first.bytes..];
        for bytes in [2, 2, 5] {
            let next = Delivery {
                bytes,
                is_end_possible: true,
            };
            assert_eq!(progress.deliver(rest, now), Ok(next));
            rest = &rest[bytes..];
        }
        assert_eq!(rest, GET);
    }

    #[test]
    fn a_head_is_refused_once_it_is_too_large_however_it_comes() {
        for step in [1, 100, MAX_READ] {
            for before in [&b""[..], GET] {
                let (mut progress, now) = begun();
                if !before.is_empty() {
                    request(&mut progress, before, now);
                }
                delivered(&mut progress, b"GET / HTTP/1.1\r\nx: ", now);
                let chunk = vec![b'x'; step];
                let mut taken = progress.head_size();
                while progress.deliver(&chunk, now).is_ok() {
                    taken += step;
                }
                assert!(taken <= LIMITS.head_size && taken + step > LIMITS.head_size);
            }
        }
    }

    #[test]
    fn the_last_request_of_a_connection_is_followed_by_nothing() {
        let large = [b"GET / HTTP/1.1\r\nx: ", &[b'x'; MAX_READ][..], b"\r\n\r\n"].concat();
        let (mut progress, now) = begun();
        assert!(!request(&mut progress, &large, now), "it has a large head");
        assert_eq!(delivered(&mut progress, GET, now), 0);
        for (is_body_read, is_last) in [(false, false), (true, true)] {
            let (mut progress, now) = begun();
            delivered(&mut progress, &[HEAD, b"{}"].concat(), now);
            progress.begin_request(true, is_last);
            if is_body_read {
                progress.body_read();
            }
            assert!(!progress.end_request(false, now));
            assert_eq!(delivered(&mut progress, GET, now), 0);
            assert_eq!(progress.all_written(now), Written::LastAnswer);
            assert_eq!(delivered(&mut progress, GET, now), 0);
            assert_eq!(progress.deadline(), Some(now + LINGER));
            assert_eq!(progress.expire(now), Expired::Closing);
        }
        let none_kept = Limits {
            keep_alive: Duration::ZERO,
            ..LIMITS
        };
        assert!(!request(&mut Progress::new(none_kept, now), GET, now));
    }
}
