//! The byte stream of a connection, which ends at the connection's deadline and limits.
//!
//! "The server" is the HTTP/1 dispatcher of actix-http, which reads from and writes to this stream.
//!
//! Guarantees: the server gets at most [`MAX_READ`] bytes before it has to parse them, and gets no byte that follows a
//! request before it has answered that request; the stream itself buffers at most [`MAX_READ`] bytes; when the deadline
//! of the connection passes or its head is too large, the stream writes a 408 or 431 itself (a 408 only if a head has
//! begun), and ends; an evicted connection ends at once; the bytes of incomplete TLS records and handshake messages are
//! bounded, and count like those of incomplete heads.
//! Not responsible for: deadlines and how many bytes the server may have (`connection`), and which connection is
//! evicted (`connections`).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, Expired, MAX_READ, Written};
use super::connections::{CloseSignal, Incomplete, Registration};
use super::problem::{HEAD_TIMEOUT_ANSWER, HEAD_TOO_LARGE_ANSWER, RawAnswer};

/// The socket of a connection, with or without TLS.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TlsSocket>>),
}

/// The most bytes that rustls may read from a socket without decrypting any for the server. This is more than one
/// record (RFC 8446, section 5.2: 16 KiB and 256 bytes), and more than the handshake messages of usual clients.
const MAX_UNDECRYPTED: usize = 32 * 1024;

/// The socket that rustls reads from. rustls buffers a record or a handshake message until it is complete: up to 64 KiB
/// of a message, and also after the handshake. So this type limits and counts those bytes.
pub(super) struct TlsSocket {
    socket: TcpStream,
    registration: Rc<Registration>,
    /// Bytes that rustls has read since it last decrypted any for the server.
    undecrypted: usize,
}

impl TlsSocket {
    pub(super) fn new(socket: TcpStream, registration: Rc<Registration>) -> Self {
        Self {
            socket,
            registration,
            undecrypted: 0,
        }
    }

