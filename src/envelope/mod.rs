//! The CloudEvents envelope.

pub mod settings;

mod stub;

pub use stub::{Event, Received, Sealer};
