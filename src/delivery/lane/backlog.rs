//! A lane's way back from the spool: what is read again, how much at a time, and how a backlog ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::{Entry, Kept};
use super::{Lane, Notice, Pace, Steps, taken};
use crate::envelope::Event;

/// How much is read back at once, in bytes, and how much there has to be room for: a broker takes few large
/// batches more easily than many small ones.
const LOAD: usize = 1024 * 1024;
/// What the line may hold, in bytes of memory, for more to be read back: enough for a broker to be
/// busy, so that a long backlog costs no more than that.
const AHEAD: usize = 4 * 1024 * 1024;
/// How much is read back at least, however full the broker's window is, so that each lane gets on.
const LEAST: usize = 64 * 1024;

/// What was read back.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Numbers and events, in order, and how long ago each was received.
    pub events: Vec<(u64, Arc<Event>, Duration)>,
    /// Records that could not be read.
    pub lost: u64,
    /// Every record below is among them, or lost.
    pub through: u64,
}

impl<T> Lane<T> {
    /// What was read back, since [`Steps::load`] asked for it.
    pub fn loaded(&mut self, now: Instant, loaded: Loaded, steps: &mut Steps<T>) {
        for (number, event, before) in loaded.events {
            let mut entry = Entry::new(now, event, None);
            entry.before = before;
            entry.kept = Kept::Yes(number);
            // It was counted when it came.
            self.pending -= 1;
            self.join(entry);
        }
        self.spooling.loaded = loaded.through;
        if loaded.lost > 0 {
            self.pending = self
                .pending
                .saturating_sub(usize::try_from(loaded.lost).unwrap_or(usize::MAX));
            self.spooling.kept = self.spooling.kept.saturating_sub(loaded.lost);
            steps.notices.push(Notice::Lost(loaded.lost));
        }
    }

    /// How many bytes to read back now, if any.
    pub(super) fn load(&self, room: usize) -> Option<usize> {
        if self.spooling.on_disk() == 0 || self.up != Some(true) || self.stopping.is_some() {
            return None;
        }
        let all_handed_over = self.next.max(self.first) >= self.end();
        // An event takes up about twice as much in memory as on disk.
        let ahead = self.bounds.window.min(AHEAD);
        let of_lane = ahead.saturating_sub(self.size) / 2;
        // What waits for the dead letters may take up more than that, within the windows of the lane and
        // of the broker, so that it holds up nothing behind it.
        let is_bounded = self.size < ahead || room > 0 && self.size < self.bounds.window;
        let room = (room / 2).min(of_lane).min(LOAD);
        match self.pace {
            // However full the broker's window is, each lane gets on.
            _ if all_handed_over && self.outstanding == 0 && is_bounded => Some(room.max(LEAST)),
            Pace::Flowing if room >= LOAD.min(ahead / 4) => Some(room),
            _ => None,
        }
    }

    /// Nothing is on disk alone any more: arrivals stand right behind the line, and go into it as
    /// far as there is room. This is how a lane leaves its backlog behind while events go on coming.
    pub(super) fn close_the_gap(&mut self, now: Instant, room: usize, steps: &mut Steps<T>) {
        if self.spooling.on_disk() > 0
            || self.spooling.arrivals.is_empty()
            || self.up != Some(true)
            || self.stopping.is_some()
            || self.outage(now).is_some()
        {
            return;
        }
        let mut room = room.min(self.bounds.window.saturating_sub(self.size));
        while let Some(size) = self.spooling.arrivals.front().map(|entry| entry.size)
            && size <= room
        {
            let entry = self.spooling.next_arrival().expect("it was just seen");
            room -= size;
            if let Some(number) = entry.kept.number() {
                self.spooling.loaded = number + 1;
            }
            steps.notices.push(taken(entry.event()));
            self.join(entry);
        }
    }
}
