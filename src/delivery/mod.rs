//! Delivery.

pub mod settings;
