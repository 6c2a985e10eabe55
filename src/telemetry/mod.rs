//! Logs.

pub mod settings;
