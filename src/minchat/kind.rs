//! The closed set of event kinds, and their names.

/// What sort of event a payload is.
///
/// The same name stands in URLs, topics, exchanges, routing keys, metrics labels, CLI arguments and file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An action that is configured on an AI agent was executed.
    AiAgentAction,
    /// A user sent a message.
    MessageSent,
    /// A conversation was created.
    ConversationCreated,
    /// A user became active for the first time that day.
    UserDailyActive,
    /// Any other JSON value.
    Unrecognized,
}

impl Kind {
    /// Every kind, in the order in which a payload's shape is held against them.
    pub const ALL: [Kind; 5] = [
        Kind::AiAgentAction,
        Kind::MessageSent,
        Kind::ConversationCreated,
        Kind::UserDailyActive,
        Kind::Unrecognized,
    ];

    /// The dotted name, such as `message.sent`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::AiAgentAction => "ai-agent.action",
            Kind::MessageSent => "message.sent",
            Kind::ConversationCreated => "conversation.created",
            Kind::UserDailyActive => "user.daily-active",
            Kind::Unrecognized => "unrecognized",
        }
    }

    /// The place in [`Kind::ALL`], for tables with a row a kind.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind that a URL may say: every one but `unrecognized`.
    #[must_use]
    pub fn from_url(name: &str) -> Option<Kind> {
        Kind::from_name(name).filter(|kind| *kind != Kind::Unrecognized)
    }

    /// The kind of that name, `unrecognized` included.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_index_and_is_found_by_its_name() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
    }

    #[test]
    fn a_url_says_every_kind_but_unrecognized() {
        for kind in Kind::ALL {
            let said = Kind::from_url(kind.name());
            assert_eq!(said.is_none(), kind == Kind::Unrecognized, "{kind:?}");
        }
        assert_eq!(Kind::from_url("message.read"), None);
        assert_eq!(Kind::from_url("Message.Sent"), None);
        assert_eq!(Kind::from_url(""), None);
    }
}
