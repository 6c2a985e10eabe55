//! The settings of the envelope.

use serde::Deserialize;

/// The section `envelope`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Settings {
    /// What `dataschema` begins with; kind and version follow. `urn:minchat-bridge:schema:`
    pub schema_base: String,
}