    /// Call this when rustls has decrypted some of the bytes that it has read.
    pub(super) fn decrypted(&mut self) {
        self.undecrypted = 0;
        self.registration.reserve(Incomplete::Tls, 0);
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.undecrypted += buffer.filled().len() - before;
        if self.undecrypted > MAX_UNDECRYPTED {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        self.registration.reserve(Incomplete::Tls, self.undecrypted);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The byte stream that the server reads and writes.
pub(super) struct Stream {
    transport: Transport,
    connection: Connection,
    /// Fires at the deadline of the connection, or earlier: a later deadline does not reset the timer. If it fires
    /// early, it is reset.
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes that the server has got since this stream last returned `Pending`, and so may not have parsed yet.
    unparsed: usize,
    /// Bytes that were read from the socket, and that the server may not have yet.
    read_ahead: Vec<u8>,
    /// The last write returned `Pending`, because the client does not read fast enough.
    is_write_blocked: bool,
    ending: Ending,
}

/// How far the stream is in ending its connection.
enum Ending {
    No,
    /// The stream writes the rest of this answer, then closes the sending side. `rest` is empty if the server has
    /// written the last answer.
    Answering {
        rest: &'static [u8],
    },
    Lingering,
    /// The next read of the server returns the end of the stream.
    Ended,
}

impl Stream {
    pub(super) fn new(transport: Transport, connection: Connection) -> Self {
        Self {
            transport,
            connection,
            timer: None,
            unparsed: 0,
            read_ahead: Vec::new(),
            is_write_blocked: false,
            ending: Ending::No,
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends the connection if its [`CloseSignal`] says so.
    fn poll_close_signal(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.connection.registration().close_signal(cx) {
            CloseSignal::None => {}
            CloseSignal::Drain
                if self
                    .connection
                    .progress(|progress| progress.deadline().is_none()) => {}
            CloseSignal::Drain => {
                if let Ending::No = self.ending {
                    self.ending = Ending::Ended;
                }
            }
            CloseSignal::Evict => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        Ok(())
    }

    /// Ends the connection if its deadline has passed. Otherwise, the task of `cx` is woken at the deadline.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(deadline) = self.connection.progress(|progress| progress.deadline()) {
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            match Instant::now() >= deadline {
                true => self.expire()?,
                // The timer was set for an earlier deadline.
                false => timer.as_mut().reset(deadline),
            }
        }
        Ok(())
    }

    /// Checks, outside of a read, whether the connection has to end. If so, it wakes the task, so that the server reads
    /// the end of the stream.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let was_open = matches!(self.ending, Ending::No);
        self.poll_close_signal(cx)?;
        self.poll_deadline(cx)?;
        if was_open && !matches!(self.ending, Ending::No) {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn expire(&mut self) -> io::Result<()> {
        let expired = self
            .connection
            .progress(|progress| progress.expire(Instant::now()));
        match expired {
            Expired::Idle => self.ending = Ending::Ended,
            Expired::Head => self.answer(HEAD_TIMEOUT_ANSWER)?,
            Expired::Closing => return Err(io::ErrorKind::TimedOut.into()),
        }
        Ok(())
    }

    /// Ends the connection with this answer, which the stream writes itself.
    fn answer(&mut self, answer: RawAnswer) -> io::Result<()> {
        if self.is_write_blocked {
            // The answer would be written into the middle of an earlier one.
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.connection.registration().head_refused(answer.status);
        self.ending = Ending::Answering { rest: answer.bytes };
        Ok(())
    }

    /// Does the steps of [`Ending`]. Returns `Ready` when the server may read the end of the stream.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Ending::Answering { rest } = &mut self.ending {
            while !rest.is_empty() {
                let written = ready!(self.transport.poll_write(cx, rest))?;
                *rest = &rest[written..];
            }
            ready!(self.transport.poll_shutdown(cx))?;
            self.ending = Ending::Lingering;
        }
        if let Ending::Lingering = self.ending {
            let mut scratch = [0; MAX_READ];
            let mut discarded = ReadBuf::new(&mut scratch);
            ready!(self.transport.poll_read(cx, &mut discarded))?;
            if !discarded.filled().is_empty() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.ending = Ending::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the server up to `max` of the bytes that have been received, and keeps the rest in `read_ahead`.
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        if self.connection.progress(|progress| progress.is_held_back()) {
            return self.poll_read_ahead(cx);
        }
        let before = buffer.filled().len();
        let max = max.min(buffer.remaining());
        if !self.read_ahead.is_empty() {
            buffer.put_slice(&self.read_ahead[..self.read_ahead.len().min(max)]);
        } else if buffer.remaining() == max {
            ready!(self.transport.poll_read(cx, buffer))?;
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(max));
            ready!(self.transport.poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buffer.advance(read);
        }
        let bytes = &buffer.filled()[before..];
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let now = Instant::now();
        let (forwarded, head) = self.connection.progress(|progress| {
            let forwarded = progress.forward(bytes, now);
            (forwarded, progress.head_size())
        });
        let Ok(count) = forwarded else {
            buffer.set_filled(before);
            self.connection.progress(|progress| progress.close(now));
            self.answer(HEAD_TOO_LARGE_ANSWER)?;
            return Poll::Pending;
        };
        if self.read_ahead.is_empty() {
            self.read_ahead.extend_from_slice(&bytes[count..]);
        } else {
            self.read_ahead.drain(..count);
        }
        buffer.set_filled(before + count);
        self.unparsed += count;
        self.connection
            .registration()
            .reserve(Incomplete::Head, head);
        Poll::Ready(Ok(()))
    }

    /// Reads into `read_ahead` while the server may not have more, so that a client that closes the connection is
    /// noticed.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            let mut scratch = [MaybeUninit::uninit(); MAX_READ];
            let mut part = ReadBuf::uninit(&mut scratch);
            ready!(self.transport.poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.read_ahead.extend_from_slice(part.filled());
        }
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.poll_close_signal(cx)?;
        if let Ending::No = this.ending {
            let left = MAX_READ.saturating_sub(this.unparsed);
            if left == 0 {
                // The server parses what it has, and then polls again.
                cx.waker().wake_by_ref();
            } else if let Poll::Ready(outcome) = this.poll_bytes(cx, buffer, left) {
                return Poll::Ready(outcome);
            }
            this.unparsed = 0;
        }
        this.poll_deadline(cx)?;
        match this.ending {
            Ending::No => Poll::Pending,
            _ => this.poll_end(cx),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.transport.poll_write(cx, bytes);
        self.is_write_blocked = written.is_pending();
        if written.is_pending() {
            self.poll_limits(cx)?;
        }
        written
    }

    /// The server flushes each time that it has been polled, even if it has nothing to write and does not read. When
    /// the flush returns, it has written everything that it had to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_limits(cx)?;
        ready!(self.transport.poll_flush(cx))?;
        let written = self
            .connection
            .progress(|progress| progress.all_written(Instant::now()));
        match (written, &self.ending) {
            (Written::NoAnswer, _) => {}
            (Written::LastAnswer, Ending::No) => {
                self.ending = Ending::Answering { rest: &[] };
                cx.waker().wake_by_ref();
            }
            // `read_ahead` may hold the next request, which the server may have now.
            (Written::Answer, _) if !self.read_ahead.is_empty() => cx.waker().wake_by_ref(),
            (Written::Answer | Written::LastAnswer, _) => {}
        }
        self.poll_deadline(cx)?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_limits(cx)?;
        self.transport.poll_shutdown(cx)
    }
}

impl Transport {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => {
                let before = buffer.filled().len();
                match ready!(Pin::new(&mut *stream).poll_read(cx, buffer)) {
                    // The client closed its side without a close_notify. HTTP's own framing tells whether a request is
                    // complete (RFC 9112, section 9.8).
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                    read => read?,
                }
                if buffer.filled().len() > before {
                    stream.get_mut().0.decrypted();
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
