//! The scanner's tokens: strings, numbers and the three words.

use super::scan::{Fault, Scanner};

impl Scanner<'_> {
    /// Walks over a string, and says whether it has escapes.
    pub(super) fn string(&mut self) -> Result<bool, Fault> {
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = end_of_run(self.body.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(Fault::ControlCharacter),
                None => return Err(Fault::EndlessString),
            }
        }
        self.at += 1;
        Ok(escaped)
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let after = &self.body.as_bytes()[self.at + 1..];
        let length = match after {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', a, b, c, d, ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                6
            }
            _ => return Err(Fault::UnknownEscape),
        };
        self.at += length;
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<(), Fault> {
        self.skip(b"-");
        if !self.skip(b"0") {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let rest = &self.body.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(Fault::NoDigit);
        }
        self.at += count;
        Ok(())
    }

    fn skip(&mut self, any: &[u8]) -> bool {
        let there = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(there);
        there
    }

    pub(super) fn literal(&mut self) -> Result<(), Fault> {
        let rest = &self.body.as_bytes()[self.at..];
        let Some(word) = ["true", "false", "null"]
            .iter()
            .find(|word| rest.starts_with(word.as_bytes()))
        else {
            return Err(Fault::UnknownWord);
        };
        self.at += word.len();
        Ok(())
    }
}

/// Where the next quote, backslash or control character stands. Eight bytes are looked at in one step.
#[inline]
fn end_of_run(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let ends = ends_of_runs(u64::from_le_bytes(*chunk));
        if ends != 0 {
            return at + ends.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes[at..].iter();
    let run = rest.take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f));
    at + run.count()
}

/// A word whose lowest set bit is the high bit of the first byte that ends a run.
fn ends_of_runs(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // With this bit flipped the quote stands just above the control characters: one comparison finds both.
    let low = word ^ (ONES * 0x02);
    let backslash = word ^ (ONES * b'\\' as u64);
    // Of bytes below 0x80, those below the subtrahend get their high bit set. A borrow can set one falsely, but only
    // above a byte where it is set rightly.
    (low.wrapping_sub(ONES * 0x21) | backslash.wrapping_sub(ONES)) & !word & HIGH
}
