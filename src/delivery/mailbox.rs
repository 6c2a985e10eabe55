//! What a lane's owner is told, by whom ever: a queue that wakes its owner at most once a batch.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A queue of many senders and one owner. What bounds it is what bounds its senders: requests in
/// flight at the edge, and the window of events whose reports may come.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    ready: Condvar,
}

#[derive(Debug)]
struct Queue<T> {
    messages: Vec<T>,
    owner_sleeps: bool,
    /// The owner was woken, and has not returned from [`Mailbox::wait`] since.
    woken: bool,
}

impl<T> Mailbox<T> {
    /// An empty one.
    pub fn new() -> Self {
        let queue = Queue {
            messages: Vec::new(),
            owner_sleeps: false,
            woken: false,
        };
        Mailbox {
            queue: Mutex::new(queue),
            ready: Condvar::new(),
        }
    }

    /// Puts a message in. Never blocks for longer than another's push takes.
    pub fn push(&self, message: T) {
        self.push_all(std::iter::once(message));
    }

    /// Puts messages in, for one wake.
    pub fn push_all(&self, messages: impl Iterator<Item = T>) {
        let mut queue = self.lock();
        queue.messages.extend(messages);
        if std::mem::take(&mut queue.owner_sleeps) {
            drop(queue);
            self.ready.notify_one();
        }
    }

    /// Wakes the owner, for something that is not a message.
    pub fn wake(&self) {
        let mut queue = self.lock();
        queue.woken = true;
        if std::mem::take(&mut queue.owner_sleeps) {
            drop(queue);
            self.ready.notify_one();
        }
    }

    /// Waits until there is a message, or somebody wakes the owner, or until then.
    pub fn wait(&self, until: Instant) {
        let mut queue = self.lock();
        while queue.messages.is_empty() && !queue.woken {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            queue.owner_sleeps = true;
            let waited = self.ready.wait_timeout(queue, wait);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.owner_sleeps = false;
        }
        queue.woken = false;
    }

    /// Takes all messages there are into an empty `batch`.
    pub fn take(&self, batch: &mut Vec<T>) {
        std::mem::swap(&mut self.lock().messages, batch);
    }

    /// A sender that panicked can't have left a message half put in.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
