//! The settings of delivery.

use std::time::Duration;

use serde::Deserialize;

use crate::units::{duration_setting, size_setting};

/// The section `publish`.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// How long an answer waits for a confirm before the event goes to the spool too. 250 ms.
    ///
    /// Short, because a sync costs less than a sender's patience.
    #[serde(deserialize_with = "duration_setting")]
    pub spool_after: Duration,
    /// How long an event may stay without a confirm and without the spool until its answer is a
    /// 503, from the end of its body. 5 s.
    #[serde(deserialize_with = "duration_setting")]
    pub deadline: Duration,
    /// Bytes that a broker has not confirmed and that are kept in memory for it, all copies
    /// counted; one lane at most half. 32 MiB.
    #[serde(deserialize_with = "size_setting")]
    pub window: usize,
}
