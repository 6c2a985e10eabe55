/// What a destination belongs to: a message broker, or the directory of the file destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broker {
    /// Apache Kafka: a destination is a topic.
    Kafka,
    /// AMQP 0-9-1, such as RabbitMQ: a destination is an exchange and a routing key.
    Amqp,
    /// A directory: a destination is a JSON Lines file in it.
    File,
}

impl Broker {
    /// All of them, in the order of [`Broker::index`].
    pub const ALL: [Self; 3] = [Self::Kafka, Self::Amqp, Self::File];

    /// The name in the configuration, in metrics and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Amqp => "amqp",
            Self::File => "file",
        }
    }

    /// The place in [`Broker::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
