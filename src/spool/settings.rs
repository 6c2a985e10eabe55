//! The settings of the spool.

use std::path::PathBuf;

use serde::Deserialize;

use crate::units::{Percent, size_setting};

/// The section `spool`.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Where the segments are. `./data/spool`
    pub dir: PathBuf,
    /// Bytes on disk, the quarantine and the kept dead letters included; one destination may hold half. 1 GiB; 0 turns the spool off.
    #[serde(deserialize_with = "size_setting")]
    pub max_size: u64,
    /// Part of the disk that stays free; under it the spool counts as full. 5 %.
    pub keep_free: Percent,
}
