//! Segments come and go: a new one is begun, and what the marks make needless is removed.

use std::io;
use std::sync::Arc;

use super::format::{HEADER, Header};
use super::owned::{Active, segment_name};
use super::queue::View;
use super::recovery::clear;
use super::store::Store;

impl Store {
    /// Closes the active segment, synced, and begins another at this number.
    pub(super) fn begin_segment(&mut self, place: usize, first: u64) -> io::Result<()> {
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
        if owned.mark_file.is_none() {
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
            owned.write_mark(disk, mark)?;
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

/// A step of the SplitMix64 generator.
fn splitmix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
