//! All queues of one directory, as their one writer knows them: without a thread, so that tests can
//! go through it step by step.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::disk::{Disk, DiskFile};
use super::format::{HEADER, Header, seal_record};
use super::mark::{self, MarkFile};
use super::queue::{Name, Queue, View};
use super::recovery::{Recovered, SUFFIX, clear, recover};
use super::settings::Settings;

/// How the disk is used, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Of a segment; a record that is larger has one of its own.
    pub segment: u64,
    /// How far zeros are written ahead.
    pub ahead: u64,
}

impl Sizes {
    /// What the bridge works with. Segments that are small are unlinked early; zeros that reach far
    /// spare a sync the length.
    pub const USUAL: Sizes = Sizes {
        segment: 16 * 1024 * 1024,
        ahead: 1024 * 1024,
    };
}

/// How long a queue rests after the disk failed, so that a sick disk is not worked to death.
const REST: Duration = Duration::from_secs(1);

/// Why a spool can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory or a file can't be had.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{}: {}", dir.display(), in_use(*by))]
    InUse {
        /// The directory of the spool.
        dir: PathBuf,
        /// The other process, if it told.
        by: Option<u32>,
    },
    /// Another user has it.
    #[error("{}: belongs to another user (uid {owner}; this process has uid {us})", path.display())]
    Owner {
        /// The directory or file.
        path: PathBuf,
        /// That user.
        owner: u32,
        /// The user of this process.
        us: u32,
    },
    /// A later release wrote it.
    #[error("{}: written by a later release, in version {version} of the format; this one reads up to 1", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

fn in_use(by: Option<u32>) -> String {
    match by {
        Some(pid) => format!("in use by another process ({pid})"),
        None => "in use by another process".to_owned(),
    }
}

impl OpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let is_denied = source.kind() == io::ErrorKind::PermissionDenied;
        // What can't be asked, or is not there, is in the hands of the directory above.
        let mut there = path.ancestors().filter_map(|path| path.metadata().ok());
        let refusal = there
            .next()
            .filter(|_| is_denied)
            .and_then(|about| OpenError::owner(path, &about));
        refusal.unwrap_or_else(|| OpenError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// The refusal, if what this is about is another user's.
    pub(super) fn owner(path: &Path, about: &Metadata) -> Option<Self> {
        let (owner, us) = (about.uid(), rustix::process::geteuid().as_raw());
        (owner != us).then(|| OpenError::Owner {
            path: path.to_owned(),
            owner,
            us,
        })
    }
}

/// Why records were not appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room for more.
    Full(String),
    /// The disk fails.
    Disk(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Full(why) => write!(f, "the spool is full: {why}"),
            Refusal::Disk(why) => write!(f, "the spool's disk fails: {why}"),
        }
    }
}

/// A queue that was found on disk.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: Name,
    /// The number of the first record that is not done.
    pub first: u64,
    /// The number behind the last record: where whoever appends to this queue has to go on, also
    /// when all is done.
    pub next: u64,
    /// When the first event that is not done was received, in microseconds since 1970.
    pub oldest: Option<u64>,
}

/// See the module.
pub struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    settings: Settings,
    sizes: Sizes,
    queues: Vec<Owned>,
    salt: u64,
    corrupt: u64,
}

/// A queue with what is needed to write to it.
struct Owned {
    queue: Arc<Queue>,
    dir: PathBuf,
    /// Its directory is there.
    exists: bool,
    active: Option<Active>,
    /// What the segments before the active one take up, in bytes.
    sealed: VecDeque<(PathBuf, u64)>,
    mark_file: Option<MarkFile>,
    /// The mark that is on disk.
    persisted: u64,
    /// All that was appended, synced or not, is below this number.
    next: u64,
    /// Until then what failed is not tried again.
    rests: Option<(Instant, Refusal)>,
    appended_lately: bool,
}

/// The segment that is written to.
struct Active {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    salt: u64,
    synced: u64,
    written: u64,
    allocated: u64,
    synced_next: u64,
    written_next: u64,
}

