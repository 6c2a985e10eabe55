/// Where on its way an event became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The payload could not become an event.
    Parse,
    /// A broker will never take the event.
    Publish,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Parse, Self::Publish];

    /// The name in dead letters and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Publish => "publish",
        }
    }
}

/// Why an event can never be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadLetterReason {
    /// The payload is not JSON.
    MalformedJson,
    /// The payload is nested deeper than is accepted.
    TooDeep,
    /// The event is larger than its destination allows.
    TooLarge,
    /// The broker refuses this one event for what is in it.
    Rejected,
}

impl DeadLetterReason {
    /// All of them, in the order of [`DeadLetterReason::index`].
    pub const ALL: [Self; 4] = [
        Self::MalformedJson,
        Self::TooDeep,
        Self::TooLarge,
        Self::Rejected,
    ];

    /// The name in dead letters and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
        }
    }

    /// The place in [`DeadLetterReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Where an event meets this reason.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::MalformedJson | Self::TooDeep => Stage::Parse,
            Self::TooLarge | Self::Rejected => Stage::Publish,
        }
    }
}
