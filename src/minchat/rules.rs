//! What is known about each kind, as tables: by what a payload is told, what is renamed, and what today's shape has.

use super::Kind;
use super::key::Key::*;
use super::key::{Key, KeySet, Member, Members, Type, Types};

/// All that is known about one kind.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    /// A payload is of the kind if all of these hold.
    told_by: &'static [OneOf],
    pub(super) ordering_key: Key,
    /// The old spellings in the top-level object.
    pub(super) renames: &'static [Rename],
    /// Whose values are users, or lists of users.
    pub(super) users: &'static [Key],
    /// Today's keys.
    pub(super) known: &'static [Known],
}

/// At least one of the keys is there, with a value of one of the types.
#[derive(Debug)]
struct OneOf(&'static [Key], Types);

/// Old spellings, and today's. The leftmost that is there is renamed, unless today's is there too.
#[derive(Debug)]
pub(super) struct Rename {
    pub(super) from: &'static [Key],
    pub(super) to: Key,
}

/// A key of today's shape.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) key: Key,
    pub(super) required: bool,
    pub(super) types: Types,
    /// What an array may hold.
    pub(super) elements: Types,
    /// The type that an older form of the value has.
    pub(super) old_form: Option<Type>,
}

/// The kinds in the order in which a payload's shape is held against them: the first that passes is taken.
pub(super) static RULES: [Rule; 4] = [
    Rule {
        kind: Kind::AiAgentAction,
        told_by: &[
            OneOf(&[Event], Types::STRING),
            OneOf(
                &[
                    AiAgentUsername,
                    ChatbotUsername,
                    OldChatbotUsername,
                    OldAiAgentUsername,
                    Fields,
                ],
                Types::ANY,
            ),
        ],
        ordering_key: ChatId,
        renames: &[
            Rename {
                from: &[ChatbotUsername, OldChatbotUsername, OldAiAgentUsername],
                to: AiAgentUsername,
            },
            Rename {
                from: &[OldChatId, ChannelId],
                to: ChatId,
            },
        ],
        users: &[],
        known: &[
            required(Event, Types::STRING),
            required(AiAgentUsername, Types::STRING),
            required(ChatId, Types::STRING),
            optional(Fields, Types::ARRAY)
                .of(Types::OBJECT)
                .once(Type::Object),
        ],
    },
    Rule {
        kind: Kind::MessageSent,
        told_by: &[OneOf(&[SentBy, OldSentBy], Types::OBJECT)],
        ordering_key: ChatId,
        renames: &[
            Rename {
                from: &[OldSentBy],
                to: SentBy,
            },
            Rename {
                from: &[OldSentTo],
                to: SentTo,
            },
            Rename {
                from: &[OldChatId, ChannelId],
                to: ChatId,
            },
            Rename {
                from: &[OldChatMetadata],
                to: ChatMetadata,
            },
        ],
        users: &[SentBy, SentTo],
        known: &[
            required(SentBy, Types::OBJECT),
            required(SentTo, Types::ARRAY).of(Types::OBJECT),
            required(ChatId, Types::STRING),
            optional(Text, Types::STRING),
            optional(File, Types::OBJECT),
            optional(Metadata, Types::OBJECT),
            optional(ChatMetadata, Types::OBJECT),
        ],
    },
    Rule {
        kind: Kind::ConversationCreated,
        told_by: &[
            OneOf(&[ParticipantUserIds, OldParticipantUserIds], Types::ANY),
            OneOf(&[Id], Types::STRING),
        ],
        ordering_key: Id,
        renames: &[
            Rename {
                from: &[OldParticipantUserIds],
                to: ParticipantUserIds,
            },
            Rename {
                from: &[OldCreatedAt],
                to: CreatedAt,
            },
        ],
        users: &[],
        known: &[
            required(Id, Types::STRING),
            required(ParticipantUserIds, Types::ARRAY)
                .of(Types::STRING)
                .once(Type::String),
            optional(Title, Types::STRING),
            optional(Avatar, Types::STRING),
            optional(Metadata, Types::OBJECT),
            optional(CreatedAt, Types::STRING),
        ],
    },
    Rule {
        kind: Kind::UserDailyActive,
        told_by: &[
            OneOf(&[Id], Types::STRING),
            OneOf(&[Username, Name], Types::STRING),
        ],
        ordering_key: Id,
        renames: USER_RENAMES,
        users: &[],
        known: &[
            required(Id, Types::STRING),
            required(Username, Types::STRING),
            required(Name, Types::STRING),
            optional(Avatar, Types::STRING),
            optional(Metadata, Types::OBJECT),
            optional(LastActive, Types::STRING),
            optional(CreatedAt, Types::STRING),
        ],
    },
];

