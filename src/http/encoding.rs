//! Undoes the content-encoding of a body, under the same cap as the body itself.
//!
//! The server's own decompression is left out on purpose: it would unpack without a limit, and a
//! signature has to be checked over the bytes on the wire.

use std::io::{self, Read};

use actix_web::http::header::{CONTENT_ENCODING, HeaderMap};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use super::limits::Flight;
use super::problem::{Problem, Slug};
use crate::minchat::Malformed;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// What became of a packed body.
#[derive(Debug)]
pub(super) enum Unpacked {
    /// What had been packed.
    Whole(Bytes),
    /// It is not what its encoding says: the bytes as they came.
    Corrupt(Bytes),
}

impl Unpacked {
    /// The bytes that there are.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(body) | Self::Corrupt(body) => body,
        }
    }

    /// The body, if it is one.
    pub(super) fn whole(&self) -> Result<&[u8], Malformed> {
        match self {
            Self::Whole(body) => Ok(body),
            Self::Corrupt(_) => Err(Malformed::NotJson {
                offset: 0,
                what: "a body that its content-encoding does not fit",
            }),
        }
    }
}

/// Bytes that are unpacked at a time, and so the most by which a bomb goes over the cap.
const STEP: usize = 16 * 1024;

/// The most that a packed body may grow by. JSON grows about tenfold; deflate can do 1032-fold.
const RATIO: usize = 100;

/// Bytes that a body may grow to whatever its ratio: so much is no bomb.
const ALWAYS: usize = 64 * 1024;

/// The largest window that a zstd content-encoding may ask for, as a power of two (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

impl Encoding {
    /// The one encoding that a head names. Several in a row are not undone here.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut named = headers.get_all(CONTENT_ENCODING);
        let encoding = match named.next().map(|value| value.as_bytes().trim_ascii()) {
            None | Some(b"") => Some(Self::Identity),
            Some(name) if name.eq_ignore_ascii_case(b"identity") => Some(Self::Identity),
            Some(name) if name.eq_ignore_ascii_case(b"gzip") => Some(Self::Gzip),
            Some(name) if name.eq_ignore_ascii_case(b"x-gzip") => Some(Self::Gzip),
            Some(name) if name.eq_ignore_ascii_case(b"zstd") => Some(Self::Zstd),
            Some(_) => None,
        };
        encoding
            .filter(|_| named.next().is_none())
            .ok_or(Problem::new(
                Slug::UnsupportedEncoding,
                "one of gzip, zstd and identity is taken",
            ))
    }

    /// Undoes the encoding. The request counts with what comes out, where that is more than what came in, which is let
    /// go of.
    pub(super) fn undo(
        self,
        packed: Bytes,
        max_body: usize,
        flight: &mut Flight<'_>,
    ) -> Result<Unpacked, Problem> {
        let cap = Cap::of(packed.len(), max_body);
        let outcome = match self {
            Self::Identity => return Ok(Unpacked::Whole(packed)),
            Self::Gzip => read(MultiGzDecoder::new(&packed[..]), &cap, flight)?,
            Self::Zstd => match zstd_reader(&packed) {
                Ok(reader) => read(reader, &cap, flight)?,
                Err(_) => None,
            },
        };
        Ok(match outcome {
            Some(body) => Unpacked::Whole(body),
            None => Unpacked::Corrupt(packed),
        })
    }
}

fn zstd_reader(packed: &[u8]) -> io::Result<impl Read> {
    let mut reader = zstd::Decoder::with_buffer(packed)?;
    reader.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(reader)
}

/// How far a body may be unpacked.
struct Cap {
    bytes: usize,
    /// What it is for.
    over: &'static str,
}

impl Cap {
    fn of(packed: usize, max_body: usize) -> Self {
        let by_ratio = packed.saturating_mul(RATIO).max(ALWAYS);
        match by_ratio < max_body {
            true => Self {
                bytes: by_ratio,
                over: "the unpacked body is more than 100 times the packed one",
            },
            false => Self {
                bytes: max_body,
                over: "the unpacked body is larger than http.max_body",
            },
        }
    }
}

/// All that the reader gives; nothing if it fails.
fn read(
    mut reader: impl Read,
    cap: &Cap,
    flight: &mut Flight<'_>,
) -> Result<Option<Bytes>, Problem> {
    let mut body = Vec::new();
    loop {
        let length = body.len();
        body.resize(length + STEP, 0);
        match reader.read(&mut body[length..]) {
            Ok(count) => body.truncate(length + count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => body.truncate(length),
            Err(_) => return Ok(None),
        }
        let count = body.len() - length;
        if body.len() > cap.bytes {
            return Err(Problem::new(Slug::PayloadTooLarge, cap.over));
        }
        if count == 0 {
            return Ok(Some(Bytes::from(body)));
        }
        flight.hold_at_least(body.len())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_grow_to_a_hundred_times_its_size_or_to_what_is_no_bomb() {
        for (packed, max_body, bytes) in [
            (0, 512 << 10, 64 << 10),
            (655, 512 << 10, 64 << 10),
            (1000, 512 << 10, 100_000),
            (10_000, 512 << 10, 512 << 10),
            (1000, 16 << 10, 16 << 10),
            (usize::MAX, 512 << 10, 512 << 10),
        ] {
            assert_eq!(Cap::of(packed, max_body).bytes, bytes, "{packed}");
        }
    }
}
