//! Decompresses the body of a request by its content-encoding. `http.max_body` limits the decompressed body too.
//!
//! The decompression of actix-web is not used: it has no limit, and a signature has to be checked over the bytes as
//! received.

use std::io::{self, Read};

use actix_web::http::header::{CONTENT_ENCODING, HeaderMap};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use super::limits::Reservation;
use super::problem::{Problem, Slug};
use crate::minchat::Malformed;

/// The content-encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// The result of decoding a body.
#[derive(Debug)]
pub(super) enum Decoded {
    /// The decoded body.
    Whole(Bytes),
    /// The body cannot be decoded. These are the bytes as received.
    Corrupt(Bytes),
}

impl Decoded {
    /// The decoded body, or the bytes as received if it cannot be decoded.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(body) | Self::Corrupt(body) => body,
        }
    }

    /// The decoded body. Fails if it cannot be decoded.
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

/// Bytes that are decompressed at a time. A decompression bomb exceeds its cap by no more than this.
const CHUNK: usize = 16 * 1024;

/// The largest ratio of decompressed to compressed bytes. JSON has about 10; deflate can reach 1032.
const MAX_RATIO: usize = 100;

/// Bytes that a body may always decompress to, whatever its ratio is.
const MIN_CAP: usize = 64 * 1024;

/// The largest window that a zstd content-encoding may ask for, as a power of two (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

impl Encoding {
    /// The encoding that a head names. More than one is not supported.
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

    /// Decodes a body. Reserves the larger of its compressed and its decompressed size, since the compressed bytes are
    /// freed.
    pub(super) fn decode(
        self,
        compressed: Bytes,
        max_body: usize,
        reservation: &mut Reservation<'_>,
    ) -> Result<Decoded, Problem> {
        let cap = Cap::of(compressed.len(), max_body);
        let outcome = match self {
            Self::Identity => return Ok(Decoded::Whole(compressed)),
            Self::Gzip => read(MultiGzDecoder::new(&compressed[..]), &cap, reservation)?,
            Self::Zstd => match zstd_reader(&compressed) {
                Ok(reader) => read(reader, &cap, reservation)?,
                Err(_) => None,
            },
        };
        Ok(match outcome {
            Some(body) => Decoded::Whole(body),
            None => Decoded::Corrupt(compressed),
        })
    }
}

fn zstd_reader(compressed: &[u8]) -> io::Result<impl Read> {
    let mut reader = zstd::Decoder::with_buffer(compressed)?;
    reader.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(reader)
}

/// How large a body may become when it is decompressed.
struct Cap {
    bytes: usize,
    /// The detail of the answer if the body is larger.
    detail: &'static str,
}

impl Cap {
    fn of(compressed: usize, max_body: usize) -> Self {
        let by_ratio = compressed.saturating_mul(MAX_RATIO).max(MIN_CAP);
        match by_ratio < max_body {
            true => Self {
                bytes: by_ratio,
                detail: "the unpacked body is more than 100 times the packed one",
            },
            false => Self {
                bytes: max_body,
                detail: "the unpacked body is larger than http.max_body",
            },
        }
    }
}

/// Reads everything. Returns `None` if the reader fails.
fn read(
    mut reader: impl Read,
    cap: &Cap,
    reservation: &mut Reservation<'_>,
) -> Result<Option<Bytes>, Problem> {
    let mut body = Vec::new();
    loop {
        let length = body.len();
        body.resize(length + CHUNK, 0);
        match reader.read(&mut body[length..]) {
            Ok(count) => body.truncate(length + count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => body.truncate(length),
            Err(_) => return Ok(None),
        }
        let count = body.len() - length;
        if body.len() > cap.bytes {
            return Err(Problem::new(Slug::PayloadTooLarge, cap.detail));
        }
        if count == 0 {
            return Ok(Some(Bytes::from(body)));
        }
        reservation.reserve_total(body.len())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_grow_to_a_hundred_times_its_size_or_to_what_is_no_bomb() {
        for (compressed, max_body, bytes) in [
            (0, 512 << 10, 64 << 10),
            (655, 512 << 10, 64 << 10),
            (1000, 512 << 10, 100_000),
            (10_000, 512 << 10, 512 << 10),
            (1000, 16 << 10, 16 << 10),
            (usize::MAX, 512 << 10, 512 << 10),
        ] {
            assert_eq!(Cap::of(compressed, max_body).bytes, bytes, "{compressed}");
        }
    }
}