/// The old spellings in a user, wherever one stands.
pub(super) const USER_RENAMES: &[Rename] = &[
    Rename {
        from: &[OldLastActive],
        to: LastActive,
    },
    Rename {
        from: &[OldCreatedAt],
        to: CreatedAt,
    },
];

/// Every key that [`USER_RENAMES`] is about.
pub(super) const USER_SPELLINGS: KeySet =
    KeySet::of(&[LastActive, OldLastActive, CreatedAt, OldCreatedAt]);

const fn required(key: Key, types: Types) -> Known {
    Known {
        key,
        required: true,
        types,
        elements: Types::ANY,
        old_form: None,
    }
}

/// MinChat writes `null` for what is not set.
const fn optional(key: Key, types: Types) -> Known {
    Known {
        key,
        required: false,
        types: types.or(Type::Null),
        elements: Types::ANY,
        old_form: None,
    }
}

impl Known {
    const fn of(self, elements: Types) -> Known {
        Known { elements, ..self }
    }

    const fn once(self, old_form: Type) -> Known {
        Known {
            old_form: Some(old_form),
            ..self
        }
    }
}

/// What a top-level value is looked into for, while it is scanned.
pub(super) enum Within {
    User,
    Users,
    Fields,
    Elements,
    Nothing,
}

/// The kind is not known yet while a value is scanned, so this goes by the key alone.
pub(super) fn within(key: Option<Key>, value_type: Type) -> Within {
    match (key, value_type) {
        (Some(SentBy | OldSentBy), Type::Object) => Within::User,
        (Some(SentTo | OldSentTo), Type::Array) => Within::Users,
        (Some(Fields), Type::Object) => Within::Fields,
        (Some(_), Type::Array) => Within::Elements,
        _ => Within::Nothing,
    }
}

impl Rule {
    /// The rule of the first kind that the payload's shape passes.
    pub(super) fn told(members: &Members) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.passes(members))
    }

    /// The rule of that kind; `unrecognized` has none.
    pub(super) fn of(kind: Kind) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.kind == kind)
    }

    /// Whether the payload's shape is one of this kind.
    pub(super) fn passes(&self, members: &Members) -> bool {
        let holds = |OneOf(keys, types): &OneOf| {
            let mut there = keys.iter().filter_map(|key| members.get(*key));
            there.any(|member| types.contains(member.value_type))
        };
        self.told_by.iter().all(holds)
    }

    /// The member that stands under today's key once the old spellings are renamed.
    pub(super) fn today<'m>(&self, key: Key, members: &'m Members) -> Option<&'m Member> {
        let renamed = || {
            let row = self.renames.iter().find(|row| row.to == key)?;
            row.from.iter().find_map(|old| members.get(*old))
        };
        members.get(key).or_else(renamed)
    }

    /// Every key that today's shape has, or that an older one had.
    pub(super) fn keys(&self) -> KeySet {
        let today = self.known.iter().map(|known| KeySet::of(&[known.key]));
        let old = self.renames.iter().map(|row| KeySet::of(row.from));
        today
            .chain(old)
            .fold(KeySet::default(), |all, some| all | some)
    }
}
