//! What a panic does to the process.
//!
//! Guarantees, once [`end_the_process`] was called: a panic inside [`contained`] or [`contained_future`],
//! which hold the handler of one HTTP request, costs that request alone. A panic anywhere else ends the
//! process with exit code 70, however much of it still works: on every thread, in every task of a runtime,
//! and in every callback that a C library calls. Either way one line of the log names the thread and the place.
//! Leaves to others: making good what the end of the process interrupts (`spool`, and the senders' next attempt).
//!
//! The panic hook decides this, because it runs before the stack unwinds. Behind it nobody learns of a
//! panic reliably: a runtime catches the panics of its tasks and keeps them for a handle that nobody asks,
//! a thread ends without a word to the others, and to unwind into C code aborts the process.

use std::any::Any;
use std::cell::Cell;
use std::fs;
use std::future::poll_fn;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::pin::Pin;
use std::thread;
use std::time::Duration;

/// `EX_SOFTWARE` of `sysexits.h`.
const EX_SOFTWARE: i32 = 70;

/// How long writing the line of a panic may take until the process ends without it: nobody may read stderr any more.
const LOG_WITHIN: Duration = Duration::from_secs(1);

/// How a thread stands to the handler of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It runs something else.
    Elsewhere,
    /// It runs a handler.
    InHandler,
    /// A handler panicked on it, and its stack unwinds.
    Unwinding,
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::Elsewhere) };
}

/// A handler panicked. The panic is in the log.
#[derive(Debug)]
pub struct Panicked;

/// Makes every panic from now on end the process, except those of a request's handler.
pub fn end_the_process() {
    set_hook(Box::new(|panicked| {
        // A second panic while the first one unwinds would abort the process.
        if PLACE.get() == Place::InHandler {
            PLACE.set(Place::Unwinding);
            return tell(panicked);
        }
        let watchdog = thread::Builder::new()
            .name("panic-exit".to_owned())
            .spawn(|| {
                thread::sleep(LOG_WITHIN);
                exit();
            });
        tell(panicked);
        if watchdog.is_ok() {
            super::wait_until_written();
        }
        exit();
    }));
}

/// Ends the process at once. The usual way out runs the exit handlers of C libraries while other threads
/// still use what they free, and so may crash or wait for ever.
fn exit() -> ! {
    signal_hook::low_level::exit(EX_SOFTWARE)
}

/// Runs a request's handler, or a part of it. Its panic ends nothing else.
///
/// # Errors
/// When it panicked.
pub fn contained<T>(handler: impl FnOnce() -> T) -> Result<T, Panicked> {
    let before = PLACE.replace(Place::InHandler);
    let outcome = catch_unwind(AssertUnwindSafe(handler));
    PLACE.set(before);
    outcome.map_err(|_| Panicked)
}

/// The same for a handler that waits. After a panic the future is not polled again.
///
/// # Errors
/// When it panicked.
pub async fn contained_future<F: Future>(mut handler: Pin<&mut F>) -> Result<F::Output, Panicked> {
    poll_fn(
        |context| match contained(|| handler.as_mut().poll(context)) {
            Ok(outcome) => outcome.map(Ok),
            Err(panicked) => std::task::Poll::Ready(Err(panicked)),
        },
    )
    .await
}

/// Logs a panic. A command that writes no log gets the line on stderr.
fn tell(panicked: &PanicHookInfo<'_>) {
    let thread = thread_name();
    let (file, line) = panicked
        .location()
        .map_or(("unknown", 0), |place| (place.file(), place.line()));
    let bug = bug(panicked.payload());
    if tracing::dispatcher::has_been_set() {
        return log(&thread, file, line, bug);
    }
    let bug = bug.map_or_else(String::new, |bug| format!(": {bug}"));
    // What can't be written there can't be told at all.
    let _ = writeln!(
        io::stderr(),
        "minchat-bridge: a bug made the thread {thread} panic at {file}:{line}{bug}; please report it"
    );
}

/// The name of this thread. Threads of C libraries have theirs from the kernel alone.
fn thread_name() -> String {
    let of_rust = thread::current().name().map(str::to_owned);
    let of_kernel = || fs::read_to_string("/proc/thread-self/comm").ok();
    let name = of_rust.or_else(of_kernel);
    name.map_or_else(|| "unnamed".to_owned(), |name| name.trim_end().to_owned())
}

/// A panic's message, if it is a text from the source: one that was put together can quote a payload.
pub(super) fn bug(message: &(dyn Any + Send)) -> Option<&'static str> {
    message.downcast_ref::<&'static str>().copied()
}

pub(super) fn log(thread: &str, file: &str, line: u32, bug: Option<&str>) {
    tracing::error!(
        thread,
        place = format_args!("{file}:{line}"),
        bug,
        "a bug made a thread panic; please report it"
    );
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::rc::Rc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_lets_go_of_what_it_held() {
        let held = Rc::new(());
        let holding = held.clone();
        let handler = pin!(async move {
            let _holding = holding;
            tokio::task::yield_now().await;
            panic!("a bug, as the test has it")
        });
        let outcome: Result<(), Panicked> = contained_future(handler).await;
        assert!(outcome.is_err());
        assert_eq!(Rc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn a_handler_that_waits_is_one_only_while_it_is_polled() {
        let handler = pin!(async {
            assert!(PLACE.get() == Place::InHandler);
            tokio::task::yield_now().await;
            assert!(PLACE.get() == Place::InHandler);
            7
        });
        let mut handled = pin!(contained_future(handler));
        let is_pending = handled.as_mut().now_or_never().is_none();
        assert!(is_pending && PLACE.get() == Place::Elsewhere);
        assert!(matches!(handled.await, Ok(7)));
        assert!(PLACE.get() == Place::Elsewhere);
    }
}
