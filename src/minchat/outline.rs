//! What normalization needs to know about one payload, recorded while it is scanned, the only time.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Malformed;
use super::key::{Key, Member, Members, Span, Type, Types};
use super::rules::{self, Rename, Within};
use super::scan::{Fault, Scanner, Step};

/// One payload's compact text, and where the rules' keys stand in it.
#[derive(Debug)]
pub(super) struct Outline<'a> {
    pub(super) text: Cow<'a, str>,
    /// Of the top-level object; none if the payload isn't one.
    pub(super) members: Members,
    /// Top-level keys that no kind has.
    pub(super) strangers: SmallVec<[Span; 4]>,
    /// Old spellings in whatever stands where users stand.
    pub(super) in_users: SmallVec<[OldKey; 4]>,
    /// The last object under `fields`.
    pub(super) fields: Fields,
}

/// An old spelling that came in.
#[derive(Clone, Debug)]
pub(super) struct OldKey {
    /// The key with its quotes.
    pub(super) at: Span,
    /// None if it stays: today's is there, or another old one comes before it.
    pub(super) becomes: Option<Key>,
}

/// Where the members of one object end, in their order. Each begins a byte behind the end of the one before.
pub(super) type Fields = SmallVec<[FieldEnds; 4]>;

#[derive(Clone, Debug)]
pub(super) struct FieldEnds {
    pub(super) name: usize,
    pub(super) value: usize,
}

impl<'a> Outline<'a> {
    /// An outline of no value. It is filled where it stands, as it is too large to be moved about.
    pub(super) fn new() -> Outline<'a> {
        Outline {
            text: Cow::Borrowed(""),
            members: Members::default(),
            strangers: SmallVec::new(),
            in_users: SmallVec::new(),
            fields: Fields::new(),
        }
    }

    pub(super) fn fill(&mut self, body: &'a str) -> Result<(), Malformed> {
        let mut scanner = Scanner::new(body);
        match self.walk(&mut scanner) {
            Ok(()) => self.text = scanner.into_text(),
            Err(fault) => return Err(fault.at(scanner.offset())),
        }
        Ok(())
    }

    fn walk(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.start();
        if scanner.value_type()? == Type::Object {
            self.top(scanner)?;
        } else {
            scanner.value()?;
        }
        scanner.end()
    }

    fn top(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        let mut step = scanner.open()?;
        while let Step::Member(name) = step {
            let key = Key::told_by(name.raw, name.escaped);
            let start = scanner.here();
            let value_type = scanner.value_type()?;
            let elements = self.value(scanner, rules::within(key, value_type))?;
            let value = start..scanner.here();
            match key {
                Some(key) => self.members.put(Member {
                    name: key,
                    key: name.span(),
                    value,
                    value_type,
                    elements,
                }),
                None => self.strangers.push(name.span()),
            }
            step = scanner.next()?;
        }
        Ok(())
    }

    /// Walks over a top-level value, and says what its elements are.
    fn value(&mut self, scanner: &mut Scanner<'a>, within: Within) -> Result<Types, Fault> {
        match within {
            Within::User => self.user(scanner, &mut Members::default())?,
            Within::Users => return self.users(scanner),
            Within::Fields => self.fields(scanner)?,
            Within::Elements => return elements(scanner, |scanner, _| scanner.value().map(drop)),
            Within::Nothing => drop(scanner.value()?),
        }
        Ok(Types::default())
    }

    fn users(&mut self, scanner: &mut Scanner<'a>) -> Result<Types, Fault> {
        let mut members = Members::default();
        elements(scanner, |scanner, value_type| match value_type {
            Type::Object => self.user(scanner, &mut members),
            _ => scanner.value().map(drop),
        })
    }

    fn user(&mut self, scanner: &mut Scanner<'a>, members: &mut Members) -> Result<(), Fault> {
        members.clear();
        let mut step = scanner.open()?;
        while let Step::Member(name) = step {
            let start = scanner.here();
            let value_type = scanner.value()?;
            let key = Key::told_by(name.raw, name.escaped);
            if let Some(key) = key.filter(|key| rules::USER_SPELLINGS.contains(*key)) {
                members.put(Member {
                    name: key,
                    key: name.span(),
                    value: start..scanner.here(),
                    value_type,
                    elements: Types::default(),
                });
            }
            step = scanner.next()?;
        }
        if !members.there().is_empty() {
            self.in_users.extend(old_keys(rules::USER_RENAMES, members));
        }
        Ok(())
    }

    fn fields(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        self.fields.clear();
        let mut step = scanner.open()?;
        while let Step::Member(name) = step {
            scanner.value()?;
            self.fields.push(FieldEnds {
                name: name.span().end,
                value: scanner.here(),
            });
            step = scanner.next()?;
        }
        Ok(())
    }
}

/// Walks over an array, element by element, and says what they are.
fn elements<'a>(
    scanner: &mut Scanner<'a>,
    mut element: impl FnMut(&mut Scanner<'a>, Type) -> Result<(), Fault>,
) -> Result<Types, Fault> {
    let mut types = Types::default();
    let mut step = scanner.open()?;
    while let Step::Element = step {
        let value_type = scanner.value_type()?;
        types = types.or(value_type);
        element(scanner, value_type)?;
        step = scanner.next()?;
    }
    Ok(types)
}

/// The old spellings among an object's members.
pub(super) fn old_keys(
    renames: &'static [Rename],
    members: &Members,
) -> impl Iterator<Item = OldKey> {
    renames.iter().flat_map(|row| {
        let mut taken = members.get(row.to).is_some();
        let there = row.from.iter().filter_map(|old| members.get(*old));
        there.map(move |member| {
            let becomes = (!taken).then_some(row.to);
            taken = true;
            OldKey {
                at: member.key.clone(),
                becomes,
            }
        })
    })
}
