//! The lines of the log that wait to be written, and the loop of the thread that writes them.
//!
//! Guarantees: who logs never waits for the output, however slow it is and even if nobody reads it. At most [`MAX_BYTES`]
//! of lines wait. A line that does not fit, or that can't be written, is dropped and counted. As soon as no line waits
//! any more and the output works, the log says how many were dropped.
//! `tracing-appender` (looked at in 2026) is not used: at its end it writes to a standard stream itself, which blocks where
//! nobody reads, and it neither counts lines that can't be written nor can flush before the end.
//! Not responsible for: what the lines say.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The most memory that waiting lines may take: about a thousand lines.
const MAX_BYTES: usize = 256 * 1024;

/// What a line takes besides its text.
const LINE_OVERHEAD: usize = size_of::<Vec<u8>>();

/// How long the writer waits until it tries again, if the output is set to non-blocking and takes nothing at the moment.
const RETRY: Duration = Duration::from_millis(10);

/// How often the writer calls back though no line comes.
const TICK: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// The writer waits here for lines.
    pushed: Condvar,
    /// [`Queue::flush`] waits here for the writer.
    finished: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// What the lines take in memory.
    bytes: usize,
    /// How many lines were queued since the start, and how many of them the writer has finished with.
    queued: u64,
    finished: u64,
    /// Lines dropped that the log has not reported yet.
    unreported: u64,
    /// Lines dropped that the metric has not counted yet.
    uncounted: u64,
}

/// What the writer thread has to do next.
enum Work {
    Write(Vec<u8>),
    Report(u64),
    Tick,
}

/// What the writer thread tells the code that started it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Lines can be written, and this many were dropped before.
    Dropped(u64),
    /// Another minute is over.
    Tick,
}

impl Queue {
    /// Queues a line, which ends with a line feed, or drops it if there is no room. Does not block.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.bytes + line.len() + LINE_OVERHEAD > MAX_BYTES {
            state.count_dropped();
            return;
        }
        state.bytes += line.len() + LINE_OVERHEAD;
        state.lines.push_back(line.to_vec());
        state.queued += 1;
        drop(state);
        self.pushed.notify_one();
    }

    /// Waits until all lines that are queued now have been written or dropped, but no longer than `within`.
    pub(super) fn flush(&self, within: Duration) {
        let state = self.state();
        let queued = state.queued;
        let waited = self
            .finished
            .wait_timeout_while(state, within, |state| state.finished < queued);
        drop(waited);
    }

    /// The same without a limit, and without a clock.
    pub(super) fn wait_until_written(&self) {
        let state = self.state();
        let queued = state.queued;
        let waited = self
            .finished
            .wait_while(state, |state| state.finished < queued);
        drop(waited);
    }

    /// Returns how many lines were dropped since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.state().uncounted)
    }

    /// Writes lines to `output` for ever, on a thread of its own. What `on` logs is queued like any other line.
    pub(super) fn write_to(&self, output: impl Write, on: impl Fn(Occasion)) -> ! {
        let mut output = Output {
            inner: output,
            is_working: true,
            is_torn: false,
        };
        let mut next_tick = Instant::now() + TICK;
        loop {
            match self.next(output.is_working, next_tick) {
                Work::Write(line) => {
                    let is_written = output.write_line(line);
                    self.finish(is_written);
                }
                Work::Report(dropped) => on(Occasion::Dropped(dropped)),
                Work::Tick => {
                    next_tick = Instant::now() + TICK;
                    on(Occasion::Tick);
                }
            }
        }
    }

    fn next(&self, is_output_working: bool, next_tick: Instant) -> Work {
        let mut state = self.state();
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Work::Tick;
            }
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len() + LINE_OVERHEAD;
                return Work::Write(line);
            }
            if is_output_working && state.unreported > 0 {
                return Work::Report(std::mem::take(&mut state.unreported));
            }
            (state, _) = self
                .pushed
                .wait_timeout(state, wait)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, is_written: bool) {
        let mut state = self.state();
        state.finished += 1;
        if !is_written {
            state.count_dropped();
        }
        drop(state);
        self.finished.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count_dropped(&mut self) {
        self.unreported += 1;
        self.uncounted += 1;
    }
}

/// What the formatting layer writes to: each call has one whole line.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Output<W> {
    inner: W,
    /// The last line could be written.
    is_working: bool,
    /// The last thing that was written is a part of a line.
    is_torn: bool,
}

