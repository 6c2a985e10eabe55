//! Sample payloads: every shape that MinChat's page and its earlier versions show.
//!
//! The page's own samples are JavaScript literals; these are what goes over the wire.

use super::Kind;

/// One payload as MinChat documents it, or documented it once.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The kind and the generation, such as `message-sent.current`.
    pub name: &'static str,
    /// What it is told to be.
    pub kind: Kind,
    /// The payload, set out over several lines.
    pub json: &'static str,
}

macro_rules! sample {
    ($kind:ident, $name:literal) => {
        Sample {
            name: $name,
            kind: Kind::$kind,
            json: include_str!(concat!("samples/", $name, ".json")),
        }
    };
}

/// All samples; of each kind, today's shape comes first.
pub const SAMPLES: &[Sample] = &[
    sample!(MessageSent, "message-sent.current"),
    sample!(MessageSent, "message-sent.generation-2"),
    sample!(MessageSent, "message-sent.generation-1"),
    sample!(ConversationCreated, "conversation-created.current"),
    sample!(AiAgentAction, "ai-agent-action.current"),
    sample!(AiAgentAction, "ai-agent-action.documented-table"),
    sample!(AiAgentAction, "ai-agent-action.generation-1"),
    sample!(UserDailyActive, "user-daily-active.current"),
    sample!(UserDailyActive, "user-daily-active.user-reference"),
];