impl Store {
    /// Opens the spool and recovers what is in it. What was found is given besides.
    ///
    /// # Errors
    /// When the directory can't be used, or a later release wrote what is in it. What is corrupt is no error.
    pub fn open(
        disk: Arc<dyn Disk>,
        settings: &Settings,
        sizes: Sizes,
        salt: u64,
    ) -> Result<(Self, Vec<Found>), OpenError> {
        let dir = settings.dir.clone();
        disk.create_dir(&dir)
            .map_err(|error| OpenError::io(&dir, error))?;
        let mut store = Store {
            disk,
            dir,
            settings: settings.clone(),
            sizes,
            queues: Vec::new(),
            salt,
            corrupt: 0,
        };
        let mut found = Vec::new();
        let listed = store.disk.list(&store.dir);
        for name in listed.map_err(|error| OpenError::io(&store.dir, error))? {
            let path = store.dir.join(&name);
            let is_queue = store.disk.list(&path).is_ok()
                && ![super::recovery::QUARANTINE, "dead-letters"].contains(&name.as_str());
            if is_queue {
                let (recovered, corrupt) = recover(&*store.disk, &store.dir, path)?;
                store.corrupt += corrupt;
                found.extend(recovered.map(|recovered| store.adopt(recovered)));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((store, found))
    }

    /// A queue that was recovered. Gives what is left in it, which may be nothing.
    fn adopt(&mut self, recovered: Recovered) -> Found {
        let first = recovered.views.first().map_or(0, |view| view.first);
        let next = recovered
            .views
            .last()
            .map_or(0, |view| view.next)
            .max(recovered.mark);
        let mark = recovered.mark.max(first);
        let queue = Queue::new(recovered.name.clone(), mark);
        queue.occupies(recovered.bytes);
        let sealed = recovered.views.iter().map(|view| {
            let path = recovered.dir.join(segment_name(view.first));
            (path, view.end)
        });
        self.queues.push(Owned {
            sealed: sealed.collect(),
            queue: Arc::clone(&queue),
            dir: recovered.dir,
            exists: true,
            active: None,
            mark_file: recovered.mark_file,
            persisted: recovered.mark,
            next,
            rests: None,
            appended_lately: false,
        });
        *queue.index() = recovered.views.into();
        Found {
            name: recovered.name,
            first: mark,
            next,
            oldest: recovered.oldest,
        }
    }

    /// How many corrupt places were found so far.
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// The place of a queue, which is made if there is none of this name, and the queue itself.
    pub fn queue(&mut self, name: &Name) -> (usize, Arc<Queue>) {
        let known = self
            .queues
            .iter()
            .position(|owned| owned.queue.name() == name);
        let place = known.unwrap_or_else(|| {
            self.queues.push(Owned {
                queue: Queue::new(name.clone(), 0),
                dir: self.dir.join(name.directory()),
                exists: false,
                active: None,
                sealed: VecDeque::new(),
                mark_file: None,
                persisted: 0,
                next: 0,
                rests: None,
                appended_lately: false,
            });
            self.queues.len() - 1
        });
        (place, Arc::clone(&self.queues[place].queue))
    }

    /// The queues that have something on disk.
    pub fn kept(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues
            .iter()
            .filter(|owned| owned.exists)
            .map(|owned| &owned.queue)
    }

    /// Appends a batch for each of these queues, and syncs each once. Gives for each, in their
    /// order, the number below which all is on disk now, and why the rest is not.
    pub fn append(
        &mut self,
        now: Instant,
        batches: &mut [(usize, Batch)],
    ) -> Vec<(u64, Option<Refusal>)> {
        let mut refusals: Vec<Option<Refusal>> = Vec::new();
        for (place, batch) in batches.iter_mut() {
            let refusal = self.write(now, *place, batch);
            refusals.push(refusal);
        }
        let synced = batches.iter().zip(refusals);
        synced
            .map(|((place, batch), refusal)| {
                let owned = &mut self.queues[*place];
                let synced = owned.sync();
                let refusal = match synced {
                    Ok(()) => refusal,
                    Err(error) => Some(owned.failed(&*self.disk, now, &error)),
                };
                let first = batch.records.first().map_or(0, |record| record.number);
                let upto = owned.queue.index().back().map_or(0, |view| view.next);
                owned.next = owned.next.max(upto);
                (upto.max(first), refusal)
            })
            .collect()
    }

    /// Writes a batch and syncs nothing but what is closed with it.
    fn write(&mut self, now: Instant, place: usize, batch: &mut Batch) -> Option<Refusal> {
        if let Some((until, refusal)) = &self.queues[place].rests
            && now < *until
        {
            return Some(refusal.clone());
        }
        let mut from = 0;
        while from < batch.records.len() {
            match self.write_some(place, batch, from) {
                Ok(Ok(written)) => from += written,
                Ok(Err(full)) => return Some(full),
                Err(error) => return Some(self.queues[place].failed(&*self.disk, now, &error)),
            }
        }
        None
    }

    /// Writes as many records from this one on as the active segment takes. Gives how many.
    fn write_some(
        &mut self,
        place: usize,
        batch: &mut Batch,
        from: usize,
    ) -> io::Result<Result<usize, Refusal>> {
        let start = batch.records[from].start as u64;
        let length = |upto: usize| batch.records[upto].end() as u64 - start;
        let active = self.queues[place].active.as_ref();
        let fits = active.is_some_and(|active| {
            active.written + length(from) <= self.sizes.segment || active.written == HEADER as u64
        });
        if !fits {
            if let Err(full) = self.allowance(place, HEADER as u64 + length(from))? {
                return Ok(Err(full));
            }
            self.begin_segment(place, batch.records[from].number)?;
        }
        let active = self.queues[place].active.as_ref().expect("one was begun");
        let Sizes { segment, ahead } = self.sizes;
        let room = segment - active.written.min(segment);
        let mut upto = from;
        while upto + 1 < batch.records.len() && length(upto + 1) <= room {
            upto += 1;
        }
        let (written, allocated) = (active.written, active.allocated);
        let mut end = written + length(upto);
        if end > allocated {
            let allowed =
                match self.allowance(place, (written + length(from)).saturating_sub(allocated))? {
                    Ok(allowed) => allocated + allowed,
                    Err(full) => return Ok(Err(full)),
                };
            while end > allowed && upto > from {
                upto -= 1;
                end = written + length(upto);
            }
            let upto_zeros = end
                .next_multiple_of(ahead)
                .min(segment.max(end))
                .min(allowed.max(end));
            self.queues[place].grow(end, upto_zeros)?;
        }
        let owned = &mut self.queues[place];
        let active = owned.active.as_mut().expect("one was begun");
        for (nth, record) in batch.records[from..=upto].iter().enumerate() {
            let bytes = &mut batch.bytes[record.start..record.end()];
            seal_record(bytes, record.body, active.salt, nth == 0);
        }
        let bytes = &batch.bytes[start as usize..batch.records[upto].end()];
        active.file.write_at(bytes, written)?;
        active.written = end;
        active.written_next = batch.records[upto].number + 1;
        owned.appended_lately = true;
        Ok(Ok(upto + 1 - from))
    }

    /// How many more bytes a queue may take up, if it is as many as it needs.
    fn allowance(&self, place: usize, needed: u64) -> io::Result<Result<u64, Refusal>> {
        let (settings, owned) = (&self.settings, &self.queues[place]);
        let all: u64 = self.queues.iter().map(|owned| owned.queue.bytes()).sum();
        let of_all = settings.max_size.saturating_sub(all);
        let of_one = (settings.max_size / 2).saturating_sub(owned.queue.bytes());
        let space = self.disk.space(&self.dir)?;
        let of_disk = space
            .free
            .saturating_sub(settings.keep_free.of(space.total));
        let allowed = of_all.min(of_one).min(of_disk);
        Ok(if allowed >= needed {
            Ok(allowed)
        } else if allowed == of_disk {
            Err(Refusal::Full(format!(
                "{} bytes of the disk are free, and spool.keep_free keeps {}",
                space.free,
                settings.keep_free.of(space.total)
            )))
        } else if allowed == of_one {
            Err(Refusal::Full(
                "this destination holds half of spool.max_size".to_owned(),
            ))
        } else {
            Err(Refusal::Full("spool.max_size is reached".to_owned()))
        })
    }

    /// Closes the active segment, synced, and begins another at this number.
    fn begin_segment(&mut self, place: usize, first: u64) -> io::Result<()> {
        self.salt = splitmix(self.salt);
        let (disk, salt, root) = (&*self.disk, self.salt, &self.dir);
        let owned = &mut self.queues[place];
        owned.sync()?;
        owned.seal();
        if !owned.exists {
            disk.create_dir(&owned.dir)?;
            disk.sync_dir(root)?;
            owned.exists = true;
        }
        // One that holds nothing is in the way: it was begun at the same number.
        let mut index = owned.queue.index();
        if index.back().is_some_and(|view| view.first == first) {
            index.pop_back();
            owned.sealed.pop_back();
        }
        drop(index);
        let path = owned.dir.join(segment_name(first));
        let file = match disk.create(&path) {
            // One that was given up before it held anything, and could not be unlinked then.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(&path)?;
                disk.create(&path)?
            }
            made => made?,
        };
        let header = Header {
            salt,
            first,
            name: owned.queue.name().as_str().to_owned(),
        };
        let made = (|| {
            file.write_at(&header.write(), 0)?;
            file.sync()?;
            disk.sync_dir(&owned.dir)
        })();
        if let Err(error) = made {
            // It holds nothing; what can't be removed is removed by the next start.
            let _ = disk.remove(&path);
            return Err(error);
        }
        owned.queue.index().push_back(View {
            first,
            file: Arc::clone(&file),
            salt,
            end: HEADER as u64,
            next: first,
        });
        owned.active = Some(Active {
            path,
            file,
            salt,
            synced: HEADER as u64,
            written: HEADER as u64,
            allocated: HEADER as u64,
            synced_next: first,
            written_next: first,
        });
        owned.count();
        Ok(())
    }

    /// What is done from time to time: writes the marks that moved, unlinks what they make
    /// needless, and removes the queues that are empty. With `all`, also those that were not empty a moment ago.
    ///
    /// # Errors
    /// When the disk fails; what is left is done the next time.
    pub fn tick(&mut self, all: bool) -> io::Result<()> {
        let mut outcome = Ok(());
        for place in 0..self.queues.len() {
            outcome = outcome.and(self.tidy(place, all));
        }
        outcome
    }

    /// Whether there is anything on disk.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(|owned| !owned.exists)
    }

