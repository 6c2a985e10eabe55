//! The program. All it does is in [`minchat_bridge::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    minchat_bridge::cli::run(std::env::args_os())
}
