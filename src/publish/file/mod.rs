//! Publishing to files: JSON Lines, one file a destination.
//!
//! Guarantees: an event is confirmed when its line is whole on disk, synced, in the file that has the name at that
//! moment; what a failed write or a crash left of a line is cut off before the next one is appended; one process writes
//! a file. A file that was removed, renamed or replaced is opened anew by its name. Only the destination's own thread waits
//! for the disk.
//! Leaves to others: rotation, and deletion.

mod dead_letters;
mod errors;
pub mod settings;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

pub use dead_letters::{read as read_dead_letters, read_kept as read_kept_dead_letters};
use errors::failure;
use settings::Settings;

use crate::publish::{Failure, Handover, Polled, Publisher, Report, ReportSender, Wakeup, channel};
use crate::spool::disk::{Disk, Identity, RealDisk, create_synced};

/// How much is read at once while the end of a file's last line is looked for, in bytes.
const STEP: u64 = 64 * 1024;

/// How soon a file is closed that was renamed or removed, while no event comes for it.
const LOOK: Duration = Duration::from_secs(1);

/// Hands events over to a thread that appends them to one file. The thread ends once this is dropped and it has written
/// what it was given.
struct FilePublisher {
    /// Unbounded, because the lane's window bounds what is handed over.
    events: Sender<Handover>,
    reports: Receiver<Report>,
    sender: ReportSender,
}

/// What the thread owns.
struct Writer {
    path: PathBuf,
    events: Receiver<Handover>,
    reports: ReportSender,
    open: Option<Lines>,
    buffer: Vec<u8>,
    /// The attempt of the last batch that failed, and why. What was handed over in it behind that batch fails too, so
    /// that nothing overtakes the batch.
    failed: Option<(u16, Failure)>,
}

/// A file whose content up to `end` is whole lines, synced.
struct Lines {
    file: File,
    end: u64,
}

/// A publisher for the file of this name.
pub fn publisher(settings: &Settings, name: &str, wakeup: Wakeup) -> Box<dyn Publisher> {
    let (events, handed_over) = std::sync::mpsc::channel();
    let (sender, reports) = channel(wakeup);
    sender.send(Report::Up);
    let writer = Writer {
        path: path(settings, name),
        events: handed_over,
        reports: sender.clone(),
        open: None,
        buffer: Vec::new(),
        failed: None,
    };
    let thread = std::thread::Builder::new().name("file".to_owned());
    thread
        .spawn(move || writer.run())
        .expect("a lane that was started can start a thread too");
    Box::new(FilePublisher {
        events,
        reports,
        sender,
    })
}

/// Where the events of a destination are: `<dir>/<name>.ndjson`.
pub fn path(settings: &Settings, name: &str) -> PathBuf {
    settings.dir.join(format!("{name}.ndjson"))
}

/// Makes the directory, and sees whether files can be made and synced in it.
///
/// # Errors
/// Why not.
pub fn check(settings: &Settings) -> io::Result<()> {
    fs::create_dir_all(&settings.dir)?;
    let probe = settings.dir.join(format!(".probe-{}", std::process::id()));
    File::create_new(&probe)?.sync_all()?;
    fs::remove_file(&probe)
}

impl Publisher for FilePublisher {
    fn publish(&mut self, events: &[Handover]) {
        for event in events {
            let sent = self.events.send(event.clone());
            sent.expect("the thread takes events for as long as its publisher lives");
        }
    }

    fn poll(&mut self, reports: &mut Vec<Report>) -> Polled {
        reports.extend(self.reports.try_iter());
        Polled::default()
    }

    /// No failure of a file asks for it: the thread opens a file anew by itself.
    fn rebuild(&mut self) {
        self.sender.send(Report::Up);
    }

    /// Does not wait for the disk: what is not confirmed is in the spool, or nobody was promised it.
    fn close(&mut self, _within: Duration) {}
}

impl Writer {
    /// Writes all that waits at once, with one sync.
    fn run(mut self) {
        loop {
            let first = match self.events.recv_timeout(LOOK) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.open.take_if(|lines| !lines.is_at(&self.path));
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let batch = std::iter::once(first).chain(self.events.try_iter());
            let batch: Vec<Handover> = batch.collect();
            let failed = self.failed.take();
            let written = match failed.filter(|(attempt, _)| *attempt == batch[0].attempt) {
                Some((_, failure)) => Err(failure),
                None => self.write(&batch),
            };
            self.report(&batch, &written);
            let failure = written.err();
            self.failed = failure.map(|failure| (batch[0].attempt, failure));
        }
    }

    fn write(&mut self, events: &[Handover]) -> Result<(), Failure> {
        self.buffer.clear();
        for handover in events {
            self.buffer.extend_from_slice(handover.event.envelope());
            self.buffer.push(b'\n');
        }
        let written = self.append();
        self.buffer.shrink_to(1024 * 1024);
        written
    }

