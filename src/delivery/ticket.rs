//! What a lane is told, and who waits for its answer to an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::inbox::{Inbox, WaiterId};
use super::lane::{Answer, Condemned};
use super::lane_spool::ReadBack;
use super::mailbox::Mailbox;
use crate::envelope::Event;
use crate::spool::{Appended, Refusal};

/// What a lane is told.
pub(super) enum Message {
    /// A new event.
    Give { event: Arc<Event>, ticket: Ticket },
    /// From the spool's reading thread.
    ReadBack(ReadBack),
    /// From the lane of the dead letters.
    DeadLettered { condemned: Condemned, taken: bool },
    /// From the spool's writer.
    Appended(Appended),
    /// From the spool's writer: why it would take no events now, if so.
    SpoolAsked(Option<Refusal>),
    /// Take nothing more; until then, what is in flight may still be confirmed.
    Stop { until: Instant },
}

/// Who waits for a destination's answer to one event.
pub(super) enum Ticket {
    /// A webhook's sender.
    Sender { inbox: Arc<Inbox>, waiter: WaiterId },
    /// A lane that brought an event to the dead letters.
    Lane(Arc<DeadLetterTicket>),
}

/// The lane goes on when every dead-letter destination has answered.
pub(super) struct DeadLetterTicket {
    lane: Arc<Mailbox<Message>>,
    awaited: AtomicUsize,
    refused: AtomicBool,
    condemned: std::sync::Mutex<Option<Condemned>>,
}

impl Ticket {
    /// Gives everybody the answer, and wakes each worker once, or a few times if answers of several alternate.
    pub(super) fn answer_all(answers: impl Iterator<Item = (Self, Answer)>) {
        let mut last: Option<Arc<Inbox>> = None;
        for (ticket, answer) in answers {
            match ticket {
                Ticket::Sender { inbox, waiter } => {
                    inbox.put(waiter, answer);
                    let before = last.replace(inbox);
                    let others = |before: &Arc<Inbox>| {
                        last.as_ref().is_none_or(|now| !Arc::ptr_eq(now, before))
                    };
                    if let Some(before) = before.filter(others) {
                        before.notify();
                    }
                }
                Ticket::Lane(ticket) => ticket.answer(answer),
            }
        }
        if let Some(last) = last {
            last.notify();
        }
    }
}

impl DeadLetterTicket {
    pub(super) fn new(
        lane: Arc<Mailbox<Message>>,
        awaited: usize,
        condemned: Condemned,
    ) -> Arc<Self> {
        Arc::new(DeadLetterTicket {
            lane,
            awaited: AtomicUsize::new(awaited),
            refused: AtomicBool::new(false),
            condemned: std::sync::Mutex::new(Some(condemned)),
        })
    }

    fn answer(&self, answer: Answer) {
        if answer.refuses() {
            self.refused.store(true, Ordering::SeqCst);
        }
        if self.awaited.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        let condemned = self
            .condemned
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(condemned) = condemned {
            let taken = !self.refused.load(Ordering::SeqCst);
            self.lane.push(Message::DeadLettered { condemned, taken });
        }
    }
}