    fn tidy(&mut self, place: usize, all: bool) -> io::Result<()> {
        let (disk, root) = (&*self.disk, &self.dir);
        let owned = &mut self.queues[place];
        if !owned.exists {
            return Ok(());
        }
        let lately = std::mem::take(&mut owned.appended_lately) && !all;
        let mark = owned.queue.marked().min(owned.next);
        if mark > owned.persisted {
            match &mut owned.mark_file {
                Some(file) => file.write(mark)?,
                none => {
                    if disk.list(&owned.dir)?.iter().any(|name| name == mark::FILE) {
                        disk.remove(&owned.dir.join(mark::FILE))?;
                    }
                    *none = Some(MarkFile::create(disk, &owned.dir, mark)?);
                }
            }
            owned.persisted = mark;
        }
        let is_done = mark >= owned.next && !lately;
        if is_done {
            owned.seal();
        }
        let mut unlinked = false;
        while !owned.sealed.is_empty()
            && owned
                .queue
                .index()
                .front()
                .is_some_and(|oldest| oldest.next <= mark)
        {
            disk.remove(&owned.sealed[0].0)?;
            owned.sealed.pop_front();
            owned.queue.index().pop_front();
            owned.count();
            unlinked = true;
        }
        if is_done {
            owned.mark_file = None;
            clear(disk, root, &owned.dir)?;
            owned.exists = false;
            owned.persisted = 0;
        } else if unlinked {
            disk.sync_dir(&owned.dir)?;
        }
        Ok(())
    }
}

