//! Finds the end of a chunked body (RFC 9112, section 7.1).
//!
//! The server reads the body again and refuses what is wrong in it; this finds just how many bytes belong to it. Where
//! the two could differ, after a line of the framing that does not end with CR and LF, nothing more is handed on.

/// How far a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the line that begins a chunk. `size`: the number so far, if there is any digit of it; `is_size`: all bytes of the
    /// line so far are digits.
    Size {
        size: Option<u64>,
        is_size: bool,
        last: u8,
    },
    /// In a chunk: so many bytes of it and of the line end behind it are left.
    Data {
        left: u64,
    },
    /// Behind the last chunk, in the lines of the trailer section.
    Trailer {
        is_empty: bool,
        last: u8,
    },
    Complete,
    /// It is no chunked body.
    Broken,
}

impl Chunks {
    pub(super) const BEGIN: Self = Self::Size {
        size: None,
        is_size: true,
        last: 0,
    };

    /// How many of these bytes, the next ones, belong to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self {
                Self::Complete | Self::Broken => break,
                Self::Data { left } => {
                    let taken = usize::try_from(*left)
                        .map_or(bytes.len() - at, |left| left.min(bytes.len() - at));
                    *left -= taken as u64;
                    at += taken;
                    if *left == 0 {
                        *self = Self::BEGIN;
                    }
                }
                _ => {
                    *self = self.after(bytes[at]);
                    at += 1;
                }
            }
        }
        at
    }

    /// After one more byte of a line.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (
                Self::Size {
                    size: Some(0),
                    last: b'\r',
                    ..
                },
                b'\n',
            ) => Self::Trailer {
                is_empty: true,
                last: 0,
            },
            (
                Self::Size {
                    size: Some(size),
                    last: b'\r',
                    ..
                },
                b'\n',
            ) => match size.checked_add(2) {
                Some(left) => Self::Data { left },
                None => Self::Broken,
            },
            (
                Self::Trailer {
                    is_empty: true,
                    last: b'\r',
                },
                b'\n',
            ) => Self::Complete,
            (
                Self::Trailer {
                    is_empty: false,
                    last: b'\r',
                },
                b'\n',
            ) => Self::Trailer {
                is_empty: true,
                last: 0,
            },
            (_, b'\n') => Self::Broken,
            (
                Self::Size {
                    size,
                    is_size: true,
                    ..
                },
                byte,
            ) if byte.is_ascii_hexdigit() => {
                let digit = u64::from((byte as char).to_digit(16).unwrap_or_default());
                let before = size.unwrap_or_default();
                match before.checked_mul(16) {
                    Some(more) => Self::Size {
                        size: Some(more + digit),
                        is_size: true,
                        last: byte,
                    },
                    None => Self::Broken,
                }
            }
            (Self::Size { size, .. }, last) => Self::Size {
                size,
                is_size: false,
                last,
            },
            (Self::Trailer { is_empty, last }, byte) => Self::Trailer {
                is_empty: is_empty && last == 0 && byte == b'\r',
                last: byte,
            },
            (state, _) => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &[u8], step: usize) -> (usize, Chunks) {
        let mut chunks = Chunks::BEGIN;
        let mut taken = 0;
        for piece in body.chunks(step) {
            let count = chunks.take(piece);
            taken += count;
            if count < piece.len() {
                break;
            }
        }
        (taken, chunks)
    }

    #[test]
    fn the_end_is_found_however_a_body_is_cut_into_pieces() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"2\r\n{}\r\n0\r\n\r\n",
            b"A\r\n0123\r\n\r\n\n\n\r\n0\r\n\r\n",
            b"2;name=value; other=\"a b\"\r\n{}\r\n000\r\nx: y\r\nz: \r\n\r\n",
            b"2 \r\n{}\r\n0 ;a\r\n\r\n",
        ] {
            let with_next = [body, b"GET / HTTP/1.1\r\n\r\n"].concat();
            for step in 1..with_next.len() {
                let expected = (body.len(), Chunks::Complete);
                assert_eq!(taken(&with_next, step), expected, "{body:?} {step}");
            }
        }
    }

    #[test]
    fn nothing_is_handed_on_behind_what_could_be_read_in_two_ways() {
        for (body, behind) in [
            (&b"2\n{}\r\n0\r\n\r\n"[..], 2),
            (b"2\r\n{}\r\n0\nGET", 9),
            (b"2\r\n{}\r\n0\r\n\nGET", 11),
            (b"0\r\nA: x\n\nGET", 8),
            (b"0\r\nA: x\r\n\nGET", 10),
            (b"\r\n{}", 2),
            (b";a\r\n{}", 4),
            (b"10000000000000000\r\n{}", 17),
            (b"ffffffffffffffff\r\n{}", 18),
        ] {
            for step in 1..=body.len() {
                assert_eq!(
                    taken(body, step),
                    (behind, Chunks::Broken),
                    "{body:?} {step}"
                );
            }
        }
    }
}
