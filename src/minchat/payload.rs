//! One payload that has been read: its kind, its ordering key, its drift, and its `data`.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use super::drift::{self, Drift, DriftSet};
use super::key::{Members, Span};
use super::normalize::{self, Edits};
use super::outline::{Fields, Outline};
use super::rules::Rule;
use super::{Kind, text};

/// The most bytes that an ordering key has, before forbidden characters are written as `%XX`.
const MAX_ORDERING_KEY: usize = 256;
/// The most characters that an unknown key is told with, before forbidden characters are written as `%XX`.
const MAX_KEY_NAME: usize = 64;

/// A webhook's body, its kind told and the edits known that bring it into today's shape.
pub struct Payload<'a> {
    kind: Kind,
    ordering_key: Option<OrderingKey>,
    drift: DriftSet,
    unknown: SmallVec<[Span; 4]>,
    /// The body without white space between its tokens.
    text: Cow<'a, str>,
    edits: Edits,
    fields: Fields,
    verbatim: bool,
}

enum OrderingKey {
    AsItStands(Span),
    Rewritten(String),
}

impl<'a> Payload<'a> {
    pub(super) fn new(outline: Outline<'a>, said: Option<Kind>, body_len: usize) -> Payload<'a> {
        let (rule, mismatch) = decide(said, &outline.members);
        let kept = outline.text.len() == body_len;
        let mut payload = match rule {
            Some(rule) => Payload::of_kind(rule, outline),
            None => Payload::unrecognized(outline),
        };
        payload.verbatim = kept && payload.edits.is_empty();
        if mismatch {
            payload.drift.insert(Drift::KindMismatch);
        }
        payload
    }

    fn unrecognized(outline: Outline<'a>) -> Payload<'a> {
        Payload {
            kind: Kind::Unrecognized,
            ordering_key: None,
            drift: DriftSet::default(),
            unknown: SmallVec::new(),
            text: outline.text,
            edits: Edits::new(),
            fields: Fields::new(),
            verbatim: false,
        }
    }

    fn of_kind(rule: &'static Rule, outline: Outline<'a>) -> Payload<'a> {
        let (edits, old) = normalize::edits(rule, &outline);
        let ordering_key = OrderingKey::of(rule, &outline);
        let mut drift = drift::of_members(rule, &outline.members);
        let mut unknown = outline.strangers;
        let misplaced = outline.members.there().minus(rule.keys());
        unknown.extend(
            outline
                .members
                .of(misplaced)
                .map(|member| member.key.clone()),
        );

        if old {
            drift.insert(Drift::LegacyKey);
        }
        if !unknown.is_empty() {
            drift.insert(Drift::UnknownKey);
        }
        if ordering_key.is_none() && rule.today(rule.ordering_key, &outline.members).is_some() {
            drift.insert(Drift::WrongType);
        }
        let (text, fields) = (outline.text, outline.fields);
        Payload {
            kind: rule.kind,
            ordering_key,
            drift,
            unknown,
            text,
            edits,
            fields,
            verbatim: false,
        }
    }

    /// What sort of event it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What keeps it in order with related events: decoded, characters that CloudEvents forbids in attributes written as `%XX`.
    #[must_use]
    pub fn ordering_key(&self) -> Option<&str> {
        self.ordering_key.as_ref().map(|key| match key {
            OrderingKey::AsItStands(span) => &self.text[span.clone()],
            OrderingKey::Rewritten(text) => text,
        })
    }

    /// How it departs from today's shape.
    #[must_use]
    pub fn drift(&self) -> DriftSet {
        self.drift
    }

    /// The top-level keys that the kind does not have, cut at 64 characters, forbidden characters written as `%XX`.
    ///
    /// A name that can't be decoded is given as it stands. A key that is there twice may be given twice.
    pub fn unknown_keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.unknown.iter().map(|span| {
            let raw = &self.text[span.start + 1..span.end - 1];
            let name = text::decode(raw).unwrap_or(Cow::Borrowed(raw));
            text::without_forbidden(cut(name))
        })
    }

    /// Whether the data is the body, byte for byte.
    #[must_use]
    pub fn is_verbatim(&self) -> bool {
        self.verbatim
    }

    /// How many bytes [`Payload::write_data`] appends.
    #[must_use]
    pub fn data_len(&self) -> usize {
        normalize::written_len(&self.text, &self.edits, &self.fields)
    }

    /// Appends the payload in today's shape, token for token, without white space between tokens.
    pub fn write_data(&self, out: &mut Vec<u8>) {
        normalize::write(&self.text, &self.edits, &self.fields, out);
    }
}

/// Without what the payload says: it may be printed.
impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("kind", &self.kind)
            .field("drift", &self.drift)
            .finish_non_exhaustive()
    }
}

impl OrderingKey {
    fn of(rule: &Rule, outline: &Outline<'_>) -> Option<OrderingKey> {
        let value = &rule.today(rule.ordering_key, &outline.members)?.value;
        let quoted = &outline.text[value.clone()];
        let raw = quoted.strip_prefix('"')?.strip_suffix('"')?;
        // `\u0061` is the longest way to write one byte.
        if raw.is_empty() || raw.len() > MAX_ORDERING_KEY * 6 {
            return None;
        }
        let decoded = text::decode(raw)?;
        if decoded.len() > MAX_ORDERING_KEY {
            return None;
        }
        Some(match text::without_forbidden(decoded) {
            Cow::Borrowed(_) => OrderingKey::AsItStands(value.start + 1..value.end - 1),
            Cow::Owned(text) => OrderingKey::Rewritten(text),
        })
    }
}

/// The rule to go by, and whether the URL said another kind.
///
/// What the URL says is taken if the payload passes that kind's conditions; an earlier kind may pass as well.
fn decide(said: Option<Kind>, members: &Members) -> (Option<&'static Rule>, bool) {
    let told = || Rule::told(members);
    match said {
        None => (told(), false),
        Some(kind) => match Rule::of(kind) {
            Some(rule) if rule.passes(members) => (Some(rule), false),
            Some(_) => (told(), true),
            None => (None, false),
        },
    }
}

fn cut(name: Cow<'_, str>) -> Cow<'_, str> {
    let Some((end, _)) = name.char_indices().nth(MAX_KEY_NAME) else {
        return name;
    };
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(&name[..end]),
        Cow::Owned(mut name) => {
            name.truncate(end);
            Cow::Owned(name)
        }
    }
}
