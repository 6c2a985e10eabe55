//! All queues of one directory, as their one writer knows them: without a thread, so that tests can
//! go through it step by step.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::batch::Batch;
use super::disk::{Disk, create_synced};
use super::error::{OpenError, Refusal, at};
use super::format::{HEADER, seal_record, splitmix};
use super::lock::Lock;
use super::names::{Name, is_queue, segment_name, segments};
use super::owned::Owned;
use super::queue::Queue;
use super::recovery::{Recovered, Recovery};
use super::settings::Settings;
use super::usage::Usage;

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
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) settings: Settings,
    pub(super) sizes: Sizes,
    pub(super) queues: Vec<Owned>,
    pub(super) salt: u64,
    pub(super) corrupt: u64,
    pub(super) usage: Arc<Usage>,
    /// None in tests, whose disk is in memory.
    pub(super) lock: Option<Arc<Lock>>,
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
        create_synced(&*disk, &dir).map_err(|error| OpenError::io(&dir, error))?;
        let usage = Usage::new(Arc::clone(&disk), dir.clone(), settings.max_size);
        let mut store = Store {
            disk,
            dir,
            settings: settings.clone(),
            sizes,
            queues: Vec::new(),
            salt,
            corrupt: 0,
            usage,
            lock: None,
        };
        let mut found: Vec<Found> = Vec::new();
        for recovered in store.recover()? {
            found.push(store.adopt(recovered));
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((store, found))
    }

    /// Reads what is there.
    fn recover(&mut self) -> Result<Vec<Recovered>, OpenError> {
        let names = self.disk.list(&self.dir);
        let mut names = names.map_err(|error| OpenError::io(&self.dir, error))?;
        names.retain(|name| is_queue(name));
        self.sync_entries(&names)?;
        // What is set aside must leave room for all that is there.
        let there = names.iter().map(|name| self.length_of(name)).sum();
        self.usage.changed(0, there);
        let mut recovery = Recovery {
            disk: &*self.disk,
            root: &self.dir,
            usage: &self.usage,
            corrupt: 0,
        };
        let mut recovered = Vec::new();
        for name in names {
            recovered.extend(recovery.queue(&name)?);
        }
        self.corrupt = recovery.corrupt;
        self.usage.changed(there, 0);
        Ok(recovered)
    }

    /// Syncs the entries of the queues, and of what is in them. The process before may have made them and failed to: what
    /// is appended to them from now on would be gone with them after a loss of power.
    fn sync_entries(&self, names: &[String]) -> Result<(), OpenError> {
        if names.is_empty() {
            return Ok(());
        }
        let queues = names.iter().map(|name| self.dir.join(name));
        for dir in queues.chain([self.dir.clone()]) {
            match self.disk.sync_dir(&dir) {
                // Something else has the name of a queue.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                synced => synced.map_err(|error| OpenError::io(&dir, error))?,
            }
        }
        Ok(())
    }

    /// The bytes of a queue's segments. What can't be asked counts as nothing.
    fn length_of(&self, name: &str) -> u64 {
        let dir = self.dir.join(name);
        let names = self.disk.list(&dir).unwrap_or_default();
        let segments = segments(&names, &dir).into_iter();
        segments
            .map(|(_, path)| self.disk.length(&path).unwrap_or(0))
            .sum()
    }

    /// Whether the spool's directory still has its name.
    ///
    /// # Errors
    /// When it has not.
    pub(super) fn check_in_place(&self) -> io::Result<()> {
        self.lock
            .as_ref()
            .map_or(Ok(()), |lock| lock.check_in_place())
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
        let salt = recovered.salt.unwrap_or_else(|| self.new_salt());
        let queue = self.new_queue(recovered.name.clone(), mark, recovered.dir.clone());
        queue.occupies(recovered.bytes);
        let sealed = recovered.views.iter().map(|view| {
            let path = recovered.dir.join(segment_name(view.first));
            (path, view.end)
        });
        self.queues.push(Owned {
            sealed: sealed.collect(),
            exists: true,
            mark_file: recovered.mark_file,
            persisted: recovered.mark,
            next,
            ..Owned::new(Arc::clone(&queue), recovered.dir, salt)
        });
        *queue.index() = recovered.views.into();
        Found {
            name: recovered.name,
            first: mark,
            next,
            oldest: recovered.oldest,
        }
    }

    fn new_salt(&mut self) -> u64 {
        self.salt = splitmix(self.salt);
        self.salt
    }

    fn new_queue(&self, name: Name, mark: u64, dir: PathBuf) -> Arc<Queue> {
        Queue::new(
            name,
            mark,
            Arc::clone(&self.disk),
            dir,
            Arc::clone(&self.usage),
        )
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
            let dir = self.dir.join(name.directory());
            let queue = self.new_queue(name.clone(), 0, dir.clone());
            let salt = self.new_salt();
            self.queues.push(Owned::new(queue, dir, salt));
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
                let in_place = self
                    .lock
                    .as_ref()
                    .map_or(Ok(()), |lock| lock.check_in_place());
                let synced = in_place.and_then(|()| owned.sync(&*self.disk));
                let refusal = match synced {
                    Ok(()) => refusal,
                    Err(error) => Some(owned.failed(&*self.disk, now, error)),
                };
                let first = batch.records.first().map_or(0, |record| record.number);
                let upto = owned.queue.index().back().map_or(0, |view| view.next);
                owned.next = owned.next.max(upto);
                (upto.max(first), refusal)
            })
            .collect()
    }

    /// Why a record of so many bytes would not be appended to this queue now, if so. After a failure of the disk, it is
    /// tried by a segment that has room for one.
    pub fn refuses(&mut self, now: Instant, place: usize, bytes: u64) -> Option<Refusal> {
        let has_failed = match &self.queues[place].rests {
            Some((until, refusal)) if now < *until => return Some(refusal.clone()),
            rests => rests.is_some(),
        };
        if let Err(error) = self.check_in_place() {
            return Some(Refusal::Disk(error.to_string()));
        }
        match self.has_room(place, bytes, has_failed) {
            Ok(refusal) => {
                self.queues[place].rests = None;
                refusal
            }
            Err(error) => Some(self.queues[place].failed(&*self.disk, now, error)),
        }
    }

    fn has_room(&mut self, place: usize, bytes: u64, try_it: bool) -> io::Result<Option<Refusal>> {
        const BEGIN: u64 = HEADER as u64;
        let active = self.queues[place].active.as_ref();
        let needed = match active.filter(|_| self.fits(place, bytes)) {
            Some(active) => (active.written + bytes).saturating_sub(active.allocated),
            None => BEGIN + bytes,
        };
        if needed > 0
            && let Err(full) = self.allowance(place, needed)?
        {
            return Ok(Some(full));
        }
        if try_it && self.queues[place].active.is_none() {
            self.begin_segment(place, self.queues[place].next)?;
            self.queues[place].grow(BEGIN, BEGIN + bytes)?;
        }
        Ok(None)
    }

    /// Writes a batch and syncs nothing but what is closed with it.
    fn write(&mut self, now: Instant, place: usize, batch: &mut Batch) -> Option<Refusal> {
        if let Some((until, refusal)) = &self.queues[place].rests
            && now < *until
        {
            return Some(refusal.clone());
        }
        if let Err(error) = self.check_in_place() {
            // Nothing may be made or removed in a directory that is not this spool's.
            return Some(Refusal::Disk(error.to_string()));
        }
        let mut from = 0;
        while from < batch.records.len() {
            match self.write_some(place, batch, from) {
                Ok(Ok(written)) => from += written,
                Ok(Err(full)) => return Some(full),
                Err(error) => return Some(self.queues[place].failed(&*self.disk, now, error)),
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
        if let Some(active) = &self.queues[place].active {
            // What is written behind a place that was cut off can't be read back.
            active.check(&*self.disk)?;
        }
        let start = batch.records[from].start as u64;
        let length = |upto: usize| batch.records[upto].end() as u64 - start;
        if !self.fits(place, length(from)) {
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

    /// Whether a record of so many bytes belongs into the active segment.
    fn fits(&self, place: usize, bytes: u64) -> bool {
        let active = self.queues[place].active.as_ref();
        active.is_some_and(|active| {
            active.written + bytes <= self.sizes.segment || active.written == HEADER as u64
        })
    }

    /// How many more bytes a queue may take up, if it is as many as it needs.
    fn allowance(&self, place: usize, needed: u64) -> io::Result<Result<u64, Refusal>> {
        let (settings, owned) = (&self.settings, &self.queues[place]);
        let of_all = self.usage.room(needed);
        let of_one = (settings.max_size / 2).saturating_sub(owned.queue.bytes());
        let space = self.disk.space(&self.dir);
        let space = space.map_err(|error| at(&self.dir, error))?;
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
            Err(Refusal::Full(
                "spool.max_size is reached, with what is in quarantine and dead-letters".to_owned(),
            ))
        })
    }
}
