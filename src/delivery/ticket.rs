//! Who waits for a destination's answer to one event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::lane::{Answer, Condemned};
use super::mailbox::Mailbox;
use super::owner::Message;
use super::port::{Inbox, Seat};

/// See the module.
pub(super) enum Ticket {
    /// A webhook's sender.
    Sender { inbox: Arc<Inbox>, seat: Seat },
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
    pub(super) fn answer(self, answer: Answer) {
        match self {
            Ticket::Sender { inbox, seat } => inbox.put(seat, answer),
            Ticket::Lane(ticket) => ticket.answer(answer),
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
