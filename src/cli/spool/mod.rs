//! `minchat-bridge spool`: what waits on disk for its destination.

mod discard;
mod drain;
mod export;
mod list;
mod verify;

use std::ops::ControlFlow;
use std::process::ExitCode;

use super::{exit, serve};
use crate::app::{self, Failed};
use crate::cli::settings::SettingsArgs;
use crate::config::{Config, Loaded};
use crate::route::{self, Destination};
use crate::spool::{self, Inspected, OpenError, Record};

/// Look into the spool, check it, write it out, publish what is left in it, give events up.
///
/// The directory is `spool.dir` of the configuration; if there is no spool, the exit code is 69. `list`, `verify` and `export` change nothing,
/// and work while a bridge runs.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    List(list::Args),
    Verify(verify::Args),
    Export(export::Args),
    Drain(drain::Args),
    Discard(discard::Args),
}

/// Runs the command.
pub(super) fn run(args: &Args) -> ExitCode {
    let done = match &args.action {
        Action::List(args) => list::run(args),
        Action::Verify(args) => verify::run(args),
        Action::Export(args) => export::run(args),
        Action::Drain(args) => drain::run(args),
        Action::Discard(args) => discard::run(args),
    };
    done.unwrap_or_else(|code| code)
}

/// The configuration, with the absolute path of its spool, which has to be there.
fn load(settings: &SettingsArgs) -> Result<Loaded, ExitCode> {
    let mut loaded = settings.load()?;
    let spool = &mut loaded.config.spool;
    spool.dir = spool::locate(&spool.dir).map_err(refuse)?;
    Ok(loaded)
}

/// Looks at every queue of the spool. What is wrong is told here, on stderr.
fn inspect(
    config: &Config,
    see: impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<Vec<Inspected>, ExitCode> {
    spool::inspect(&config.spool.dir, see).map_err(refuse)
}

fn refuse(error: OpenError) -> ExitCode {
    serve::explain(&Failed::Spool(error))
}

/// What operators call a queue: its destination as in logs. One that can't be read is told by its directory.
fn name(queue: &Inspected) -> String {
    match &queue.name {
        Some(name) => route::shown(name.as_str()),
        None => {
            let dir = queue.dir.file_name().unwrap_or_default();
            format!("unreadable ({})", dir.to_string_lossy())
        }
    }
}

/// Tells on stderr if the spool holds nothing for a destination. That is an error unless a route of
/// the configuration leads there: then it has no backlog, else its name is mistyped.
fn check_destination(
    config: &Config,
    queues: &[Inspected],
    destination: &str,
) -> Result<(), ExitCode> {
    if queues.iter().any(|queue| name(queue) == destination) {
        return Ok(());
    }
    let dir = config.spool.dir.display();
    note!("minchat-bridge: the spool in {dir} holds nothing for {destination}");
    let table = app::table(config);
    if table
        .destinations()
        .iter()
        .any(|known| known.to_string() == destination)
    {
        return Ok(());
    }
    let names: Vec<_> = queues.iter().map(name).collect();
    match names.is_empty() {
        true => note!("minchat-bridge: it holds nothing at all, and no route leads there"),
        false => note!(
            "minchat-bridge: no route leads there either; the spool holds events for {}",
            names.join(", ")
        ),
    }
    Err(ExitCode::from(exit::UNAVAILABLE))
}

/// Whether the configuration still leads to where a queue's events belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Leads {
    /// A route does.
    Route,
    /// No route does, and its broker is configured: what is left is still published.
    NoRoute,
    /// Its broker is not configured: what is left is kept.
    NoBroker,
}

impl Leads {
    fn of(config: &Config, queue: &Inspected) -> Leads {
        let stored = queue.name.as_ref().map(|name| name.as_str());
        let Some(destination) = stored.and_then(Destination::from_stored) else {
            return Leads::NoBroker;
        };
        if app::table(config).destinations().contains(&destination) {
            Leads::Route
        } else if config.brokers().contains(&destination.broker) {
            Leads::NoRoute
        } else {
            Leads::NoBroker
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Leads::Route => "a route",
            Leads::NoRoute => "no route; still published",
            Leads::NoBroker => "no broker; kept",
        }
    }
}
