//! Stands in for the table of routes until it is there.

use crate::minchat::Kind;

/// Kinds to destinations.
#[derive(Debug, Default)]
pub struct Table;

impl Table {
    /// The destinations of a source's kind, for people.
    pub fn destinations(&self, _source: usize, kind: Kind) -> Vec<String> {
        vec![format!("file:minchat.{}.v1", kind.name())]
    }
}
