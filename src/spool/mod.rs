//! The spool.

pub mod settings;
