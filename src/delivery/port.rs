//! A worker's way into the lanes, and its answers' way back.
//!
//! Every worker thread has one port. It owns the table of those who wait, so that all answers that
//! came together cost it one wake from another thread, and each of its own futures a local one; and
//! the events of all requests that it read in one turn cost each lane one wake.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::generation::{CurrentGeneration, Generation};
use super::inbox::{Inbox, Seat};
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

#[derive(Default)]
struct Waiting {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Place {
    guest: u32,
    /// Destinations that have not answered yet.
    awaited: usize,
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
        let seat = self.waiting.borrow_mut().sit(lanes.len());
        let event = Arc::new(event);
        let mut outbox = self.outbox.borrow_mut();
        for lane in lanes {
            let ticket = Ticket::Sender {
                inbox: Arc::clone(&self.inbox),
                seat,
            };
            let event = Arc::clone(&event);
            outbox.given.push((*lane, Message::Give { event, ticket }));
        }
        if let Some(waker) = outbox.waker.take() {
            waker.wake();
        }
        Delivering {
            waiting: Rc::clone(&self.waiting),
            seat,
        }
    }

    /// Brings events to the lanes, and the lanes' answers to those who wait, for ever. Runs on the
    /// port's own thread.
    pub async fn answering(self) {
        let mut batch = Vec::new();
        std::future::poll_fn(|context| -> Poll<()> {
            self.hand_on(context.waker());
            self.inbox.worker.register(context.waker());
            self.inbox.rung.store(false, Ordering::Release);
            std::mem::swap(
                &mut *self
                    .inbox
                    .answers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
                &mut batch,
            );
            let mut waiting = self.waiting.borrow_mut();
            for (seat, answer) in batch.drain(..) {
                waiting.answered(seat, answer);
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
    fn sit(&mut self, awaited: usize) -> Seat {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).expect("requests in flight are bounded far below")
        });
        let at = &mut self.places[place as usize];
        at.awaited = awaited;
        at.worst = None;
        Seat {
            place,
            guest: at.guest,
        }
    }

    fn leave(&mut self, seat: Seat) {
        let at = &mut self.places[seat.place as usize];
        at.guest = at.guest.wrapping_add(1);
        at.waker = None;
        self.free.push(seat.place);
    }

    fn answered(&mut self, seat: Seat, answer: Answer) {
        let at = &mut self.places[seat.place as usize];
        if at.guest != seat.guest {
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
    seat: Seat,
}

impl Future for Delivering {
    type Output = Result<Receipt, Refused>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waiting = self.waiting.borrow_mut();
        let at = &mut waiting.places[self.seat.place as usize];
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
        self.waiting.borrow_mut().leave(self.seat);
    }
}
