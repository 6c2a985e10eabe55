//! Departures from today's shape. They are counted, and never refused.

use super::key::Members;
use super::rules::{Known, Rule};

/// One sort of departure from today's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Drift {
    /// An old spelling or an old form of a value came in.
    LegacyKey,
    /// A top-level key that the kind does not have.
    UnknownKey,
    /// A required key is not there.
    MissingKey,
    /// A known key has a value of a type that it does not have today, or the ordering key can't be used.
    WrongType,
    /// The URL said a kind whose shape the payload does not have.
    KindMismatch,
    /// The request named another media type than JSON. The edge tells it: the payload says nothing of it.
    ContentType,
}

impl Drift {
    /// Every sort of drift.
    pub const ALL: [Drift; 6] = [
        Drift::LegacyKey,
        Drift::UnknownKey,
        Drift::MissingKey,
        Drift::WrongType,
        Drift::KindMismatch,
        Drift::ContentType,
    ];

    /// The name in metrics, such as `legacy_key`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Drift::LegacyKey => "legacy_key",
            Drift::UnknownKey => "unknown_key",
            Drift::MissingKey => "missing_key",
            Drift::WrongType => "wrong_type",
            Drift::KindMismatch => "kind_mismatch",
            Drift::ContentType => "content_type",
        }
    }
}

/// What sorts of drift one payload has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriftSet(u8);

impl DriftSet {
    /// Whether the payload has that sort of drift.
    #[must_use]
    pub const fn contains(self, drift: Drift) -> bool {
        self.0 >> drift as u8 & 1 == 1
    }

    /// Adds one sort.
    pub const fn insert(&mut self, drift: Drift) {
        self.0 |= 1 << drift as u8;
    }

    /// Whether the payload is in today's shape.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The sorts that it has, in the order of [`Drift::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Drift> {
        Drift::ALL
            .into_iter()
            .filter(move |drift| self.contains(*drift))
    }
}

impl FromIterator<Drift> for DriftSet {
    fn from_iter<T: IntoIterator<Item = Drift>>(sorts: T) -> DriftSet {
        let mut set = DriftSet::default();
        sorts.into_iter().for_each(|drift| set.insert(drift));
        set
    }
}

/// What is missing, or of another type than today's, once old spellings and forms are brought into today's.
pub(super) fn of_members(rule: &Rule, members: &Members) -> DriftSet {
    rule.known
        .iter()
        .filter_map(|known| of_member(rule, known, members))
        .collect()
}

fn of_member(rule: &Rule, known: &Known, members: &Members) -> Option<Drift> {
    let Some(member) = rule.today(known.key, members) else {
        return known.required.then_some(Drift::MissingKey);
    };
    let old_form = known.old_form == Some(member.value_type);
    let today =
        known.types.contains(member.value_type) && known.elements.contains_all(member.elements);
    (!old_form && !today).then_some(Drift::WrongType)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_inserted_in_the_order_of_all() {
        let mut set = DriftSet::default();
        assert!(set.is_empty());
        set.insert(Drift::KindMismatch);
        set.insert(Drift::LegacyKey);
        assert!(!set.is_empty());
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [Drift::LegacyKey, Drift::KindMismatch]
        );
        assert!(!set.contains(Drift::WrongType));
    }
}