impl<W: Write> Output<W> {
    /// Writes one line, and returns whether all of it was written. After a line that failed in the middle, the next one
    /// begins on a line of its own.
    fn write_line(&mut self, mut line: Vec<u8>) -> bool {
        if self.is_torn {
            line.insert(0, b'\n');
        }
        let mut rest = &line[..];
        while !rest.is_empty() {
            match self.inner.write(rest) {
                Ok(written @ 1..) => {
                    rest = &rest[written..];
                    self.is_torn = !rest.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Ok(0) | Err(_) => break,
            }
        }
        self.is_working = rest.is_empty();
        self.is_working
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Longer than a thread of a busy machine takes to be scheduled.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// An output that waits for the test to say how each write ends.
    struct Scripted {
        outcomes: Receiver<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self
                .outcomes
                .recv()
                .unwrap_or(Ok(usize::MAX))?
                .min(bytes.len());
            let mut written = self.written.lock().expect("nothing panicked");
            written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Scene {
        queue: Arc<Queue>,
        /// `None` from the moment on at which every write succeeds.
        outcomes: Option<Sender<io::Result<usize>>>,
        occasions: Receiver<Occasion>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Scene {
        fn new() -> Self {
            let queue = Arc::new(Queue::default());
            let written = Arc::new(Mutex::new(Vec::new()));
            let (outcomes, scripted) = channel();
            let (tell, occasions) = channel();
            let output = Scripted {
                outcomes: scripted,
                written: written.clone(),
            };
            let writing = queue.clone();
            thread::spawn(move || {
                writing.write_to(output, |occasion| {
                    // The test may be over.
                    let _ = tell.send(occasion);
                })
            });
            Self {
                queue,
                outcomes: Some(outcomes),
                occasions,
                written,
            }
        }

        fn next_write(&self, outcome: io::Result<usize>) {
            let outcomes = self.outcomes.as_ref().expect("writes are scripted");
            outcomes.send(outcome).expect("the writer runs");
        }

        fn flushed(&self) -> String {
            self.queue.flush(PATIENCE);
            let written = self.written.lock().expect("nothing panicked").clone();
            String::from_utf8(written).expect("lines are text")
        }

        fn occasion(&self) -> Occasion {
            self.occasions
                .recv_timeout(PATIENCE)
                .expect("it is called back")
        }
    }

    #[test]
    fn whoever_logs_to_a_blocked_output_never_waits_and_what_does_not_fit_is_counted() {
        let mut scene = Scene::new();
        let line = [b'x'; 99].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        for _ in 0..10_000 {
            scene.queue.push(&line);
        }
        let dropped = scene.queue.take_dropped();
        let fit = MAX_BYTES / (line.len() + LINE_OVERHEAD);
        // The writer may have taken one out of the queue.
        assert!([10_000 - fit, 10_000 - fit - 1].contains(&(dropped as usize)));
        assert_eq!(scene.queue.take_dropped(), 0);
        scene.queue.flush(Duration::from_millis(1));
        assert!(
            scene.occasions.try_recv().is_err(),
            "nothing can be reported"
        );
        scene.outcomes = None;
        assert_eq!(scene.occasion(), Occasion::Dropped(dropped));
        let lines = scene.flushed().lines().count() as u64;
        assert_eq!(lines + dropped, 10_000);
    }

    #[test]
    fn a_line_that_cannot_be_written_is_dropped_and_reported_once_one_can() {
        let mut scene = Scene::new();
        for line in [&b"one\n"[..], b"two\n", b"three\n"] {
            scene.queue.push(line);
        }
        scene.next_write(Err(ErrorKind::BrokenPipe.into()));
        scene.next_write(Err(ErrorKind::StorageFull.into()));
        scene.next_write(Ok(6));
        assert_eq!(scene.occasion(), Occasion::Dropped(2));
        assert_eq!(scene.flushed(), "three\n");
        scene.next_write(Ok(0));
        scene.queue.push(b"four\n");
        scene.queue.flush(PATIENCE);
        assert_eq!(scene.queue.take_dropped(), 3);
        scene.outcomes = None;
        scene.queue.push(b"five\n");
        assert_eq!(scene.occasion(), Occasion::Dropped(1));
    }

    #[test]
    fn a_line_that_fails_in_the_middle_does_not_spoil_the_next() {
        let scene = Scene::new();
        for line in [&b"first\n"[..], b"second\n", b"third\n"] {
            scene.queue.push(line);
        }
        scene.next_write(Ok(2));
        scene.next_write(Err(ErrorKind::StorageFull.into()));
        scene.next_write(Err(ErrorKind::StorageFull.into()));
        scene.next_write(Err(ErrorKind::Interrupted.into()));
        scene.next_write(Ok(3));
        scene.next_write(Err(ErrorKind::WouldBlock.into()));
        scene.next_write(Ok(4));
        assert_eq!(scene.flushed(), "fi\nthird\n");
        assert_eq!(scene.queue.take_dropped(), 2);
    }

    #[test]
    fn a_flush_waits_for_all_lines_but_not_for_ever() {
        let scene = Scene::new();
        scene.queue.flush(PATIENCE);
        scene.queue.push(b"line\n");
        let began = Instant::now();
        scene.queue.flush(Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20));
        scene.next_write(Ok(5));
        assert_eq!(scene.flushed(), "line\n");
    }
}
