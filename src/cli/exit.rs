//! Exit codes, those of `sysexits.h`.

/// The command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// What was asked for is not there, or can't be reached; it may be later.
pub(crate) const UNAVAILABLE: u8 = 69;
/// Reading or writing failed.
pub(crate) const IO: u8 = 74;
/// What was configured can't work.
pub(crate) const CONFIGURATION: u8 = 78;
