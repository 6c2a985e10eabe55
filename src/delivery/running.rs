//! The threads that run a lane.
//!
//! Whichever thread has the lock of a lane runs it. A worker does that at the end of its turn, so that a new event is with
//! the broker's client without a change of threads. The lane's own thread does the rest: it polls the publisher, and serves
//! what is due at some time. Neither waits for a broker or a disk meanwhile, and a worker does not even wait for the lock:
//! the thread that has it reads the messages that came in the meantime.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::lane::Answer;
use super::mailbox::Mailbox;
use super::status::LaneStatus;
use super::ticket::{Message, Ticket};

/// Answers, and who waits for them.
pub(super) type Answers = Vec<(Ticket, Answer)>;

/// What the threads do with a lane. Nothing but [`Self::close`] waits for anything.
pub(super) trait RunLane: Send {
    /// Hears what the publisher has to report. Only the lane's own thread calls this.
    fn poll(&mut self, now: Instant);

    /// Reads the messages, carries out what the lane wants now, and adds the answers to `answers`. Returns the time at which the
    /// lane's own thread has to go on, if nothing happens before. `None`: the lane has ended.
    fn turn(&mut self, now: Instant, answers: &mut Answers) -> Option<Instant>;

    /// Lets go of the broker. Returns how many events are left that are neither published nor in the spool.
    fn close(self: Box<Self>, now: Instant) -> usize;
}

/// How the rest of the bridge reaches a lane. A clone reaches the same lane.
#[derive(Clone)]
pub(super) struct LaneHandle {
    pub(super) mailbox: Arc<Mailbox<Message>>,
    pub(super) status: Arc<LaneStatus>,
    /// The lane itself. `None` until its thread has begun, and after it has ended.
    running: Arc<Mutex<Option<Box<dyn RunLane>>>>,
}

impl LaneHandle {
    pub(super) fn new() -> Self {
        LaneHandle {
            mailbox: Arc::new(Mailbox::new()),
            status: Arc::new(LaneStatus::new()),
            running: Arc::default(),
        }
    }

    /// Gives the lane a worker's messages. The worker's thread runs the lane for one turn. If another thread runs the lane at that
    /// time, that thread or the lane's own reads the messages.
    pub(super) fn give(&self, messages: impl Iterator<Item = Message>) {
        self.mailbox.add_all(messages);
        // If the lock is poisoned, a bug is ending the process.
        let Ok(mut running) = self.running.try_lock() else {
            return;
        };
        let Some(lane) = running.as_mut() else {
            return;
        };
        let (now, mut answers) = (Instant::now(), Answers::new());
        let due_at = lane.turn(now, &mut answers);
        drop(running);
        Ticket::answer_all(answers.into_iter());
        // Other workers' messages came in the meantime.
        let has_more = !self.mailbox.is_empty();
        let due_at = due_at.filter(|_| !has_more);
        self.mailbox.wake_by(due_at.unwrap_or(now));
    }

