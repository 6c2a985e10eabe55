//! The state of one connection: how far its current request is, and when the connection has to end.
//!
//! Guarantees, for every request of a connection and not just for the first: a head is complete within
//! `http.header_timeout` of its first byte, or the connection is closed; an idle connection is closed after
//! `http.keep_alive`; an incomplete head takes no more memory than `http.head_size` and one read of [`MAX_READ`] bytes;
//! the server gets one request at a time: it gets the next one after it has written the answer, or never if that answer
//! closes the connection (RFC 9112, section 9.6). "The server" is the HTTP/1 dispatcher of actix-http.
//! actix-http 3.20 guarantees none of these: it starts its head timer once a connection, stops its keep-alive timer on
//! the next byte, and decodes all requests of a read at once, each of which takes about 6 KiB.
//! Not responsible for: reading and writing (`stream`), and how many connections may be open (`connections`).
//!
//! A connection belongs to one worker thread. [`Progress`] is the state machine; it has no clock and does no I/O. The
//! stream asks it how many bytes the server may have, and the handlers report when a request begins and ends. This
//! module finds the end of a request only to hold back the bytes that follow it. The server parses the request itself
//! and decides whether it is valid.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::ConnectionType;
use actix_web::{HttpRequest, HttpResponse};
use tokio::time::Instant;

use super::chunks::Chunks;
use super::connections::{Incomplete, Registration};
use super::tls::ClientCertificate;

/// The most bytes that the server gets before it has to parse them. actix-http allocates this many for its read buffer
/// when a connection begins.
pub(super) const MAX_READ: usize = 8 * 1024;

/// The longest time that a connection may stay open after the bridge has decided to close it. If a socket is closed
/// while a client is still sending, the client may lose the last answer.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The state of a connection, shared by its stream and the handlers of its requests.
#[derive(Clone)]
pub(super) struct Connection(Rc<Shared>);

struct Shared {
    registration: Rc<Registration>,
    certificate: Option<ClientCertificate>,
    progress: RefCell<Progress>,
    /// Whether the current request has shown good credentials.
    has_credentials: Cell<bool>,
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
            has_credentials: Cell::new(false),
        }))
    }

    /// The certificate that the client presented.
    pub(super) fn certificate(&self) -> Option<&ClientCertificate> {
        self.0.certificate.as_ref()
    }

    pub(super) fn registration(&self) -> &Registration {
        &self.0.registration
    }

    /// Calls `change` with the progress, which is borrowed only during that call.
    pub(super) fn progress<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.0.progress.borrow_mut())
    }

    /// A handler calls this before it does anything with a request. The head of the request is complete.
    pub(super) fn begin_request(&self, request: &HttpRequest, has_body: bool) {
        self.0.has_credentials.set(false);
        // actix-http does not reuse a connection whose client asks for another protocol.
        let is_last = request.head().connection_type() != ConnectionType::KeepAlive;
        self.progress(|progress| progress.begin_request(has_body, is_last));
        self.0.registration.set_busy(true);
        self.0.registration.reserve(Incomplete::Head, 0);
    }

    /// A handler calls this when the request has shown good credentials. The connection is not evicted for others then.
    pub(super) fn authenticated(&self) {
        self.0.has_credentials.set(true);
        self.0.registration.authenticated();
    }

    /// A handler calls this when it has read the whole body.
    pub(super) fn body_read(&self) {
        self.progress(Progress::body_read);
    }

    /// A handler calls this with its answer, and sends that answer then. Adds `connection: close` if the connection
    /// cannot be used for another request: the body was not read to its end, the head was large, or the client asks to
    /// close the connection or for another protocol.
    pub(super) fn end_request(&self, response: &mut HttpResponse) {
        let registration = &self.0.registration;
        registration.set_busy(false);
        if !self.0.has_credentials.get() {
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

/// Returns the connection of a request.
pub(super) fn of(request: &HttpRequest) -> &Connection {
    request
        .conn_data()
        .expect("the acceptor puts one with the data of each connection")
}

/// The limits of a connection, from the section `http`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) header_timeout: Duration,
    pub(super) keep_alive: Duration,
    /// The most bytes of a head.
    pub(super) head_size: usize,
}

/// The state machine of a connection: which part of a request it is at.
pub(super) struct Progress {
    limits: Limits,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The server has no byte of the next request.
    Idle { deadline: Instant },
    /// The server has a part of a head, or the whole head.
    Head {
        deadline: Instant,
        head: HeadScanner,
        /// The framing of the body. `None` until the head is complete.
        body: Option<BodyFraming>,
    },
    /// A handler works on a request. The handler has its own time-outs.
    Request {
        body: BodyFraming,
        is_body_read: bool,
        /// The connection is closed after the answer.
        is_last: bool,
    },
    /// The handler has returned, and the server has not written the whole answer yet.
    Answer { deadline: Instant, is_last: bool },
    /// The connection is closing. Bytes that still arrive are discarded.
    Closing { deadline: Instant },
}

/// Finds the end of a head, and how its body is framed.
#[derive(Debug, Default)]
struct HeadScanner {
    /// Bytes of the head so far.
    size: usize,
    /// The beginning of the current line, if the line is not complete.
    line: Vec<u8>,
    /// Whether a line with content has been read. Empty lines before a request line are ignored (RFC 9112, section
    /// 2.2).
    has_begun: bool,
    content_length: u64,
    is_chunked: bool,
}

/// How the end of a body is found, and how much of the body the server may still have.
#[derive(Debug)]
enum BodyFraming {
    /// This many bytes.
    Length(u64),
    Chunked(Chunks),
}

/// The most bytes that are buffered of an incomplete line. This is enough for the fields that say where a body ends.
const MAX_LINE: usize = 256;

/// What the server has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing, or something else than the answer to a request.
    NoAnswer,
    /// An answer. Another request may follow.
    Answer,
    /// The answer that closes the connection.
    LastAnswer,
}

