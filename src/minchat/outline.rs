//! What normalization needs to know about one payload, recorded while it is scanned, the only time.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Malformed;
use super::key::{Key, Member, Members, Span, Type, Types};
use super::rules::{self, Rename, Within};
use super::scan::{Scanner, Step};

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
    pub(super) fn of(body: &'a str) -> Result<Outline<'a>, Malformed> {
        let mut outline = Outline {
            text: Cow::Borrowed(body),
            members: Members::new(),
            strangers: SmallVec::new(),
            in_users: SmallVec::new(),
            fields: Fields::new(),
        };
        let mut scanner = Scanner::new(body)?;
        if scanner.value_type()? == Type::Object {
            outline.top(&mut scanner)?;
        } else {
            scanner.value()?;
        }
        outline.text = scanner.finish()?;
        Ok(outline)
    }

    fn top(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Malformed> {
        let mut step = scanner.open()?;
        while let Step::Member(name) = step {
            let key = Key::told_by(name.raw, name.escaped);
            let start = scanner.here();
            let value_type = scanner.value_type()?;
            let elements = self.value(scanner, rules::within(key, value_type))?;
            let value = start..scanner.here();
            match key {
                Some(key) => self.members.put(
                    key,
                    Member {
                        key: name.span,
                        value,
                        value_type,
                        elements,
                    },
                ),
                None => self.strangers.push(name.span),
            }
            step = scanner.next()?;
        }
        Ok(())
    }

    /// Walks over a top-level value, and says what its elements are.
    fn value(&mut self, scanner: &mut Scanner<'a>, within: Within) -> Result<Types, Malformed> {
        match within {
            Within::User => self.user(scanner, &mut Members::new())?,
            Within::Users => return self.users(scanner),
            Within::Fields => self.fields(scanner)?,
            Within::Elements => return elements(scanner, |scanner, _| scanner.value().map(drop)),
            Within::Nothing => drop(scanner.value()?),
        }
        Ok(Types::default())
    }

    fn users(&mut self, scanner: &mut Scanner<'a>) -> Result<Types, Malformed> {
        let mut members = Members::new();
        elements(scanner, |scanner, value_type| match value_type {
            Type::Object => self.user(scanner, &mut members),
            _ => scanner.value().map(drop),
        })
    }

    fn user(&mut self, scanner: &mut Scanner<'a>, members: &mut Members) -> Result<(), Malformed> {
        members.clear();
        let mut step = scanner.open()?;
        while let Step::Member(name) = step {
            let start = scanner.here();
            let value_type = scanner.value()?;
            if let Some(key) = Key::told_by(name.raw, name.escaped) {
                let value = start..scanner.here();
                members.put(
                    key,
                    Member {
                        key: name.span,
                        value,
                        value_type,
                        elements: Types::default(),
                    },
                );
            }
            step = scanner.next()?;
        }
        self.in_users.extend(old_keys(rules::USER_RENAMES, members));
        Ok(())
    }

    fn fields(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Malformed> {
        self.fields.clear();
        let mut step = scanner.open()?;
        while let Step::Member(name) = step {
            scanner.value()?;
            self.fields.push(FieldEnds {
                name: name.span.end,
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
    mut element: impl FnMut(&mut Scanner<'a>, Type) -> Result<(), Malformed>,
) -> Result<Types, Malformed> {
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
