//! Bringing a payload into today's shape: a few edits of its text, all other tokens as they came in.

use smallvec::SmallVec;

use super::key::{Key, Span, Type};
use super::outline::{Fields, OldKey, Outline, old_keys};
use super::rules::{Known, Rule};

/// One departure from the text that came in.
#[derive(Debug)]
pub(super) struct Edit {
    at: Span,
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// A key, written in today's spelling.
    Rename(Key),
    /// A value, as the only element of an array.
    Wrap,
    /// The object under `fields`, as an array of names and values.
    ListFields,
}

/// The edits of one payload, in the order of its text. They don't overlap.
pub(super) type Edits = SmallVec<[Edit; 6]>;

/// What has to be done to bring the payload into the kind's shape, and whether anything old came in.
pub(super) fn edits(rule: &'static Rule, outline: &Outline<'_>) -> (Edits, bool) {
    let mut edits = Edits::new();
    let mut old = false;
    for OldKey { at, becomes } in
        old_keys(rule.renames, &outline.members).chain(in_users(rule, outline))
    {
        old = true;
        edits.extend(becomes.map(|key| Edit {
            at,
            change: Change::Rename(key),
        }));
    }
    for known in rule.known {
        if let Some(edit) = new_form(rule, known, outline) {
            old = true;
            edits.push(edit);
        }
    }
    edits.sort_unstable_by_key(|edit| edit.at.start);
    (edits, old)
}

/// The old spellings in the users that count: of doubled keys the last, of spellings the one that goes out as today's.
fn in_users(rule: &'static Rule, outline: &Outline<'_>) -> impl Iterator<Item = OldKey> {
    let users: SmallVec<[Span; 2]> = match outline.in_users.is_empty() {
        true => SmallVec::new(),
        false => rule
            .users
            .iter()
            .filter_map(|key| Some(rule.today(*key, &outline.members)?.value.clone()))
            .collect(),
    };
    let counts = move |old: &&OldKey| users.iter().any(|user| user.contains(&old.at.start));
    outline.in_users.iter().filter(counts).cloned()
}

fn new_form(rule: &Rule, known: &Known, outline: &Outline<'_>) -> Option<Edit> {
    let old_form = known.old_form?;
    let member = rule
        .today(known.key, &outline.members)
        .filter(|member| member.value_type == old_form)?;
    let change = if old_form == Type::Object {
        Change::ListFields
    } else {
        Change::Wrap
    };
    Some(Edit {
        at: member.value.clone(),
        change,
    })
}

const NAME: &str = "{\"fieldName\":";
const VALUE: &str = ",\"fieldValue\":";

/// The length of what [`write()`] writes.
pub(super) fn written_len(text: &str, edits: &[Edit], fields: &Fields) -> usize {
    let len = |len: usize, edit: &Edit| match edit.change {
        Change::Rename(key) => len - edit.at.len() + key.quoted().len(),
        Change::Wrap => len + "[]".len(),
        Change::ListFields => {
            len + fields.len() * (NAME.len() + VALUE.len() + "}".len() - ":".len())
        }
    };
    edits.iter().fold(text.len(), len)
}

/// Appends the text with its edits made.
pub(super) fn write(text: &str, edits: &[Edit], fields: &Fields, out: &mut Vec<u8>) {
    let mut rest = 0;
    for Edit { at, change } in edits {
        put(out, &text[rest..at.start]);
        match change {
            Change::Rename(key) => put(out, key.quoted()),
            Change::Wrap => {
                put(out, "[");
                put(out, &text[at.clone()]);
                put(out, "]");
            }
            Change::ListFields => write_fields(text, at.start + 1, fields, out),
        }
        rest = at.end;
    }
    put(out, &text[rest..]);
}

fn write_fields(text: &str, mut start: usize, fields: &Fields, out: &mut Vec<u8>) {
    put(out, "[");
    for (index, ends) in fields.iter().enumerate() {
        put(out, if index == 0 { NAME } else { ",{\"fieldName\":" });
        put(out, &text[start..ends.name]);
        put(out, VALUE);
        put(out, &text[ends.name + 1..ends.value]);
        put(out, "}");
        start = ends.value + 1;
    }
    put(out, "]");
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
