//! What MinChat sends, and today's shape of it.
//!
//! Guarantees: one pass over a body tells whether it is JSON, what kind of event it is, what keeps it in order, how it
//! departs from today's shape, and how to write it in that shape. The `data` that is written is the payload token for
//! token, numbers to the last digit and strings with their escapes, but for the rows of `rules`, and it has no white
//! space between its tokens. A compact body of today's shape costs no allocation. Whatever the bytes are, nothing
//! panics, nothing recurses with the payload's nesting, and time and memory stay in proportion to the body.
//!
//! Leaves to others: the body's size (`http`), the envelope around the data (`envelope`), and counting or logging what
//! is found here. There is no I/O in this room.
//!
//! The way through it: `scan` checks the grammar and takes the white space out, `outline` records on the way where
//! the keys of `rules` stand, `normalize` and `drift` apply the rules to that record, `payload` is the result.

pub mod drift;
mod key;
pub mod kind;
mod normalize;
mod outline;
mod payload;
mod rules;
pub mod samples;
mod scan;
mod text;
mod token;

#[cfg(test)]
mod tests;

pub use drift::{Drift, DriftSet};
pub use kind::Kind;
pub use payload::Payload;
pub use samples::{SAMPLES, Sample};
pub use text::without_forbidden;

use outline::Outline;

/// Why a body is no payload. What it says is never part of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// JSON text is UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is part of no character.
        offset: usize,
    },
    /// The grammar of RFC 8259 is broken.
    #[error("not JSON: {what} at byte {offset}")]
    NotJson {
        /// Where the grammar is broken.
        offset: usize,
        /// What is there, or is not.
        what: &'static str,
    },
    /// A value at level 61 or beyond. The outermost value is at level 1; a string or number is a value too.
    #[error("nested deeper than {} levels at byte {offset}", scan::MAX_LEVEL)]
    TooDeep {
        /// Where the first value that is too deep stands.
        offset: usize,
    },
}

impl Malformed {
    /// The same in a text that begins so many bytes earlier.
    fn moved_by(self, bytes: usize) -> Malformed {
        match self {
            Malformed::NotUtf8 { offset } => Malformed::NotUtf8 {
                offset: offset + bytes,
            },
            Malformed::NotJson { offset, what } => Malformed::NotJson {
                offset: offset + bytes,
                what,
            },
            Malformed::TooDeep { offset } => Malformed::TooDeep {
                offset: offset + bytes,
            },
        }
    }
}

/// Reads one webhook's body.
///
/// `said` is the kind that the URL says. It is taken if the payload has that kind's shape; else the shape decides, and
/// [`Drift::KindMismatch`] is told.
///
/// A byte order mark before the JSON text is ignored (RFC 8259, section 8.1). It is no part of the data. All offsets
/// are those of the body as it was received.
///
/// # Errors
/// [`Malformed`], if the body is not UTF-8, not JSON, or nested too deep.
pub fn read<'a>(body: &'a [u8], said: Option<Kind>) -> Result<Payload<'a>, Malformed> {
    let text = str::from_utf8(body).map_err(|error| Malformed::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mark = text.len() - json.len();
    let mut outline = Outline::new();
    outline
        .fill(json)
        .map_err(|malformed| malformed.moved_by(mark))?;
    Ok(Payload::new(outline, said, body.len()))
}