    fn report(&self, events: &[Handover], written: &Result<(), Failure>) {
        let report = |event: &Handover| match written {
            Ok(()) => event.confirmed(),
            Err(failure) => event.failed(failure.clone()),
        };
        self.reports.send_all(events.iter().map(report));
    }

    fn append(&mut self) -> Result<(), Failure> {
        let Writer {
            path, open, buffer, ..
        } = self;
        if open.as_ref().is_some_and(|lines| !lines.is_at(path)) {
            tracing::warn!(path = %path.display(), "the file was removed, renamed or replaced: opening it anew by its name");
            *open = None;
        }
        let appended = match open {
            Some(open) => open.append(path, buffer),
            None => Lines::open(path).and_then(|opened| open.insert(opened).append(path, buffer)),
        };
        appended.map_err(|error| {
            // What a failed sync left of the data is unknown: only another file handle may be trusted.
            if let Some(open) = open.take() {
                open.cut();
            }
            failure(path, &error)
        })
    }
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it")
            }
            TryLockError::Error(error) => error,
        })?;
        let length = file.metadata()?.len();
        let end = last_line_end(&mut file, length)?;
        if end < length {
            tracing::warn!(path = %path.display(), bytes = length - end, "cut off a line that was never finished");
            file.set_len(end)?;
        }
        // Also where the file was there already: whoever made it may not have synced its entry, or those above.
        create_synced(&RealDisk, dir)?;
        RealDisk.sync_dir(dir)?;
        Ok(Lines { file, end })
    }

    /// Whether the file still has its name, and all the lines that were appended.
    fn is_at(&self, path: &Path) -> bool {
        let Ok(ours) = self.file.metadata() else {
            return false;
        };
        let has_name = ours.nlink() > 0
            && RealDisk
                .identity(path)
                .is_ok_and(|named| named == Identity::from(&ours));
        // A device has no length.
        has_name && (!ours.is_file() || ours.len() >= self.end)
    }

    fn append(&mut self, path: &Path, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        let end = self.end + lines.len() as u64;
        let before = std::mem::replace(&mut self.end, end);
        if !self.is_at(path) {
            self.end = before;
            return Err(io::Error::other(
                "the file was removed, renamed or replaced while it was written to",
            ));
        }
        Ok(())
    }

    /// Takes back what was appended and not believed. If that fails too, the next opening cuts at least a torn line.
    fn cut(self) {
        // Never makes the file longer: somebody else may have cut it.
        let is_longer = self
            .file
            .metadata()
            .is_ok_and(|about| about.len() > self.end);
        if is_longer && let Err(error) = self.file.set_len(self.end) {
            tracing::debug!(%error, "what was not synced could not be cut off");
        }
    }
}

/// Where the last whole line ends.
fn last_line_end(file: &mut File, length: u64) -> io::Result<u64> {
    let mut until = length;
    let mut block = Vec::new();
    while until > 0 {
        let from = until.saturating_sub(STEP);
        file.seek(SeekFrom::Start(from))?;
        block.clear();
        file.take(until - from).read_to_end(&mut block)?;
        if let Some(at) = memchr::memrchr(b'\n', &block) {
            return Ok(from + at as u64 + 1);
        }
        until = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::envelope::sealed;

    fn handover(seq: u64, attempt: u16) -> Handover {
        let body = r#"{"sent_by":{"id":"u"},"sent_to":[],"chat_id":"c"}"#;
        Handover {
            seq,
            attempt,
            event: Arc::new(sealed::event(&sealed::sealer(), body)),
        }
    }

    #[test]
    fn what_is_handed_over_behind_a_failed_event_fails_until_the_next_attempt() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let settings = Settings {
            dir: dir.path().to_owned(),
        };
        let file = path(&settings, "events");
        // Whatever is written to it, the disk is full.
        std::os::unix::fs::symlink("/dev/full", &file).expect("the directory is there");
        let (wakeup, woken) = std::sync::mpsc::channel();
        let wakeup = Arc::new(move || {
            let _ = wakeup.send(());
        });
        let mut publisher = publisher(&settings, "events", wakeup);
        let mut report_on = |handover: Handover| {
            publisher.publish(std::slice::from_ref(&handover));
            let mut reports = Vec::new();
            while !matches!(reports.last(), Some(report) if *report != Report::Up) {
                let woken = woken.recv_timeout(Duration::from_secs(60));
                woken.expect("the event is reported");
                publisher.poll(&mut reports);
            }
            reports.pop() == Some(handover.confirmed())
        };
        assert!(!report_on(handover(0, 0)));
        fs::remove_file(&file).expect("the link is there");
        assert!(!report_on(handover(1, 0)), "it may not overtake the first");
        assert!(report_on(handover(0, 1)));
        assert!(report_on(handover(1, 1)));
    }
}
