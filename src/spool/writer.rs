//! The one thread that writes: all that wait are written together, synced once, and answered. Another one reads.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SendError, Sender, SyncSender, channel, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::disk::{Disk, RealDisk};
use super::error::{OpenError, Refusal};
use super::lock::Lock;
use super::names::{DEAD_LETTERS, Name};
use super::queue::Queue;
use super::settings::Settings;
use super::store::{Found, Sizes, Store};
use super::usage::Usage;

/// How often marks are written.
const TICK: Duration = Duration::from_secs(1);
/// How long the writer may be silent and still count as living. A sync of a sick disk takes seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// How an append ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// All records of the batch below this number are on disk, synced.
    pub upto: u64,
    /// Why the others are not.
    pub refusal: Option<Refusal>,
}

/// What is told of the spool's work, for metrics.
pub trait Watcher: Send + Sync {
    /// An append was written and synced, within this time.
    fn synced(&self, took: Duration);
    /// So many more corrupt places were found.
    fn corrupt(&self, places: u64);
}

type Done = Box<dyn FnOnce(Appended) + Send>;
type Told = Box<dyn FnOnce(Option<Refusal>) + Send>;
type Read = Box<dyn FnOnce() + Send>;

enum Command {
    Open {
        name: Name,
        opened: SyncSender<Arc<Queue>>,
    },
    Append {
        queue: Arc<Queue>,
        batch: Batch,
        done: Done,
    },
    Ask {
        queue: Arc<Queue>,
        bytes: u64,
        told: Told,
    },
    Close,
}

/// The spool of this process. A clone is the same spool.
#[derive(Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    max_size: u64,
    usage: Arc<Usage>,
    lock: Option<Arc<Lock>>,
    commands: Mutex<Sender<Command>>,
    reads: Sender<Read>,
    found: Vec<Found>,
    start: Instant,
    beat: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A directory that is this process's own, recovered, and not written to yet.
pub struct Opened {
    dir: PathBuf,
    store: Store,
    found: Vec<Found>,
}

impl Opened {
    /// What was found on disk.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// What a queue that was found takes up on disk, in bytes.
    pub fn bytes(&self, name: &Name) -> u64 {
        let mut kept = self.store.kept();
        kept.find(|queue| queue.name() == name)
            .map_or(0, |queue| queue.bytes())
    }

    /// Starts the writer and the reading thread. What was found stays as it is until somebody opens its queue.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self, watcher: Arc<dyn Watcher>) -> io::Result<Spool> {
        let Opened { dir, store, found } = self;
        watcher.corrupt(store.corrupt());
        let (commands, receiver) = channel();
        let (reads, reading) = channel::<Read>();
        let reader = std::thread::Builder::new().name("spool-read".to_owned());
        reader.spawn(move || reading.into_iter().for_each(|read| read()))?;
        let shared = Arc::new(Shared {
            dir,
            max_size: store.settings.max_size,
            usage: Arc::clone(&store.usage),
            lock: store.lock.clone(),
            commands: Mutex::new(commands),
            reads,
            found,
            start: Instant::now(),
            beat: AtomicU64::new(0),
            thread: Mutex::default(),
        });
        let writer = Writer {
            told: store.corrupt(),
            store,
            receiver,
            watcher,
            shared: Arc::clone(&shared),
            next_tick: Instant::now() + TICK,
            failing: None,
        };
        let thread = std::thread::Builder::new().name("spool".to_owned());
        let thread = thread.spawn(move || writer.run())?;
        *shared.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Spool(shared))
    }
}

impl Spool {
    /// Takes the directory and recovers what is in it.
    ///
    /// # Errors
    /// When the directory can't be used or is in use, or a later release wrote what is in it.
    pub fn open(settings: &Settings) -> Result<Opened, OpenError> {
        Self::open_on(Arc::new(RealDisk), settings)
    }

    /// The same on this disk. The lock is a file of the machine's.
    pub(crate) fn open_on(disk: Arc<dyn Disk>, settings: &Settings) -> Result<Opened, OpenError> {
        // Relative to where the process was started: every message says where that is.
        let dir = std::path::absolute(&settings.dir);
        let settings = &Settings {
            dir: dir.map_err(|error| OpenError::io(&settings.dir, error))?,
            ..settings.clone()
        };
        let lock = Lock::take(&settings.dir)?;
        let salt = fastrand::u64(..);
        let (mut store, found) = Store::open(disk, settings, Sizes::USUAL, salt)?;
        store.lock = Some(Arc::new(lock));
        Ok(Opened {
            dir: settings.dir.clone(),
            store,
            found,
        })
    }

    /// What was found on disk at the start.
    pub fn found(&self) -> &[Found] {
        &self.0.found
    }

    /// What all queues may take up on disk together, in bytes. One queue may hold half of it.
    pub fn max_size(&self) -> u64 {
        self.0.max_size
    }

    /// The queue of this name, which is made if there is none.
    ///
    /// # Errors
    /// When the spool is closed.
    pub fn queue(&self, name: &Name) -> io::Result<Arc<Queue>> {
        let (opened, queue) = sync_channel(1);
        let name = name.clone();
        let _ = self.send(Command::Open { name, opened });
        queue
            .recv()
            .map_err(|_| io::Error::other("the spool is closed"))
    }

