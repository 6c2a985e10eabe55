use std::any::Any;
use std::panic;
use std::thread;

/// Logs each panic from now on, in place of the message on stderr.
pub(super) fn log_from_now_on() {
    panic::set_hook(Box::new(|panicked| {
        let thread = thread::current();
        let (file, line) = panicked
            .location()
            .map_or(("unknown", 0), |place| (place.file(), place.line()));
        log(
            thread.name().unwrap_or("unnamed"),
            file,
            line,
            panicked.payload(),
        );
        // The process may end before the thread that writes the log has written it.
        super::flush();
    }));
}

/// One line for a panic. Its message is told only if it is a text from the source: one that was put
/// together can quote a payload.
pub(super) fn log(thread: &str, file: &str, line: u32, message: &(dyn Any + Send)) {
    let bug = message.downcast_ref::<&'static str>().copied();
    tracing::error!(
        thread,
        place = format_args!("{file}:{line}"),
        bug,
        "a bug made a thread panic; please report it"
    );
}
