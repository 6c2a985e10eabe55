//! The names of keys that some rule is about, and what is recorded of an object's members.

use std::ops::{BitOr, Range};

use smallvec::SmallVec;

use super::text;

/// A stretch of the compact text.
pub(super) type Span = Range<usize>;

macro_rules! keys {
    ($($key:ident = $name:literal),+ $(,)?) => {
        /// A key that some rule names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Key { $($key),+ }

        impl Key {
            const COUNT: usize = [$(Key::$key),+].len();

            /// The name as a JSON string.
            pub(super) const fn quoted(self) -> &'static str {
                match self { $(Key::$key => concat!("\"", $name, "\"")),+ }
            }

            fn from_name(name: &str) -> Option<Key> {
                match name { $($name => Some(Key::$key),)+ _ => None }
            }
        }
    };
}

keys! {
    Id = "id",
    Text = "text",
    File = "file",
    Name = "name",
    Event = "event",
    Title = "title",
    Avatar = "avatar",
    Fields = "fields",
    Metadata = "metadata",
    Username = "username",
    ChatId = "chat_id",
    OldChatId = "chatId",
    ChannelId = "channelId",
    SentBy = "sent_by",
    OldSentBy = "sentBy",
    SentTo = "sent_to",
    OldSentTo = "sentTo",
    CreatedAt = "created_at",
    OldCreatedAt = "createdAt",
    LastActive = "last_active",
    OldLastActive = "lastActive",
    ChatMetadata = "chat_metadata",
    OldChatMetadata = "chatMetadata",
    ParticipantUserIds = "participant_user_ids",
    OldParticipantUserIds = "participantUserIds",
    AiAgentUsername = "ai_agent_username",
    OldAiAgentUsername = "aiAgentUsername",
    ChatbotUsername = "chatbot_username",
    OldChatbotUsername = "chatbotUsername",
}

impl Key {
    const LONGEST: usize = Key::ParticipantUserIds.quoted().len() - 2;

    /// The key that stands between the quotes as `raw`, its escapes undone.
    pub(super) fn told_by(raw: &str, escaped: bool) -> Option<Key> {
        if !escaped {
            return Key::from_name(raw);
        }
        // `\u0061` is the longest way to write a character of a known key.
        if raw.len() > Key::LONGEST * 6 {
            return None;
        }
        text::decode(raw).and_then(|name| Key::from_name(&name))
    }
}

/// What sort of JSON value one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// A set of [`Type`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const STRING: Types = Types::of(Type::String);
    pub(super) const ARRAY: Types = Types::of(Type::Array);
    pub(super) const OBJECT: Types = Types::of(Type::Object);
    pub(super) const ANY: Types = Types(u8::MAX);

    pub(super) const fn of(one: Type) -> Types {
        Types(1 << one as u8)
    }

    pub(super) const fn or(self, one: Type) -> Types {
        Types(self.0 | Types::of(one).0)
    }

    pub(super) const fn contains(self, one: Type) -> bool {
        self.0 & Types::of(one).0 != 0
    }

    pub(super) const fn contains_all(self, others: Types) -> bool {
        others.0 & !self.0 == 0
    }
}

/// A set of [`Key`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet(u32);

const _: () = assert!(Key::COUNT <= u32::BITS as usize);

impl KeySet {
    pub(super) const fn of(keys: &[Key]) -> KeySet {
        let mut set = 0;
        let mut index = 0;
        while index < keys.len() {
            set |= 1 << keys[index] as u32;
            index += 1;
        }
        KeySet(set)
    }

    pub(super) const fn contains(self, key: Key) -> bool {
        self.0 >> key as u32 & 1 == 1
    }

    pub(super) const fn minus(self, others: KeySet) -> KeySet {
        KeySet(self.0 & !others.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for KeySet {
    type Output = KeySet;

    fn bitor(self, others: KeySet) -> KeySet {
        KeySet(self.0 | others.0)
    }
}

/// One member of an object.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: Key,
    /// The key with its quotes.
    pub(super) key: Span,
    pub(super) value: Span,
    pub(super) value_type: Type,
    /// What the elements are, if the value is an array that was looked into.
    pub(super) elements: Types,
}

/// The members of one object whose keys some rule names. Of doubled keys it has the last.
#[derive(Debug, Default)]
pub(super) struct Members {
    there: KeySet,
    /// At most one for each key, so that a search is short.
    members: SmallVec<[Member; 10]>,
}

impl Members {
    pub(super) fn put(&mut self, member: Member) {
        let name = member.name;
        if !self.there.contains(name) {
            self.there = self.there | KeySet::of(&[name]);
            self.members.push(member);
        } else if let Some(earlier) = self.members.iter_mut().find(|earlier| earlier.name == name) {
            *earlier = member;
        }
    }

    pub(super) fn clear(&mut self) {
        self.there = KeySet::default();
        self.members.clear();
    }

    pub(super) fn there(&self) -> KeySet {
        self.there
    }

    pub(super) fn get(&self, key: Key) -> Option<&Member> {
        if !self.there.contains(key) {
            return None;
        }
        self.members.iter().find(|member| member.name == key)
    }

    /// The members under any of `keys`.
    pub(super) fn of(&self, keys: KeySet) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(move |member| keys.contains(member.name))
    }
}
