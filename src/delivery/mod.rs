//! Brings each event to its destinations, in order, and says what became of it.

mod dead_letter_reason;
mod receipt;
pub mod settings;

pub use dead_letter_reason::{DeadLetterReason, Stage};
pub use receipt::Receipt;

mod stub;

pub use stub::{Delivery, Port, Readiness, Refused, Script};
