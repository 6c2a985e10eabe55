//! Writing what a command was asked for, and beside it what is to be said to people.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::exit;

/// Writes a line for people to stderr. What can't be written there can't be told at all, and the exit code still says how
/// the command ended; `eprintln!` would panic.
pub(super) fn note(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes to stdout. A reader that has enough, such as `head`, is no failure.
pub(super) fn print(bytes: &[u8]) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    printed(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// Writes each as a line of JSON to stdout.
pub(super) fn print_lines(lines: &[impl Serialize]) -> ExitCode {
    let mut text = Vec::new();
    for line in lines {
        if serde_json::to_writer(&mut text, line).is_ok() {
            text.push(b'\n');
        }
    }
    print(&text)
}

/// How writing to stdout ended.
pub(super) fn printed(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            note!("minchat-bridge: stdout: {error}");
            ExitCode::from(exit::IO)
        }
        _ => ExitCode::SUCCESS,
    }
}
