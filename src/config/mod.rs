//! The configuration: defaults, file, environment and flags become the settings of every room.
//!
//! Guarantees: whoever gets a [`Config`] may rely on every doc comment in the rooms' settings; what
//! is wrong is told all at once, each with its path, where it was given, and what would be right; no
//! secret is in an [`Effective`], a [`Problem`] or a warning.
//! Leaves to others: reaching brokers, binding listeners, making directories.
//!
//! The way of a value: `layers` lays texts over one another, `walk` checks them against `table`,
//! `complete` adds the defaults, `build` makes settings of them, `judge` checks what they say
//! together.

mod admin;
mod amqp_uri;
mod build;
mod certificates;
mod changes;
mod complete;
mod directories;
mod effective;
mod files;
mod judge;
mod kinds;
mod known_secrets;
mod layers;
mod listeners;
mod markdown;
mod names;
mod narrowing;
mod networks;
mod path;
mod problem;
mod properties;
mod routes;
mod secrets;
mod security;
mod shown;
mod table;
#[cfg(test)]
mod tests;
mod timing;
mod unknown;
mod walk;
mod yaml;

use std::path::PathBuf;
use std::time::Duration;

pub use admin::admin_listen;
pub use changes::{Changes, changes};
pub use effective::{Effective, to_yaml};
pub use files::ReadFile;
pub use markdown::markdown_table;
pub use narrowing::Narrowing;
pub use path::SettingPath;
pub use problem::{Problem, Problems};

use crate::{delivery, envelope, http, publish, route, spool, telemetry};

/// Where a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// A YAML file. None: there is none.
    pub file: Option<PathBuf>,
    /// Flags: path and value. They win over everything.
    pub set: Vec<(String, String)>,
    /// Variables: name and value, of which those count that begin with `MINCHAT_BRIDGE__`. They win over
    /// the file.
    pub env: Vec<(String, String)>,
}

/// A configuration that holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings of every room.
    pub config: Config,
    /// Each setting with its origin, for people.
    pub effective: Vec<Effective>,
    /// What holds, but is probably not meant.
    pub warnings: Vec<String>,
    /// The files that it was read from: the configuration's own, and those that it names.
    pub files: Vec<ReadFile>,
}

/// The settings of every room.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listener for webhooks.
    pub http: http::settings::Settings,
    /// The listener for operators.
    pub admin: http::settings::AdminSettings,
    /// The CloudEvents envelope.
    pub envelope: envelope::settings::Settings,
    /// At least one, in the order of their names, which are unique.
    pub sources: Vec<http::settings::SourceSettings>,
    /// Some if Kafka is on.
    pub kafka: Option<publish::kafka::settings::Settings>,
    /// Some if RabbitMQ is on.
    pub amqp: Option<publish::amqp::settings::Settings>,
    /// Some if files are written; by itself when neither of the other two is on.
    pub file: Option<publish::file::settings::Settings>,
    /// Kinds that don't simply go to every broker that is on.
    pub routes: route::settings::Settings,
    /// Delivery.
    pub publish: delivery::settings::Settings,
    /// The spool.
    pub spool: spool::settings::Settings,
    /// The log.
    pub log: telemetry::settings::Settings,
}

impl Config {
    /// The brokers that are on.
    pub fn brokers(&self) -> Vec<route::Broker> {
        let on = [
            (route::Broker::Kafka, self.kafka.is_some()),
            (route::Broker::Amqp, self.amqp.is_some()),
            (route::Broker::File, self.file.is_some()),
        ];
        on.into_iter()
            .filter_map(|(broker, is_on)| is_on.then_some(broker))
            .collect()
    }

    /// How long a stop may take from the signal on: what `terminationGracePeriodSeconds` has to exceed.
    pub fn stops_within(&self) -> Duration {
        self.http.stop_delay + self.http.shutdown_timeout + timing::FLUSH
    }
}

/// Reads and checks a configuration, the files that it names included.
///
/// # Errors
/// All that is wrong with it. If the file can't be understood, that alone, with what is wrong with
/// variables and flags by themselves.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let own = inputs.file.as_deref().map(ReadFile::about_to_read);
    let mut given = layers::gather(inputs);
    if given.unreadable {
        return Err(Problems::new(given.problems));
    }
    let mut found = walk::walk(&given);
    complete::complete(&mut found, &given);
    let built = build::build(&found);
    let mut warnings = Vec::new();
    match &built {
        Ok(config) => warnings = judge::judge(config, &given, &mut found),
        // What was refused can leave settings that can't be built. It is told already.
        Err(_) if !found.problems.is_empty() || !given.problems.is_empty() => {}
        Err(error) => unreachable!("what the table lets pass fits the settings: {error}"),
    }
    let mut problems = std::mem::take(&mut given.problems);
    problems.append(&mut found.problems);
    match built {
        Ok(config) if problems.is_empty() => Ok(Loaded {
            config,
            effective: effective::list(&found),
            warnings,
            files: own.into_iter().chain(found.files).collect(),
        }),
        _ => Err(Problems::new(problems)),
    }
}
