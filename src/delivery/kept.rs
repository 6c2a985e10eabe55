//! The last place for a dead letter: a file of its own, for what its destination will never take.

use crate::envelope::Event;
use crate::spool::Spool;

/// The dead letters that the spool keeps, one file each, within its bounds.
pub struct KeptDeadLetters(Spool);

impl KeptDeadLetters {
    /// Keeps them in this spool.
    pub fn new(spool: Spool) -> Self {
        KeptDeadLetters(spool)
    }

    /// Whether the dead letter is on disk now, synced.
    pub(super) fn keep(&self, dead_letter: &Event) -> bool {
        let name = format!("{}.json", dead_letter.id());
        let line = [dead_letter.envelope(), b"\n"].concat();
        match self.0.keep_dead_letter(&name, &line) {
            Ok(path) => {
                tracing::error!(path = %path.display(), "no destination takes this dead letter: it is kept as a file");
                true
            }
            Err(error) => {
                tracing::error!(name, %error, "a dead letter can't be kept as a file; trying again");
                false
            }
        }
    }
}