/// Why a connection is closed while no handler works on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// No request arrived in time. There is nothing to answer.
    Idle,
    /// A head was not complete in time. The answer is a 408.
    Head,
    /// The client did not read its answer in time, or did not close a closing connection in time.
    Closing,
}

/// A head is larger than `http.head_size`. The answer is a 431.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadTooLarge;

impl Progress {
    fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            // The first head has to begin within the time-out, counted from when the connection was accepted.
            stage: Stage::Idle {
                deadline: now + limits.header_timeout,
            },
        }
    }

    /// When the connection has to be closed if nothing happens until then. `None` while a handler works on a request.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Idle { deadline }
            | Stage::Head { deadline, .. }
            | Stage::Answer { deadline, .. }
            | Stage::Closing { deadline } => Some(deadline),
            Stage::Request { .. } => None,
        }
    }

    /// Call this when the deadline has passed. Returns what was too late, and closes the connection.
    pub(super) fn expire(&mut self, now: Instant) -> Expired {
        let expired = match self.stage {
            Stage::Head { .. } => Expired::Head,
            Stage::Answer { .. } | Stage::Closing { .. } => Expired::Closing,
            Stage::Idle { .. } | Stage::Request { .. } => Expired::Idle,
        };
        self.close(now);
        expired
    }

    /// From now on the connection is closing. It ends within [`LINGER`].
    pub(super) fn close(&mut self, now: Instant) {
        self.stage = Stage::Closing {
            deadline: now + LINGER,
        };
    }

    /// Whether the server may not have any byte now, because it has a whole request or because the connection is
    /// closing.
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

    /// Bytes of a head that the server has buffered. 0 once a handler works on the request.
    pub(super) const fn head_size(&self) -> usize {
        match &self.stage {
            Stage::Head { head, .. } => head.size,
            _ => 0,
        }
    }

    /// Decides how many of these bytes the server gets now.
    ///
    /// # Errors
    /// When the head is too large with them. The caller must not give them to the server then.
    pub(super) fn forward(&mut self, bytes: &[u8], now: Instant) -> Result<usize, HeadTooLarge> {
        if let Stage::Idle { .. } = self.stage {
            self.stage = Stage::Head {
                deadline: now + self.limits.header_timeout,
                head: HeadScanner::default(),
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
        let of_body = body.map_or(0, |body| body.take(&bytes[of_head..]));
        Ok(of_head + of_body)
    }

    fn begin_request(&mut self, has_body: bool, is_last: bool) {
        let before = std::mem::replace(
            &mut self.stage,
            Stage::Request {
                body: BodyFraming::Length(0),
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
            // actix-http keeps the memory of a large head until the connection is closed.
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
            deadline: now + self.limits.header_timeout.max(LINGER),
            is_last,
        };
        !is_last
    }

    /// Call this when the server has written everything that it had to write.
    pub(super) fn all_written(&mut self, now: Instant) -> Written {
        match self.stage {
            Stage::Answer { is_last: true, .. } => {
                self.close(now);
                Written::LastAnswer
            }
            Stage::Answer { is_last: false, .. } => {
                self.stage = Stage::Idle {
                    deadline: now + self.limits.keep_alive,
                };
                Written::Answer
            }
            _ => Written::NoAnswer,
        }
    }
}

impl HeadScanner {
    /// Reads `bytes`, the next ones of the head. If the head ends in them, returns how many of them belong to it.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        while let Some(line_end) = memchr::memchr(b'\n', rest) {
            let is_empty = if self.line.is_empty() {
                self.read_line(&rest[..line_end])
            } else {
                self.buffer_line(&rest[..line_end]);
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
        self.buffer_line(rest);
        self.size += bytes.len();
        None
    }

    fn buffer_line(&mut self, part: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// Reads the body's framing from a line, if the line has it. Returns whether the line is empty.
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

    const fn body(&self) -> BodyFraming {
        match self.is_chunked {
            true => BodyFraming::Chunked(Chunks::BEGIN),
            false => BodyFraming::Length(self.content_length),
        }
    }
}

impl BodyFraming {
    /// Whether the server may have nothing more of the body.
    const fn is_complete(&self) -> bool {
        matches!(
            self,
            Self::Length(0) | Self::Chunked(Chunks::Complete | Chunks::Broken)
        )
    }

    /// Takes bytes of the body from the front of `bytes`. Returns how many the server may have.
    fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Length(left) => {
                let left_here = usize::try_from(*left).unwrap_or(usize::MAX);
                let taken = bytes.len().min(left_here);
                *left -= taken as u64;
                taken
            }
            Self::Chunked(chunks) => chunks.take(bytes),
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

    /// Returns how many of these bytes the server gets.
    fn delivered(progress: &mut Progress, bytes: &[u8], now: Instant) -> usize {
        progress.forward(bytes, now).expect("the head is small")
    }

    /// Plays one whole request, and returns whether the connection can be used for another one.
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
                while progress.forward(&chunk, now).is_ok() {
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
