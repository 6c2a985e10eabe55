//! A worker's way into the lanes, and its answers' way back.
//!
//! Every worker thread has one port, which owns the table of the requests that wait for an answer. So all answers that
//! came together wake the thread once, and it wakes its own requests without another thread's help. The events of all requests
//! that it read in one turn are given to each lane together.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::generation::{CurrentGeneration, Generation};
use super::inbox::{Inbox, WaiterId};
use super::lane::Answer;
use super::ticket::{Message, Ticket};
use crate::envelope::Event;
use crate::receipt::Receipt;

/// Why an event was not accepted. It promises nothing: the event may still be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A destination can't take it now, or did not confirm it in time.
    #[error("a destination did not confirm the event in time")]
    Unavailable,
    /// The bridge is stopping.
    #[error("the bridge is stopping")]
    Stopping,
}

/// See the module. A clone is the same port.
#[derive(Clone)]
pub struct Port {
    generation: CurrentGeneration,
    waiting: Rc<RefCell<Waiting>>,
    outbox: Rc<RefCell<Outbox>>,
    inbox: Arc<Inbox>,
}

/// What the worker's requests gave to the lanes since its last turn, each with its lane.
#[derive(Default)]
struct Outbox {
    given: Vec<(usize, Message)>,
    /// Of [`Port::answering`], which hands it on after the requests that can go on now.
    waker: Option<Waker>,
}

/// The requests that wait for an answer.
#[derive(Default)]
struct Waiting {
    slots: Vec<Slot>,
    /// The slots that are not in use.
    free: Vec<u32>,
}

/// One request, and after it another.
#[derive(Default)]
struct Slot {
    /// Counts the requests that had this slot, so that a late answer to one of them is told from one to the next.
    version: u32,
    /// Destinations that have not answered yet.
    awaited: usize,
    /// The answer so far that promises the least.
    worst: Option<Answer>,
    waker: Option<Waker>,
}

impl Port {
    /// A port for the worker thread that calls. [`Self::answering`] has to be polled there.
    pub(super) fn new(generation: CurrentGeneration) -> Self {
        Port {
            generation,
            waiting: Rc::default(),
            outbox: Rc::default(),
            inbox: Arc::default(),
        }
    }

    /// Gives an event to the lanes of all its destinations at the end of this turn of the worker,
    /// and not when the answer is awaited: whoever drops the answer drops no event. `generation` is
    /// the one that sealed it.
    pub fn deliver(&self, generation: &Generation, event: Event) -> Delivering {
        let lanes = &generation.route(&event).lanes;
        let waiter = self.waiting.borrow_mut().add(lanes.len());
        let event = Arc::new(event);
        let mut outbox = self.outbox.borrow_mut();
        for lane in lanes {
            let ticket = Ticket::Sender {
                inbox: Arc::clone(&self.inbox),
                waiter,
            };
            let event = Arc::clone(&event);
            outbox.given.push((*lane, Message::Give { event, ticket }));
        }
        if let Some(waker) = outbox.waker.take() {
            waker.wake();
        }
        Delivering {
            waiting: Rc::clone(&self.waiting),
            waiter,
        }
    }

    /// Brings events to the lanes, and the lanes' answers to those who wait, for ever. Runs on the
    /// port's own thread.
    pub async fn answering(self) {
        let mut batch = Vec::new();
        std::future::poll_fn(|context| -> Poll<()> {
            self.hand_on(context.waker());
            self.inbox.worker.register(context.waker());
            self.inbox.is_notified.store(false, Ordering::Release);
            std::mem::swap(
                &mut *self
                    .inbox
                    .answers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
                &mut batch,
            );
            let mut waiting = self.waiting.borrow_mut();
            for (waiter, answer) in batch.drain(..) {
                waiting.answered(waiter, answer);
            }
            Poll::Pending
        })
        .await;
    }

    /// Gives the lanes all at once what there is for each.
    fn hand_on(&self, waker: &Waker) {
        let mut outbox = self.outbox.borrow_mut();
        outbox.waker = Some(waker.clone());
        if outbox.given.is_empty() {
            return;
        }
        // A lane is at the same place in every generation.
        let current = self.generation.get();
        outbox.given.sort_by_key(|(lane, _)| *lane);
        let mut given = outbox.given.drain(..).peekable();
        while let Some((lane, first)) = given.next() {
            let rest = std::iter::from_fn(|| given.next_if(|(next, _)| *next == lane));
            let rest = rest.map(|(_, message)| message);
            current.lanes[lane].give(std::iter::once(first).chain(rest));
        }
    }
}

impl Waiting {
    fn add(&mut self, awaited: usize) -> WaiterId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("requests in flight are bounded far below")
        });
        let at = &mut self.slots[slot as usize];
        at.awaited = awaited;
        at.worst = None;
        WaiterId {
            slot,
            version: at.version,
        }
    }

    fn remove(&mut self, waiter: WaiterId) {
        let at = &mut self.slots[waiter.slot as usize];
        at.version = at.version.wrapping_add(1);
        at.waker = None;
        self.free.push(waiter.slot);
    }

    fn answered(&mut self, waiter: WaiterId, answer: Answer) {
        let at = &mut self.slots[waiter.slot as usize];
        if at.version != waiter.version {
            return;
        }
        at.awaited -= 1;
        at.worst = Some(at.worst.map_or(answer, |other| worse(other, answer)));
        // A refusal by one destination decides at once: nobody has to wait for the others.
        let decided = at.awaited == 0 || at.worst.is_some_and(Answer::refuses);
        if decided && let Some(waker) = at.waker.take() {
            waker.wake();
        }
    }
}

fn worse(one: Answer, other: Answer) -> Answer {
    let rank = |answer: Answer| match answer {
        Answer::Published => 0,
        Answer::Spooled => 1,
        Answer::DeadLettered => 2,
        Answer::Unavailable => 3,
        Answer::Stopping => 4,
    };
    if rank(one) >= rank(other) { one } else { other }
}

/// The answer that an event's sender waits for.
pub struct Delivering {
    waiting: Rc<RefCell<Waiting>>,
    waiter: WaiterId,
}

impl Future for Delivering {
    type Output = Result<Receipt, Refused>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waiting = self.waiting.borrow_mut();
        let at = &mut waiting.slots[self.waiter.slot as usize];
        if at.awaited > 0 && !at.worst.is_some_and(|answer| answer.refuses()) {
            at.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(match at.worst {
            None => Ok(Receipt::Discarded),
            Some(Answer::Published) => Ok(Receipt::Published),
            Some(Answer::Spooled) => Ok(Receipt::Spooled),
            Some(Answer::DeadLettered) => Ok(Receipt::DeadLettered),
            Some(Answer::Unavailable) => Err(Refused::Unavailable),
            Some(Answer::Stopping) => Err(Refused::Stopping),
        })
    }
}

impl Drop for Delivering {
    fn drop(&mut self) {
        self.waiting.borrow_mut().remove(self.waiter);
    }
}
