//! JSON Lines files.

pub mod settings;
