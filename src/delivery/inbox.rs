//! Where a worker's answers come in, from the lanes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::task::AtomicWaker;

use super::lane::Answer;

/// Where lanes put a worker's answers.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) answers: Mutex<Vec<(Seat, Answer)>>,
    /// Answers were put in, and the worker was not told yet, or did not look yet.
    pub(super) rung: AtomicBool,
    pub(super) worker: AtomicWaker,
}

/// Whose answer it is: a place among those who wait, and which of its guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) place: u32,
    pub(super) guest: u32,
}

impl Inbox {
    /// Puts an answer in. Its worker may not hear of it before [`Self::ring`].
    pub(super) fn put(&self, seat: Seat, answer: Answer) {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((seat, answer));
    }

    /// Tells the worker, unless it was told and has yet to look.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.worker.wake();
        }
    }
}
