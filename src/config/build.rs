//! From values that hold to the rooms' settings.

use std::collections::BTreeMap;

use config::{Map, Value};
use serde::Deserialize;

use super::walk::Found;
use super::{Config, layers};
use crate::{delivery, envelope, http, publish, route, spool, telemetry};

/// The settings as they stand in a file: sources by their names.
#[derive(Deserialize)]
struct Raw {
    http: http::settings::Settings,
    admin: http::settings::AdminSettings,
    envelope: envelope::settings::Settings,
    #[serde(default)]
    sources: BTreeMap<String, http::settings::SourceSettings>,
    kafka: Option<publish::kafka::settings::Settings>,
    amqp: Option<publish::amqp::settings::Settings>,
    file: Option<publish::file::settings::Settings>,
    #[serde(default)]
    routes: route::settings::Settings,
    publish: delivery::settings::Settings,
    spool: spool::settings::Settings,
    log: telemetry::settings::Settings,
}

/// Builds the settings.
///
/// # Errors
/// The table and a room's settings don't fit one another: a bug.
pub(super) fn build(found: &Found) -> Result<Config, config::ConfigError> {
    let mut root = Map::new();
    for section in found.sections.keys() {
        layers::put_section(&mut root, section.keys());
        if section.is_like("sources.*") {
            let name = section.child("name");
            layers::put(&mut root, name.keys(), Value::new(None, section.name()));
        }
    }
    let typed = found.leaves.values().filter_map(|leaf| leaf.typed.as_ref());
    for (path, value) in typed {
        layers::put(&mut root, path.keys(), Value::new(None, value.clone()));
    }
    let raw: Raw = Value::new(None, root).try_deserialize()?;
    Ok(Config {
        http: raw.http,
        admin: raw.admin,
        envelope: raw.envelope,
        sources: raw.sources.into_values().collect(),
        kafka: raw.kafka,
        amqp: raw.amqp,
        file: raw.file,
        routes: raw.routes,
        publish: raw.publish,
        spool: raw.spool,
        log: raw.log,
    })
}
