//! Which destinations the events of a kind go to.

mod broker;
pub mod settings;

pub use broker::Broker;

mod stub;

pub use stub::Table;
