//! Where lanes put the answers for a worker's requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::task::AtomicWaker;

use super::lane::Answer;

/// See the module.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) answers: Mutex<Vec<(WaiterId, Answer)>>,
    /// Answers were put in, and the worker was not told yet, or did not look yet.
    pub(super) is_notified: AtomicBool,
    pub(super) worker: AtomicWaker,
}

/// Which request of a worker waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaiterId {
    /// Its slot in the worker's table.
    pub(super) slot: u32,
    /// How many requests had that slot before it, wrapping.
    pub(super) version: u32,
}

impl Inbox {
    /// Puts an answer in. Its worker may not hear of it before [`Self::notify`].
    pub(super) fn put(&self, waiter: WaiterId, answer: Answer) {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((waiter, answer));
    }

    /// Tells the worker, unless it was told and has yet to look.
    pub(super) fn notify(&self) {
        if !self.is_notified.swap(true, Ordering::AcqRel) {
            self.worker.wake();
        }
    }
}
