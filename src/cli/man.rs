//! `minchat-bridge man`: the manual's pages.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use super::{Cli, exit, output};

/// Print the manual's page of the program or of one of its commands, for `man -l -`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A command.
    command: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let mut program = Cli::command();
    program.build();
    let page = match &args.command {
        None => Some(program),
        Some(name) => program.find_subcommand(name).cloned(),
    };
    let Some(page) = page else {
        note!("minchat-bridge man: there is no such command; minchat-bridge --help lists them");
        return ExitCode::from(exit::USAGE);
    };
    let mut roff = Vec::new();
    match Man::new(page).render(&mut roff) {
        Ok(()) => output::print(&roff),
        Err(_) => ExitCode::from(exit::IO),
    }
}
