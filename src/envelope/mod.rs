//! The CloudEvents envelope.

pub mod settings;
