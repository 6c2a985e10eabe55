//! From a configuration to what its events are sealed with and where they go.

use crate::config::Config;
use crate::envelope::Sealer;
use crate::http::settings::SourceSettings;
use crate::route::Table;

/// How many lanes may stand idle because nothing leads to them any more. Each has a thread and, at
/// Kafka, a client.
const MOST_UNROUTED: usize = 256;

/// Where the events of this configuration go.
pub fn table(config: &Config) -> Table {
    Table::new(
        config.sources.iter().map(|source| source.prefix.as_str()),
        &config.brokers(),
        &config.routes,
    )
}

/// Seals payloads as this configuration says.
pub fn sealer(config: &Config) -> Sealer {
    Sealer::new(&config.envelope, config.sources.iter().map(name_and_uri))
}

/// What follows these, by another configuration with the same brokers.
///
/// # Errors
/// When too many lanes would have nothing to do any more.
pub(super) fn following(
    before: &Table,
    sealer: &Sealer,
    config: &Config,
) -> Result<(Table, Sealer), String> {
    let sources = config.sources.iter().map(name_and_uri);
    let sealer = sealer.following(&config.envelope, sources);
    let prefixes = sealer.names().map(|name| {
        let mut sources = config.sources.iter();
        let source = sources.find(|source| source.name == name)?;
        Some(source.prefix.as_str())
    });
    let table = before.following(prefixes, &config.brokers(), &config.routes);
    let idle = unrouted(&table);
    if idle > MOST_UNROUTED && idle > unrouted(before) {
        return Err(format!(
            "routes: nothing would lead to {idle} destinations any more, and only a restart lets go of them"
        ));
    }
    Ok((table, sealer))
}

fn name_and_uri(source: &SourceSettings) -> (&str, &str) {
    (&source.name, &source.uri)
}

fn unrouted(table: &Table) -> usize {
    let places = 0..table.destinations().len();
    places.filter(|place| !table.is_routed(*place)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Inputs};

    fn config(prefix: &str) -> Config {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let file = dir.path().join("config.yaml");
        let yaml = format!("sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}");
        std::fs::write(&file, yaml).expect("it can be written");
        let inputs = Inputs {
            file: Some(file),
            ..Inputs::default()
        };
        config::load(&inputs).expect("it holds").config
    }

    #[test]
    fn lanes_that_nothing_leads_to_are_bounded() {
        let first = config("p.");
        let (mut table, mut sealer) = (table(&first), sealer(&first));
        let taken = (0..1000).take_while(|number| {
            let next = following(&table, &sealer, &config(&format!("p{number}.")));
            let is_taken = next.is_ok();
            (table, sealer) = next.unwrap_or_else(|_| (table.clone(), sealer.clone()));
            is_taken
        });
        assert_eq!(taken.count(), MOST_UNROUTED / 6);
        let known = following(&table, &sealer, &first);
        assert!(known.is_ok(), "what has a lane needs no other");
    }
}