    /// Appends a batch to one of its queues. `done` is called on the writer's thread once it is on
    /// disk, synced, or refused.
    pub fn append(
        &self,
        queue: &Arc<Queue>,
        batch: Batch,
        done: impl FnOnce(Appended) + Send + 'static,
    ) {
        let (queue, done) = (Arc::clone(queue), Box::new(done));
        let sent = self.send(Command::Append { queue, batch, done });
        if let Err(unsent) = sent
            && let Command::Append { batch, done, .. } = unsent.0
        {
            done(Appended {
                upto: batch.records.first().map_or(0, |record| record.number),
                refusal: Some(Refusal::Disk("the spool is closed".to_owned())),
            });
        }
    }

    /// Asks whether a record of so many bytes would be refused now. `told` is called on the writer's thread; not at all
    /// once the spool is closed.
    pub fn ask(
        &self,
        queue: &Arc<Queue>,
        bytes: u64,
        told: impl FnOnce(Option<Refusal>) + Send + 'static,
    ) {
        let (queue, told) = (Arc::clone(queue), Box::new(told));
        let _ = self.send(Command::Ask { queue, bytes, told });
    }

    /// Does this on the one thread that reads for all queues, and waits for the disk so that no lane has to.
    pub fn read_on_thread(&self, read: impl FnOnce() + Send + 'static) {
        let sent = self.0.reads.send(Box::new(read));
        sent.expect("the thread reads for as long as the spool lives");
    }

    /// Keeps a dead letter that no destination takes, as a file of this name, whole and synced.
    ///
    /// # Errors
    /// When there is no room for it, or the disk fails.
    pub fn keep_dead_letter(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        if let Some(lock) = &self.0.lock {
            lock.check_in_place()?;
        }
        self.0.usage.put(DEAD_LETTERS, name, bytes)
    }

    /// Returns true if the writer answered lately.
    ///
    /// The reading thread is left out on purpose. While it waits for the disk, lanes without a backlog still publish, and
    /// the writer still spools what is for the others, so webhooks are answered. A restart would end that and help nobody:
    /// recovery reads the same segments before the bridge serves. If the disk takes no writes either, the writer is silent.
    pub fn lives(&self) -> bool {
        let beat = Duration::from_millis(self.0.beat.load(Ordering::Relaxed));
        self.0.start.elapsed().saturating_sub(beat) < SILENCE
    }

    fn send(&self, command: Command) -> Result<(), SendError<Command>> {
        let commands = self.0.commands.lock();
        commands
            .unwrap_or_else(PoisonError::into_inner)
            .send(command)
    }

    /// Writes the marks, removes what is empty, and ends the writer.
    pub fn close(&self) {
        let sent = self.send(Command::Close);
        let thread = self
            .0
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Ok(()), Some(thread)) = (sent, thread) {
            // A panic of the writer ends the process.
            let _ = thread.join();
        }
    }
}

struct Writer {
    store: Store,
    receiver: Receiver<Command>,
    watcher: Arc<dyn Watcher>,
    shared: Arc<Shared>,
    next_tick: Instant,
    /// Why the marks could not be written the last time, as the log says it.
    failing: Option<String>,
    /// How many corrupt places the watcher knows of.
    told: u64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let wait = self.next_tick.saturating_duration_since(Instant::now());
            let mut batches = Vec::new();
            let mut dones = Vec::new();
            let mut closing = false;
            let mut next = match self.receiver.recv_timeout(wait) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Command::Close),
            };
            while let Some(command) = next {
                match command {
                    Command::Open { name, opened } => {
                        // Who does not wait for it any more needs none.
                        let _ = opened.send(self.store.queue(&name).1);
                    }
                    Command::Append { queue, batch, done } => {
                        let (place, _) = self.store.queue(queue.name());
                        batches.push((place, batch));
                        dones.push(done);
                    }
                    Command::Ask { queue, bytes, told } => {
                        let (place, _) = self.store.queue(queue.name());
                        told(self.store.refuses(Instant::now(), place, bytes));
                    }
                    Command::Close => closing = true,
                }
                next = self.receiver.try_recv().ok();
            }
            self.append(batches, dones);
            let now = Instant::now();
            if closing || now >= self.next_tick {
                self.tick(closing);
                self.next_tick = now + TICK;
            }
            self.beat();
            if closing {
                return;
            }
        }
    }

    fn append(&mut self, mut batches: Vec<(usize, Batch)>, dones: Vec<Done>) {
        if batches.is_empty() {
            return;
        }
        let began = Instant::now();
        let outcomes = self.store.append(began, &mut batches);
        self.watcher.synced(began.elapsed());
        for ((upto, refusal), done) in outcomes.into_iter().zip(dones) {
            done(Appended { upto, refusal });
        }
    }

    fn tick(&mut self, closing: bool) {
        let outcome = self.store.tick(closing);
        let corrupt = self.store.corrupt();
        if corrupt > self.told {
            self.watcher.corrupt(corrupt - self.told);
            self.told = corrupt;
        }
        let reason = outcome.err().map(|error| error.to_string());
        if reason == self.failing {
            return;
        }
        match &reason {
            None => {
                tracing::info!(dir = %self.shared.dir.display(), "the spool's marks can be written again");
            }
            Some(error) => tracing::warn!(
                dir = %self.shared.dir.display(),
                %error,
                "the spool's marks can't be written: after a crash, events would be published again"
            ),
        }
        self.failing = reason;
    }

    fn beat(&self) {
        let since = self.shared.start.elapsed().as_millis();
        self.shared
            .beat
            .store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
