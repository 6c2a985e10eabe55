//! The last place for a dead letter: a file of its own, for what its destination will never take.

use std::sync::Arc;

use crate::envelope::Event;
use crate::spool::Spool;

/// The dead letters that the spool keeps, one file each, within its bounds.
#[derive(Clone)]
pub struct KeptDeadLetters(Spool);

impl KeptDeadLetters {
    /// Keeps them in this spool.
    pub fn new(spool: Spool) -> Self {
        KeptDeadLetters(spool)
    }

    /// Keeps a dead letter. `done` is told on another thread whether it is on disk then, synced.
    pub(super) fn keep(&self, dead_letter: Arc<Event>, done: impl FnOnce(bool) + Send + 'static) {
        let kept = self.clone();
        self.0
            .read_on_thread(move || done(kept.write(&dead_letter)));
    }

    fn write(&self, dead_letter: &Event) -> bool {
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
