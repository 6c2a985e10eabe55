//! A lane's way back from the spool: what is read again, how much at a time, and how a backlog ends.

use std::time::Instant;

use super::connection::Pace;
use super::entry::{Entry, InSpool};
use super::line::Search;
use super::{Lane, Loaded, Notice, Steps, taken};

/// How much is read back at once, in bytes, and how much there has to be room for: a broker takes few large
/// batches more easily than many small ones.
const LOAD: usize = 1024 * 1024;
/// What the line may hold, in bytes of memory, for more to be read back: enough for a broker to be
/// busy, so that a long backlog costs no more than that.
const AHEAD: usize = 4 * 1024 * 1024;
/// How much is read back at least, however full the broker's window is, so that each lane gets on.
const LEAST: usize = 64 * 1024;

impl<T> Lane<T> {
    /// What was read back, since [`Steps::load`] asked for it. [`Self::advance`] hands it over.
    pub fn loaded(&mut self, now: Instant, loaded: Loaded, steps: &mut Steps<T>) {
        for (number, event, before) in loaded.events {
            let mut entry = Entry::new(now, event, None);
            entry.before = before;
            entry.in_spool = InSpool::Yes(number);
            self.line.push(entry);
        }
        self.numbers.loaded(loaded.through);
        if loaded.lost > 0 {
            steps.notices.push(Notice::Lost(loaded.lost));
        }
    }

    /// How many bytes to read back now, if any.
    pub(super) fn load(&mut self, room: usize) -> Option<usize> {
        if self.on_disk() == 0 || self.stopping.is_some() {
            return None;
        }
        let pace = self.connection.pace()?;
        let all_is_reported =
            self.line.find(Search::Waiting).is_none() && self.line.totals().in_flight == 0;
        // An event takes up about twice as much in memory as on disk.
        let ahead = self.bounds.window.min(AHEAD);
        let of_lane = ahead.saturating_sub(self.size()) / 2;
        // What waits for the dead letters may take up more than that, within the windows of the lane and
        // of the broker, so that it holds up nothing behind it.
        let is_bounded = self.size() < ahead || room > 0 && self.size() < self.bounds.window;
        let room = (room / 2).min(of_lane).min(LOAD);
        match pace {
            // However full the broker's window is, each lane gets on.
            _ if all_is_reported && is_bounded => Some(room.max(LEAST)),
            Pace::Steady if room >= LOAD.min(ahead / 4) => Some(room),
            _ => None,
        }
    }

    /// Nothing is on disk alone any more: arrivals stand right behind the line, and go into it as
    /// far as there is room. This is how a lane leaves its backlog behind while events go on coming.
    pub(super) fn close_the_gap(&mut self, now: Instant, room: usize, steps: &mut Steps<T>) {
        if self.on_disk() > 0
            || !self.connection.is_up()
            || self.stopping.is_some()
            || self.outage(now).is_some()
        {
            return;
        }
        let mut room = room.min(self.bounds.window.saturating_sub(self.size()));
        while let Some(entry) = self.arrivals.pop_if(|entry| entry.size <= room) {
            room -= entry.size;
            steps.notices.push(taken(&entry.event));
            self.line.push(entry);
        }
    }
}
