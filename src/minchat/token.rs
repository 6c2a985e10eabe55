//! The scanner's tokens: strings, numbers and the three words.

use super::Malformed;
use super::scan::{Quoted, Scanner, Step};

impl<'a> Scanner<'a> {
    pub(super) fn string(&mut self) -> Result<Quoted<'a>, Malformed> {
        let start = self.at;
        let span_start = self.here();
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += plain_run(&self.body.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.refuse("a control character in a string"),
                None => return self.refuse("a string without an end"),
            }
        }
        let raw = &self.body[start + 1..self.at];
        self.at += 1;
        Ok(Quoted {
            raw,
            span: span_start..self.here(),
            escaped,
        })
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let after = &self.body.as_bytes()[self.at + 1..];
        let length = match after {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', a, b, c, d, ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                6
            }
            _ => return self.refuse("an unknown escape"),
        };
        self.at += length;
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<Step<'a>, Malformed> {
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
        Ok(Step::Closed)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let rest = &self.body.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return self.refuse("no digit");
        }
        self.at += count;
        Ok(())
    }

    fn skip(&mut self, any: &[u8]) -> bool {
        let there = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(there);
        there
    }

    pub(super) fn literal(&mut self) -> Result<Step<'a>, Malformed> {
        let rest = &self.body.as_bytes()[self.at..];
        let Some(word) = ["true", "false", "null"]
            .iter()
            .find(|word| rest.starts_with(word.as_bytes()))
        else {
            return self.refuse("an unknown word");
        };
        self.at += word.len();
        Ok(Step::Closed)
    }
}

/// How many bytes come before the next quote, backslash or control character. Eight are looked at in one step.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let mut run = 0;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        // A byte's high bit is set if the byte is below 0x20, or is zero after the exclusive or. A borrow can set it
        // falsely, but only above a byte where it is set rightly, and the lowest is the one that is taken.
        let found = (word.wrapping_sub(ONES * 0x20) & !word
            | quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash)
            & HIGH;
        if found != 0 {
            return run + found.trailing_zeros() as usize / 8;
        }
        run += 8;
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    run + rest.iter().position(ends).unwrap_or(rest.len())
}
