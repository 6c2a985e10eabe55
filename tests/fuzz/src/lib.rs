//! What each target does with one input: it panics where something does not hold.
//!
//! What the bridge makes of an input is held against a second, slower reading of the contract, as far as there is one:
//! that nothing panics is the least.

#[allow(dead_code, reason = "the properties of tests/minchat ask it for more")]
#[path = "../../minchat/oracle.rs"]
mod oracle;

pub mod configuration;
pub mod envelope;
mod memory_disk;
pub mod normalization;
pub mod problem_paths;
mod segment_writer;
pub mod segments;
