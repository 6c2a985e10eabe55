//! The settings of the file publisher.

use std::path::PathBuf;

use serde::Deserialize;

/// The section `file`. On when it is there, and by itself when no other broker is.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Where the `.ndjson` files are. `./data/events`
    pub dir: PathBuf,
}
