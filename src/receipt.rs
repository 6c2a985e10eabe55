//! What a webhook's sender is told: the word that delivery, answers and metrics share.

/// What an accepted webhook's sender is told about its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receipt {
    /// Each destination has confirmed it.
    Published,
    /// At least one destination has it in the spool, synced; the others have confirmed it.
    Spooled,
    /// A broker will never take it: it is in the dead letters.
    DeadLettered,
    /// Its kind is routed nowhere, on purpose.
    Discarded,
}

impl Receipt {
    /// All of them, in the order of [`Receipt::index`].
    pub const ALL: [Self; 4] = [
        Self::Published,
        Self::Spooled,
        Self::DeadLettered,
        Self::Discarded,
    ];

    /// The name in answers and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Spooled => "spooled",
            Self::DeadLettered => "dead-lettered",
            Self::Discarded => "discarded",
        }
    }

    /// The place in [`Receipt::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
