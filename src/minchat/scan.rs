//! A strict scanner of JSON text as RFC 8259 has it, white space taken out on the way.
//!
//! It keeps its place in the nesting itself and never calls itself, so that brackets cost no stack. Spans are given in
//! the compact text; as long as no white space was met that is the body itself, and nothing is copied.

use std::borrow::Cow;

use super::Malformed;
use super::key::{Span, Type};

/// How deep a value may stand. The outermost value is at level 1, and what a container at level n holds is at n + 1.
pub(super) const MAX_LEVEL: usize = 60;

/// A string that was just read.
#[derive(Debug)]
pub(super) struct Quoted<'a> {
    /// What stands between the quotes, escapes and all.
    pub(super) raw: &'a str,
    pub(super) escaped: bool,
    start: usize,
}

impl Quoted<'_> {
    /// Where it stands, quotes included.
    pub(super) fn span(&self) -> Span {
        self.start..self.start + self.raw.len() + 2
    }
}

/// What breaks the grammar, or the bound on levels, where the scanner stands.
///
/// It is a single byte, so that what can fail gives its result in registers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    MoreAfterTheValue,
    NoValue,
    NoKey,
    NoColon,
    NoCommaNorBracket,
    ControlCharacter,
    UnknownEscape,
    EndlessString,
    NoDigit,
    UnknownWord,
    TooDeep,
}

impl Fault {
    pub(super) fn at(self, offset: usize) -> Malformed {
        let what = match self {
            Fault::MoreAfterTheValue => "more after the value",
            Fault::NoValue => "no value",
            Fault::NoKey => "no key",
            Fault::NoColon => "no colon",
            Fault::NoCommaNorBracket => "neither a comma nor the closing bracket",
            Fault::ControlCharacter => "a control character in a string",
            Fault::UnknownEscape => "an unknown escape",
            Fault::EndlessString => "a string without an end",
            Fault::NoDigit => "no digit",
            Fault::UnknownWord => "an unknown word",
            Fault::TooDeep => return Malformed::TooDeep { offset },
        };
        Malformed::NotJson { offset, what }
    }
}

/// Where the scanner stands inside a container.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// At the value of this key.
    Member(Quoted<'a>),
    /// At an array's next element.
    Element,
    /// Just behind the closing bracket.
    Closed,
}

/// One pass over one body.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    pub(super) body: &'a str,
    pub(super) at: usize,
    /// How many containers are open.
    depth: usize,
    /// A bit for each open container, set if it is an object; the innermost is bit 0.
    objects: u64,
    /// The compact text as far as `copied`; empty as long as there was no white space.
    compact: String,
    copied: usize,
    removed: usize,
}

const _: () = assert!(MAX_LEVEL <= u64::BITS as usize);

impl<'a> Scanner<'a> {
    /// Stands before the body's first byte.
    pub(super) fn new(body: &'a str) -> Self {
        Scanner {
            body,
            at: 0,
            depth: 0,
            objects: 0,
            compact: String::new(),
            copied: 0,
            removed: 0,
        }
    }

    /// Steps to the body's value.
    pub(super) fn start(&mut self) {
        self.gap();
    }

    /// Makes sure that nothing follows the value.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.gap();
        if self.at < self.body.len() {
            return Err(Fault::MoreAfterTheValue);
        }
        Ok(())
    }

    /// The body without white space between its tokens.
    pub(super) fn into_text(mut self) -> Cow<'a, str> {
        if self.removed == 0 {
            return Cow::Borrowed(self.body);
        }
        self.compact.push_str(&self.body[self.copied..]);
        Cow::Owned(self.compact)
    }

    /// The place in the body.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The place in the compact text.
    pub(super) fn here(&self) -> usize {
        self.at - self.removed
    }

    /// The type of the value that the scanner stands at.
    #[inline]
    pub(super) fn value_type(&self) -> Result<Type, Fault> {
        let value_type = match self.peek() {
            Some(b'{') => Type::Object,
            Some(b'[') => Type::Array,
            Some(b'"') => Type::String,
            Some(b't' | b'f') => Type::Bool,
            Some(b'n') => Type::Null,
            Some(b'-' | b'0'..=b'9') => Type::Number,
            _ => return Err(Fault::NoValue),
        };
        if self.depth == MAX_LEVEL {
            return Err(Fault::TooDeep);
        }
        Ok(value_type)
    }

    /// Walks over one value, whatever it holds.
    pub(super) fn value(&mut self) -> Result<Type, Fault> {
        let floor = self.depth;
        let outermost = self.value_type()?;
        let mut value_type = outermost;
        loop {
            let mut step = Step::Closed;
            match value_type {
                Type::Object | Type::Array => step = self.open()?,
                Type::String => drop(self.string()?),
                Type::Number => self.number()?,
                Type::Bool | Type::Null => self.literal()?,
            }
            while matches!(step, Step::Closed) {
                if self.depth == floor {
                    return Ok(outermost);
                }
                step = self.next()?;
            }
            value_type = self.value_type()?;
        }
    }

    /// Steps into the container whose bracket the scanner stands at. [`Scanner::value_type`] has to have passed it.
    #[inline]
    pub(super) fn open(&mut self) -> Result<Step<'a>, Fault> {
        self.objects = self.objects << 1 | u64::from(self.peek() == Some(b'{'));
        self.depth += 1;
        self.at += 1;
        self.gap();
        if self.peek() == Some(self.closing()) {
            return Ok(self.close());
        }
        self.inside()
    }

    /// Steps on from a value inside a container.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Step<'a>, Fault> {
        self.gap();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.gap();
                self.inside()
            }
            Some(byte) if byte == self.closing() => Ok(self.close()),
            _ => Err(Fault::NoCommaNorBracket),
        }
    }

    #[inline]
    fn inside(&mut self) -> Result<Step<'a>, Fault> {
        if !self.in_object() {
            return Ok(Step::Element);
        }
        if self.peek() != Some(b'"') {
            return Err(Fault::NoKey);
        }
        let (start, first) = (self.here(), self.at + 1);
        let escaped = self.string()?;
        let raw = &self.body[first..self.at - 1];
        self.gap();
        if self.peek() != Some(b':') {
            return Err(Fault::NoColon);
        }
        self.at += 1;
        self.gap();
        Ok(Step::Member(Quoted {
            raw,
            escaped,
            start,
        }))
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn closing(&self) -> u8 {
        if self.in_object() { b'}' } else { b']' }
    }

    #[inline]
    fn close(&mut self) -> Step<'a> {
        self.objects >>= 1;
        self.depth -= 1;
        self.at += 1;
        Step::Closed
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn gap(&mut self) {
        if self.peek().is_some_and(is_white_space) {
            self.squeeze();
        }
    }

    fn squeeze(&mut self) {
        if self.removed == 0 {
            self.compact.reserve(self.body.len());
        }
        self.compact.push_str(&self.body[self.copied..self.at]);
        let rest = &self.body.as_bytes()[self.at..];
        let count = rest
            .iter()
            .take_while(|byte| is_white_space(**byte))
            .count();
        self.at += count;
        self.removed += count;
        self.copied = self.at;
    }
}

fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
