//! The byte stream of a connection, which ends at the connection's deadline and limits.
//!
//! Guarantees: the server gets at most [`MAX_READ`] bytes before it has to look at what it has, and no byte that follows a
//! request before it has answered that; no more than [`MAX_READ`] bytes are read ahead; when the connection's
//! deadline passes or its head is too large, the stream answers 408 or 431 itself, where an answer is due, and ends; a
//! connection that was told to make room for another ends at once; what TLS keeps of incomplete records and messages is
//! bounded as heads are.
//! Not responsible for: the rules (`connection`), and who has to make room (`connections`).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, Delivery, Expired, MAX_READ, Written};
use super::connections::{Registration, Told};
use super::problem::{HEAD_TIMEOUT_ANSWER, HEAD_TOO_LARGE_ANSWER, RawAnswer};

/// What a connection's bytes travel through.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<Encrypted>>),
}

/// The most bytes that TLS may have read from a connection without having one for the server: more than a record
/// (RFC 8446, section 5.2: 16 KiB and 256 bytes), or a client's hello and certificates.
const MAX_ENCRYPTED: usize = 32 * 1024;

/// The socket under TLS. rustls keeps what it has read of a record or of a handshake message until that is complete, up
/// to 64 KiB of a message, also long after the handshake; so that is bounded here.
pub(super) struct Encrypted {
    socket: TcpStream,
    registration: Rc<Registration>,
    /// Bytes read since TLS last had some for the server.
    kept: usize,
}

impl Encrypted {
    pub(super) fn new(socket: TcpStream, registration: Rc<Registration>) -> Self {
        Self {
            socket,
            registration,
            kept: 0,
        }
    }

    /// TLS has decrypted what was read.
    fn decrypted(&mut self) {
        if self.kept > MAX_READ {
            self.registration.release_head();
        }
        self.kept = 0;
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.kept += buffer.filled().len() - before;
        if self.kept > MAX_ENCRYPTED {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if self.kept > MAX_READ {
            self.registration.reserve_head(self.kept);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Encrypted {
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

/// A connection as the HTTP server reads and writes it.
pub(super) struct Stream {
    transport: Transport,
    connection: Connection,
    /// Fires at the connection's deadline or before it, and is set anew then.
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes that the server was given since it last had to look at them.
    burst: usize,
    /// What came and the server may not have yet.
    ahead: Vec<u8>,
    /// A write is waiting for the client to read.
    is_write_blocked: bool,
    ending: Ending,
}

/// Whether the stream has ended its connection by itself.
enum Ending {
    No,
    /// The rest of this answer is written, the sending side is closed, and what comes is thrown away, so that the
    /// answer arrives.
    Answering {
        rest: &'static [u8],
    },
    Lingering,
    /// The server reads the end of the stream.
    Ended,
}

impl Stream {
    pub(super) fn new(transport: Transport, connection: Connection) -> Self {
        Self {
            transport,
            connection,
            timer: None,
            burst: 0,
            ahead: Vec::new(),
            is_write_blocked: false,
            ending: Ending::No,
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends the connection if it was told to.
    fn poll_told(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.connection.registration().told(cx) {
            Told::Nothing => {}
            Told::Drain
                if self
                    .connection
                    .progress(|progress| progress.deadline().is_none()) => {}
            Told::Drain => {
                if let Ending::No = self.ending {
                    self.ending = Ending::Ended;
                }
            }
            Told::Evicted => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        Ok(())
    }

    /// Ends the connection if its deadline has passed, and has the task woken when it does.
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
                // The timer was set for an earlier request.
                false => timer.as_mut().reset(deadline),
            }
        }
        Ok(())
    }

    /// Notices outside of a read that the connection has to end: the server reads the end then.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let was_open = matches!(self.ending, Ending::No);
        self.poll_told(cx)?;
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

    /// Ends the connection with an answer of the stream's own.
    fn answer(&mut self, answer: RawAnswer) -> io::Result<()> {
        if self.is_write_blocked {
            // It would stand in the middle of an earlier answer.
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.connection.registration().head_refused(answer.status);
        self.ending = Ending::Answering { rest: answer.bytes };
        Ok(())
    }

    /// Takes the steps of the connection's end. Ready when the server may read the end of the stream.
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
            let mut thrown_away = ReadBuf::new(&mut scratch);
            ready!(self.transport.poll_read(cx, &mut thrown_away))?;
            if !thrown_away.filled().is_empty() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.ending = Ending::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Gives the server what came, up to `most` bytes.
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<()>> {
        if self.connection.progress(|progress| progress.is_held_back()) {
            return self.poll_ahead(cx);
        }
        let before = buffer.filled().len();
        let most = most.min(buffer.remaining());
        if !self.ahead.is_empty() {
            buffer.put_slice(&self.ahead[..self.ahead.len().min(most)]);
        } else if buffer.remaining() == most {
            ready!(self.transport.poll_read(cx, buffer))?;
        } else {
            let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
            ready!(self.transport.poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buffer.advance(read);
        }
        let bytes = &buffer.filled()[before..];
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let now = Instant::now();
        let (delivered, head) = self.connection.progress(|progress| {
            let delivered = progress.deliver(bytes, now);
            (delivered, progress.head_size())
        });
        let Ok(Delivery {
            bytes: count,
            is_end_possible,
        }) = delivered
        else {
            buffer.set_filled(before);
            self.connection.progress(|progress| progress.close(now));
            self.answer(HEAD_TOO_LARGE_ANSWER)?;
            return Poll::Pending;
        };
        if self.ahead.is_empty() {
            self.ahead.extend_from_slice(&bytes[count..]);
        } else {
            self.ahead.drain(..count);
        }
        buffer.set_filled(before + count);
        self.burst = match is_end_possible {
            true => MAX_READ,
            false => self.burst + count,
        };
        if head > MAX_READ {
            self.connection.registration().reserve_head(head);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads ahead while the server works on a request, so that the end of the connection is noticed. What is read is
    /// kept.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let mut scratch = [MaybeUninit::uninit(); MAX_READ];
            let mut part = ReadBuf::uninit(&mut scratch);
            ready!(self.transport.poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(part.filled());
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
        this.poll_told(cx)?;
        if let Ending::No = this.ending {
            let left = MAX_READ.saturating_sub(this.burst);
            if left == 0 {
                // The server looks at what it has, and comes back.
                cx.waker().wake_by_ref();
            } else if let Poll::Ready(outcome) = this.poll_bytes(cx, buffer, left) {
                return Poll::Ready(outcome);
            }
            this.burst = 0;
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

    /// The server flushes after each look at the connection, also when it has nothing to write and does not read; it has
    /// written all it had before.
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
            // The next request may be there already.
            (Written::Answer, _) if !self.ahead.is_empty() => cx.waker().wake_by_ref(),
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
                ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
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
