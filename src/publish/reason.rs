/// Why a publish failed, in words that fit every broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No confirm came in time. The event may have arrived.
    Timeout,
    /// The connection ended, or there is none.
    Disconnected,
    /// The broker that was asked does not lead the partition.
    NotLeader,
    /// There is no such topic or exchange.
    UnknownDestination,
    /// The right to publish there is missing.
    Unauthorized,
    /// The broker does not accept the credentials.
    Authentication,
    /// The event or its batch is larger than the destination allows.
    TooLarge,
    /// The broker refuses the event for what is in it.
    Rejected,
    /// The broker answered with a negative acknowledgement.
    Nack,
    /// No queue took the event: the broker gave it back.
    Returned,
    /// The broker has an alarm and takes nothing.
    Blocked,
    /// The client's own queue is full.
    QueueFull,
    /// The client cannot go on and has to be rebuilt.
    Fatal,
    /// Writing or syncing a file failed.
    Io,
    /// There is no room on the disk.
    DiskFull,
    /// None of the above.
    Other,
}

impl Reason {
    /// All of them, in the order of [`Reason::index`].
    pub const ALL: [Self; 16] = [
        Self::Timeout,
        Self::Disconnected,
        Self::NotLeader,
        Self::UnknownDestination,
        Self::Unauthorized,
        Self::Authentication,
        Self::TooLarge,
        Self::Rejected,
        Self::Nack,
        Self::Returned,
        Self::Blocked,
        Self::QueueFull,
        Self::Fatal,
        Self::Io,
        Self::DiskFull,
        Self::Other,
    ];

    /// Whether it is about the broker or the way there, and so about every destination at it.
    #[must_use]
    pub const fn is_of_the_whole_broker(self) -> bool {
        matches!(
            self,
            Self::Disconnected | Self::Authentication | Self::Blocked
        )
    }

    /// The name in metrics and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::NotLeader => "not-leader",
            Self::UnknownDestination => "unknown-destination",
            Self::Unauthorized => "unauthorized",
            Self::Authentication => "authentication",
            Self::TooLarge => "too-large",
            Self::Rejected => "rejected",
            Self::Nack => "nack",
            Self::Returned => "returned",
            Self::Blocked => "blocked",
            Self::QueueFull => "queue-full",
            Self::Fatal => "fatal",
            Self::Io => "io",
            Self::DiskFull => "disk-full",
            Self::Other => "other",
        }
    }

    /// The place in [`Reason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
