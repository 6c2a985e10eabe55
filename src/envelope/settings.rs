//! The settings of the envelope.

use serde::Deserialize;

/// The section `envelope`.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// What `dataschema` begins with; kind and version follow. `tag:minchat.io,2026:bridge:schema:`
    pub schema_base: String,
}
