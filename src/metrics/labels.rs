use crate::route::Broker;

/// The closed sets that labels are taken from, as far as the configuration decides them.
#[derive(Debug, Clone)]
pub struct Labels {
    /// The brokers that are on.
    pub brokers: Vec<Broker>,
    /// The slug and the status of each problem that a webhook can be answered with.
    pub problems: Vec<(&'static str, u16)>,
    /// The status of an accepted webhook.
    pub success_status: u16,
}
