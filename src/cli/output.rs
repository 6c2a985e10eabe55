//! Writing what a command was asked for.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use super::exit;

/// Writes to stdout. A reader that has enough, such as `head`, is no failure.
pub(super) fn print(bytes: &[u8]) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("minchat-bridge: stdout: {error}");
            ExitCode::from(exit::IO)
        }
        _ => ExitCode::SUCCESS,
    }
}
