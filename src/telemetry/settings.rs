//! The settings of the log.

use serde::Deserialize;

/// The section `log`.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Auto.
    pub format: Format,
    /// The least that is logged. Info.
    pub level: Level,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For log collectors, one object a line.
    Json,
}

/// Severity of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Someone must act.
    Error,
    /// Degraded, but safe.
    Warn,
    /// Life cycle.
    Info,
    /// Per event.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The name as it is written in a configuration, which is also what filters know.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
