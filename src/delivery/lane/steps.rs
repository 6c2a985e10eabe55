//! What a lane says: how a wait ended, what there is to do, what operators want to see.

use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;
use crate::envelope::{DeadLetterReason, Event};
use crate::publish::{Failure, Handover, Reason};
use crate::spool::Refusal;

/// How the wait for one destination ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The destination has confirmed the event.
    Published,
    /// The spool has the event, synced.
    Spooled,
    /// The destination will never take it; its dead letter is confirmed.
    DeadLettered,
    /// Nothing is promised: the event may still be published.
    Unavailable,
    /// The bridge is stopping and took nothing.
    Stopping,
}

impl Answer {
    /// Whether it promises nothing.
    pub fn refuses(self) -> bool {
        matches!(self, Answer::Unavailable | Answer::Stopping)
    }
}

/// What there is to do, in the order of the fields.
#[derive(Debug)]
pub struct Steps<T> {
    /// For logs and metrics.
    pub notices: Vec<Notice>,
    /// To hand over, in this order.
    pub publish: Vec<Handover>,
    /// To append to the spool, in this order and under these numbers; [`super::Lane::appended`] is
    /// told how that went.
    pub append: Vec<(u64, Arc<Event>)>,
    /// To read so many bytes back from the spool; [`super::Lane::loaded`] is told what that gave.
    pub load: Option<usize>,
    /// To bring to the dead letters; [`super::Lane::dead_lettered`] is told how that went.
    pub dead_letters: Vec<Condemned>,
    /// The publisher's client is of no use any more.
    pub rebuild: bool,
    /// To tell those who wait. These go out last, after the lane's numbers and status are shown.
    pub answers: Vec<(T, Answer)>,
}

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

/// An event that its destination will never take.
#[derive(Debug)]
pub struct Condemned {
    /// The lane's number for it.
    pub seq: u64,
    /// The event itself.
    pub event: Arc<Event>,
    /// Why, for graphs.
    pub reason: DeadLetterReason,
    /// Why, in the broker's words.
    pub detail: String,
}

/// Something that operators want to see.
#[derive(Debug)]
pub enum Notice {
    /// The lane has an event and answers for it. A webhook that was refused at parse is a dead
    /// letter for this reason.
    Taken(Option<DeadLetterReason>),
    /// So many events were appended to the spool, synced.
    Appended(u64),
    /// So many events that were in the spool are done.
    Drained(u64),
    /// So many events that were in the spool can't be read back.
    Lost(u64),
    /// From now on the spool takes nothing.
    SpoolRefuses(Refusal),
    /// The spool takes events again.
    SpoolTakes,
    /// An event was confirmed for the first time.
    Confirmed {
        /// Bytes of its envelope.
        bytes: usize,
        /// Since it was handed over the last time.
        publishing: Duration,
        /// Since it was received.
        latency: Duration,
    },
    /// An event left for the dead letters, and they have it.
    DeadLettered(DeadLetterReason),
    /// An event was not published at this attempt.
    Failed(Reason),
    /// Events are handed over again.
    Repeated(usize),
    /// From now on events are not getting through.
    TroubleBegan(Failure),
    /// The reason why events don't get through is another one now.
    TroubleChanged(Failure),
    /// Events get through again, after so long.
    TroubleEnded(Duration),
    /// The destination was reached for the first time.
    Reached,
}

impl<T> Steps<T> {
    /// Answers whoever waits for an event, if somebody still does.
    pub(super) fn answer(&mut self, ticket: Option<T>, answer: Answer) {
        self.answers.extend(ticket.map(|ticket| (ticket, answer)));
    }

    /// An event is done and has left the line.
    pub(super) fn finished(&mut self, entry: Entry<T>, answer: Answer) {
        if entry.is_spooled() {
            self.notices.push(Notice::Drained(1));
        }
        self.answer(entry.ticket, answer);
    }
}

impl<T> Default for Steps<T> {
    fn default() -> Self {
        Steps {
            publish: Vec::new(),
            append: Vec::new(),
            load: None,
            answers: Vec::new(),
            dead_letters: Vec::new(),
            rebuild: false,
            notices: Vec::new(),
        }
    }
}