    /// Runs the lane on the thread that calls, until the lane has ended. Returns how many events were left that are neither
    /// published nor in the spool.
    pub(super) fn run(&self, lane: impl RunLane + 'static) -> usize {
        let mut answers = Answers::new();
        *self.lock() = Some(Box::new(lane));
        loop {
            let mut running = self.lock();
            let lane = running.as_mut().expect("only this thread takes it away");
            let now = Instant::now();
            lane.poll(now);
            let due_at = lane.turn(now, &mut answers);
            let ended = running.take_if(|_| due_at.is_none());
            drop(running);
            // Not before: a worker that an answer wakes finds the lock free.
            Ticket::answer_all(answers.drain(..));
            if let Some(lane) = ended {
                return lane.close(now);
            }
            self.mailbox.wait(due_at.unwrap_or(now));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn RunLane>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// A lane that only reads its messages. It ends at [`Message::Stop`].
    struct Reader {
        mailbox: Arc<Mailbox<Message>>,
        /// The thread of each turn, and how many messages it read.
        turns: Arc<Mutex<Vec<(thread::ThreadId, usize)>>>,
        /// When it has something to do after a turn with messages.
        due_in: Duration,
        /// Messages that another worker gives while a turn reads some.
        meanwhile: usize,
    }

    impl RunLane for Reader {
        fn poll(&mut self, _now: Instant) {}

        fn turn(&mut self, now: Instant, _answers: &mut Answers) -> Option<Instant> {
            let mut batch = Vec::new();
            self.mailbox.take(&mut batch);
            if !batch.is_empty() {
                self.mailbox
                    .add_all(message().take(std::mem::take(&mut self.meanwhile)));
            }
            let mut turns = self.turns.lock().expect("nothing panicked");
            turns.push((thread::current().id(), batch.len()));
            let has_ended = batch
                .iter()
                .any(|message| matches!(message, Message::Stop { .. }));
            let due_in = if batch.is_empty() { LONG } else { self.due_in };
            (!has_ended).then(|| now + due_in)
        }

        fn close(self: Box<Self>, _now: Instant) -> usize {
            0
        }
    }

    impl Reader {
        fn new(handle: &LaneHandle, due_in: Duration) -> Self {
            Reader {
                mailbox: Arc::clone(&handle.mailbox),
                turns: Arc::default(),
                due_in,
                meanwhile: 0,
            }
        }
    }

    fn message() -> std::iter::Once<Message> {
        std::iter::once(Message::SpoolAsked(None))
    }

    #[test]
    fn a_worker_runs_a_lane_that_nobody_runs_and_does_not_wait_for_one_that_another_thread_runs() {
        let handle = LaneHandle::new();
        handle.give(message());
        assert!(!handle.mailbox.is_empty(), "it has yet to begin");
        let reader = Reader::new(&handle, LONG);
        let turns = Arc::clone(&reader.turns);
        *handle.lock() = Some(Box::new(reader));
        handle.give(message());
        assert!(handle.mailbox.is_empty());
        let by = thread::current().id();
        assert_eq!(*turns.lock().expect("nothing panicked"), [(by, 2)]);

        let held = handle.lock();
        thread::scope(|scope| {
            let worker = scope.spawn(|| handle.give(message()));
            worker
                .join()
                .expect("it comes back though the lock is held");
        });
        drop(held);
        let until = Instant::now() + LONG;
        handle.mailbox.wait(until);
        assert!(
            Instant::now() < until,
            "the lane's thread does not wait beside a message"
        );
    }

    #[test]
    fn the_thread_of_a_lane_wakes_when_a_worker_found_that_something_is_due_sooner() {
        let handle = LaneHandle::new();
        let reader = Reader::new(&handle, Duration::from_millis(5));
        let turns = Arc::clone(&reader.turns);
        thread::scope(|scope| {
            let lane = scope.spawn(|| handle.run(reader));
            let of_the_lane = || {
                let turns = turns.lock().expect("nothing panicked");
                let of_the_lane = |(by, _): &&(_, _)| *by == lane.thread().id();
                turns.iter().filter(of_the_lane).count()
            };
            handle.mailbox.await_wait();
            let before = of_the_lane();
            handle.give(message());
            while of_the_lane() == before {
                thread::yield_now();
            }
            handle.mailbox.push(Message::Stop {
                until: Instant::now(),
            });
            assert_eq!(lane.join().expect("it does not panic"), 0);
        });
    }
    #[test]
    fn every_message_is_read_however_many_workers_give_some_at_a_time() {
        const WORKERS: usize = 4;
        const EACH: usize = 2_000;
        let handle = LaneHandle::new();
        let mut reader = Reader::new(&handle, LONG);
        reader.meanwhile = 1;
        let turns = Arc::clone(&reader.turns);
        let read = || {
            let turns = turns.lock().expect("nothing panicked");
            turns.iter().map(|(_, messages)| messages).sum::<usize>()
        };
        let are_read = |messages| {
            let until = Instant::now() + Duration::from_secs(30);
            while read() < messages && Instant::now() < until {
                thread::yield_now();
            }
            read() == messages
        };
        thread::scope(|scope| {
            scope.spawn(|| handle.run(reader));
            handle.mailbox.await_wait();
            handle.give(message());
            let first = are_read(2);
            for _ in 0..WORKERS {
                scope.spawn(|| (0..EACH).for_each(|_| handle.give(message())));
            }
            let all = are_read(2 + WORKERS * EACH);
            let until = Instant::now();
            handle.mailbox.push(Message::Stop { until });
            assert!(first, "one that came while a worker read another");
            assert!(all, "{} were read", read());
        });
    }
}
