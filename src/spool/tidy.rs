//! Segments come and go: a new one is begun, and what the marks make needless is removed.

use std::io;
use std::path::Path;

use super::disk::{Disk, is_no_file};
use super::error::at;
use super::format::{HEADER, Header, segment_salt};
use super::names::{Name, segment_name};
use super::owned::Active;
use super::queue::View;
use super::recovery::{clear, set_aside, whole};
use super::store::Store;
use super::usage::Usage;

impl Store {
    /// Closes the active segment, synced, and begins another at this number.
    pub(super) fn begin_segment(&mut self, place: usize, first: u64) -> io::Result<()> {
        let (disk, root) = (&*self.disk, &self.dir);
        let owned = &mut self.queues[place];
        let salt = segment_salt(owned.salt, first);
        owned.sync(disk)?;
        owned.seal();
        if !owned.exists || disk.list(&owned.dir).is_err() {
            disk.create_dir(&owned.dir)?;
            disk.sync_dir(root).map_err(|error| at(root, error))?;
            owned.exists = true;
            owned.mark_file = None;
        }
        if !owned.has_mark(disk) {
            // Before the disk is full: marks are what makes room on it.
            let mark = owned.queue.marked().min(owned.next);
            owned.write_mark(disk, mark)?;
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
            // One that was given up before it held anything, and could not be unlinked then; or one of which nothing
            // could be read at the start.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_unused = match disk.open(&path) {
                    Err(error) if is_no_file(&error) => Ok(false),
                    opened => opened.and_then(|file| Ok(Header::is_unused(&whole(&*file)?))),
                };
                match is_unused.map_err(|error| at(&path, error))? {
                    true => disk.remove(&path).map_err(|error| at(&path, error))?,
                    false => {
                        let directory = owned.queue.name().directory();
                        drop(self.usage.move_aside(&path, &directory, salt, first)?);
                    }
                }
                disk.create(&path)
            }
            made => made,
        };
        let file = file.map_err(|error| at(&path, error))?;
        let header = Header {
            salt,
            first,
            name: owned.queue.name().as_str().to_owned(),
        };
        let made = (|| {
            file.write_at(&header.write(), 0)?;
            file.sync()?;
            disk.sync_dir(&owned.dir)?;
            file.identity()
        })();
        let identity = made.map_err(|error| {
            // It holds nothing; what can't be removed is removed by the next start.
            let _ = disk.remove(&path);
            at(&path, error)
        })?;
        owned.queue.index().push_back(View {
            first,
            salt,
            start: HEADER as u64,
            end: HEADER as u64,
            next: first,
            corrupt: false,
            missing: false,
        });
        owned.active = Some(Active {
            path,
            identity,
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
        // Nothing may be removed from a directory that is not this spool's.
        self.check_in_place()?;
        let mut outcome = Ok(());
        for place in 0..self.queues.len() {
            self.corrupt += self.queues[place].queue.take_corrupt();
            self.give_up_missing(place);
            let tidied = self.tidy(place, all);
            outcome = outcome.and(tidied.map_err(|error| at(&self.queues[place].dir, error)));
        }
        outcome
    }

    /// A reader found no file for some segment. If there is none while the spool's directory is there, nobody will
    /// bring it back: what it held is lost, and the reader goes on behind it.
    fn give_up_missing(&mut self, place: usize) {
        let owned = &self.queues[place];
        let mut index = owned.queue.index();
        for view in index.iter_mut().filter(|view| view.missing) {
            view.missing = false;
            let path = owned.dir.join(segment_name(view.first));
            let is_gone = self.disk.open(&path);
            let is_gone = is_gone.is_err_and(|error| is_no_file(&error));
            if is_gone && view.end > view.start {
                self.corrupt += 1;
                view.end = view.start;
                tracing::error!(
                    segment = %path.display(),
                    "somebody removed or replaced this segment of the spool: the events in it that were not read yet are lost"
                );
            }
        }
    }

    /// Whether there is anything on disk.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(|owned| !owned.exists)
    }

    fn tidy(&mut self, place: usize, all: bool) -> io::Result<()> {
        let (disk, root, usage) = (&*self.disk, &self.dir, &*self.usage);
        let owned = &mut self.queues[place];
        if !owned.exists {
            return Ok(());
        }
        let lately = std::mem::take(&mut owned.appended_lately) && !all;
        let mark = owned.queue.marked().min(owned.next);
        let is_done = mark >= owned.next && !lately;
        let has_mark = is_done || owned.has_mark(disk);
        if !has_mark && owned.mark_file.is_some() {
            tracing::warn!(
                mark = %owned.dir.join(super::mark::FILE).display(),
                "somebody removed or replaced this mark of the spool: it is written anew"
            );
        }
        if mark > owned.persisted || !has_mark {
            owned.write_mark(disk, mark)?;
        }
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
            let path = &owned.sealed[0].0;
            let oldest = owned.queue.index().front().copied();
            if let Some(view) = oldest.filter(|view| view.corrupt) {
                keep_copy(disk, usage, owned.queue.name(), &view, path);
            }
            match disk.remove(path) {
                // Somebody else removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|error| at(path, error))?,
            }
            owned.sealed.pop_front();
            owned.queue.index().pop_front();
            owned.count();
            unlinked = true;
        }
        if is_done {
            // Not before: to make another mark while segments are there would risk the one that is whole.
            clear(disk, root, &owned.dir)?;
            owned.mark_file = None;
            owned.exists = false;
            owned.persisted = 0;
        } else if unlinked {
            disk.sync_dir(&owned.dir)?;
        }
        if all && let Some(mark_file) = &owned.mark_file {
            mark_file.sync()?;
        }
        Ok(())
    }
}

/// Something in a segment was corrupt when it was read: a copy is kept when the segment goes.
fn keep_copy(disk: &dyn Disk, usage: &Usage, name: &Name, view: &View, path: &Path) {
    let Ok(bytes) = disk.open(path).and_then(|file| whole(&*file)) else {
        return;
    };
    let header = Header {
        salt: view.salt,
        first: view.first,
        name: name.as_str().to_owned(),
    };
    // Its reader told how many events are missing.
    set_aside(usage, &header, path, &bytes, None);
}
