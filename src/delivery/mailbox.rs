//! The messages to a lane, and how its thread waits for them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A queue of many senders, and of one thread that waits for their messages. What bounds it is what bounds its senders:
/// requests in flight at the edge, and the window of events whose reports may come.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    ready: Condvar,
}

#[derive(Debug)]
struct Queue<T> {
    messages: Vec<T>,
    /// Until when the thread waits, if it does.
    waits_until: Option<Instant>,
    /// When it has to go on, by [`Mailbox::wake_by`].
    wake_by: Option<Instant>,
}

impl<T> Mailbox<T> {
    /// An empty one.
    pub fn new() -> Self {
        let queue = Queue {
            messages: Vec::new(),
            waits_until: None,
            wake_by: None,
        };
        Mailbox {
            queue: Mutex::new(queue),
            ready: Condvar::new(),
        }
    }

    /// Puts a message in, and wakes the thread. Never blocks for longer than another's push takes.
    pub fn push(&self, message: T) {
        self.push_all(std::iter::once(message));
    }

    /// Puts messages in, and wakes the thread once.
    pub fn push_all(&self, messages: impl Iterator<Item = T>) {
        let mut queue = self.lock();
        queue.messages.extend(messages);
        self.notify_if(queue, |_| true);
    }

    /// Puts messages in without waking the thread. The caller sees to it that somebody takes them.
    pub fn add_all(&self, messages: impl Iterator<Item = T>) {
        self.lock().messages.extend(messages);
    }

    /// Wakes the thread, for something that is not a message.
    pub fn wake(&self) {
        self.wake_by(Instant::now());
    }

    /// Has the thread go on at this time, if it would wait for longer.
    pub fn wake_by(&self, at: Instant) {
        let mut queue = self.lock();
        queue.wake_by = Some(queue.wake_by.map_or(at, |by| by.min(at)));
        self.notify_if(queue, |until| until > at);
    }

    fn notify_if(
        &self,
        mut queue: MutexGuard<'_, Queue<T>>,
        is_late: impl FnOnce(Instant) -> bool,
    ) {
        if queue.waits_until.is_some_and(is_late) {
            queue.waits_until = None;
            drop(queue);
            self.ready.notify_one();
        }
    }

    /// Waits until there is a message, but no longer than until the given time, or the time of a [`Self::wake_by`] that
    /// was called since the last wait.
    pub fn wait(&self, until: Instant) {
        let mut queue = self.lock();
        while queue.messages.is_empty() {
            let until = queue.wake_by.map_or(until, |by| by.min(until));
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            queue.waits_until = Some(until);
            let waited = self.ready.wait_timeout(queue, wait);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.waits_until = None;
        }
        queue.wake_by = None;
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    /// Takes all messages there are into an empty `batch`.
    pub fn take(&self, batch: &mut Vec<T>) {
        std::mem::swap(&mut self.lock().messages, batch);
    }

    /// Returns once the thread waits.
    #[cfg(test)]
    pub(super) fn await_wait(&self) {
        while self.lock().waits_until.is_none() {
            std::thread::yield_now();
        }
    }

    /// A sender that panicked can't have left a message half put in.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// Waits for a long time on a thread of its own, and does this once that thread waits.
    fn while_it_waits(then: impl FnOnce(&Mailbox<u8>)) -> Duration {
        let mailbox = Arc::new(Mailbox::new());
        let began = Instant::now();
        let waiting = std::thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || mailbox.wait(began + LONG)
        });
        mailbox.await_wait();
        then(&mailbox);
        waiting.join().expect("it does not panic");
        began.elapsed()
    }

    #[test]
    fn whoever_waits_is_woken_by_a_message_and_by_a_time_that_is_sooner() {
        assert!(while_it_waits(|mailbox| mailbox.push(1)) < LONG);
        assert!(while_it_waits(Mailbox::wake) < LONG);
        let soon = Duration::from_millis(20);
        let waited = while_it_waits(|mailbox| mailbox.wake_by(Instant::now() + soon));
        assert!((soon..LONG).contains(&waited), "{waited:?}");
    }

    #[test]
    fn what_came_before_the_wait_ends_it_at_once() {
        let until = Instant::now() + LONG;
        let mailbox = Mailbox::new();
        mailbox.add_all([1, 2].into_iter());
        mailbox.wait(until);
        let mut batch = Vec::new();
        mailbox.take(&mut batch);
        assert_eq!(batch, [1, 2]);
        mailbox.wake();
        mailbox.wait(until);
        assert!(Instant::now() < until);
    }
}
