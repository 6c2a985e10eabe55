//! The HTTP front end.

pub mod settings;