impl Owned {
    /// Writes zeros up to `ahead`, from where the records will end.
    fn grow(&mut self, end: u64, ahead: u64) -> io::Result<()> {
        let active = self
            .active
            .as_mut()
            .expect("it grows while it is written to");
        if ahead > end {
            let zeros = vec![0; (ahead - end) as usize];
            active.file.write_at(&zeros, end)?;
        }
        active.allocated = ahead.max(end);
        self.count();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(active) = self.active.as_mut() else {
            return Ok(());
        };
        if active.written > active.synced {
            active.file.sync()?;
            active.synced = active.written;
            active.synced_next = active.written_next;
            if let Some(view) = self.queue.index().back_mut() {
                view.end = active.synced;
                view.next = active.synced_next;
            }
        }
        Ok(())
    }

    /// Writes no more to the active segment.
    fn seal(&mut self) {
        if let Some(active) = self.active.take() {
            self.sealed.push_back((active.path, active.allocated));
        }
    }

    /// The disk failed: the segment ends where the last good sync ended. Nobody was told of what is behind it.
    fn failed(&mut self, disk: &dyn Disk, now: Instant, error: &io::Error) -> Refusal {
        if let Some(mut active) = self.active.take() {
            if active.synced == HEADER as u64 {
                // It holds nothing. If it can't be removed now, the segment that takes its number
                // removes it, or the next start.
                let _ = disk.remove(&active.path);
                self.queue.index().pop_back();
            } else {
                if active.file.cut(active.synced).is_ok() {
                    active.allocated = active.synced;
                }
                self.sealed.push_back((active.path, active.allocated));
            }
            self.count();
        }
        let refusal = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Refusal::Full(error.to_string())
            }
            _ => Refusal::Disk(error.to_string()),
        };
        self.rests = Some((now + REST, refusal.clone()));
        refusal
    }

    fn count(&self) {
        let sealed: u64 = self.sealed.iter().map(|(_, bytes)| bytes).sum();
        let active = self.active.as_ref().map_or(0, |active| active.allocated);
        self.queue.occupies(sealed + active);
    }
}

fn segment_name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// A step of the SplitMix64 generator.
fn splitmix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
