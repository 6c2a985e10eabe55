//! Kinds to destinations.

pub mod settings;
