//! Writing what a command was asked for.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::exit;

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
            eprintln!("minchat-bridge: stdout: {error}");
            ExitCode::from(exit::IO)
        }
        _ => ExitCode::SUCCESS,
    }
}
