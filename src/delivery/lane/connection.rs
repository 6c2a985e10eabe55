//! What a lane knows of the way to its broker, and how fast it hands events over.

use std::time::{Duration, Instant};

use super::Notice;
use crate::delivery::backoff::Backoff;
use crate::publish::{Class, Failure, Reason};

/// See the module.
#[derive(Debug)]
pub(super) enum Connection {
    /// The publisher has not reported yet whether the broker is reachable.
    Unknown,
    /// Events can be handed over. There is trouble if some failed and none was confirmed since.
    Up {
        pace: Pace,
        trouble: Option<Trouble>,
    },
    /// No event can be handed over until the publisher reports that the broker is reachable.
    Down { trouble: Trouble, repair: Repair },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Every event is handed over as it comes.
    Steady,
    /// An event failed. No event is handed over until all events in flight are reported on.
    Settling,
    /// No event is handed over before this time.
    Resting(Instant),
    /// One event is handed over at a time.
    Probing,
}

/// What has to happen before an event is handed over again, once all events in flight are reported on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repair {
    /// The events in flight may still be confirmed when the broker is reachable again.
    Nothing,
    /// An event failed: another attempt has to begin.
    Attempt,
    /// Another attempt has to begin, with another client.
    Rebuild,
}

/// Events don't get through.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    since: Instant,
    failure: Failure,
    /// Nothing was confirmed for the whole deadline.
    is_overdue: bool,
}

/// What a lane has for its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outstanding {
    Nothing,
    /// Events are pending, and none of them is in flight.
    Pending,
    InFlight,
}

impl Trouble {
    /// Adds a failure to the trouble that there may be already. The notice is for operators, if this is news to them.
    fn with(now: Instant, known: Option<Trouble>, failure: Failure) -> (Trouble, Option<Notice>) {
        let Some(known) = known else {
            let notice = Notice::TroubleBegan(failure.clone());
            let trouble = Trouble {
                since: now,
                failure,
                is_overdue: false,
            };
            return (trouble, Some(notice));
        };
        // What follows from the first failure is no news. What an operator has to fix is, and so is what slows the
        // attempts down.
        let is_telling = failure.class == Class::Operator || failure.reason == Reason::Nack;
        if !is_telling || failure.reason == known.failure.reason {
            return (known, None);
        }
        let notice = Notice::TroubleChanged(failure.clone());
        (Trouble { failure, ..known }, Some(notice))
    }
}

impl Connection {
    pub(super) fn is_up(&self) -> bool {
        matches!(self, Connection::Up { .. })
    }

    /// `None` while no event can be handed over.
    pub(super) fn pace(&self) -> Option<Pace> {
        match self {
            Connection::Up { pace, .. } => Some(*pace),
            _ => None,
        }
    }

    fn trouble(&self) -> Option<&Trouble> {
        match self {
            Connection::Unknown => None,
            Connection::Up { trouble, .. } => trouble.as_ref(),
            Connection::Down { trouble, .. } => Some(trouble),
        }
    }

    /// Why events don't get through, be it only for a moment.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.trouble().map(|trouble| &trouble.failure)
    }

    /// Since when there is an outage, or from when on there will be one. Trouble is one when it lasts for `spool_after`.
    pub(super) fn outage_at(&self, spool_after: Duration) -> Option<Instant> {
        let trouble = self.trouble()?;
        let is_known = trouble.is_overdue || matches!(self, Connection::Down { .. });
        Some(match is_known {
            true => trouble.since,
            false => trouble.since + spool_after,
        })
    }

    /// The publisher reports that the broker is reachable.
    pub(super) fn came_up(
        &mut self,
        now: Instant,
        outstanding: Outstanding,
        backoff: &mut Backoff,
    ) -> Option<Notice> {
        let (pace, trouble, reached) = match self {
            Connection::Unknown => (Pace::Steady, None, Some(Notice::Reached)),
            Connection::Up { pace, trouble } => (*pace, trouble.take(), None),
            Connection::Down { trouble, repair } => {
                let pace = match repair {
                    Repair::Nothing => Pace::Steady,
                    Repair::Attempt => Pace::Settling,
                    // The report is about the client that has to be rebuilt.
                    Repair::Rebuild => return None,
                };
                (pace, Some(trouble.clone()), None)
            }
        };
        let pace = match outstanding {
            Outstanding::Pending if pace != Pace::Settling => Pace::Resting(now),
            _ => pace,
        };
        *self = Connection::Up { pace, trouble };
        let resumed = match outstanding {
            Outstanding::Nothing => self.resume(now, Pace::Steady, backoff),
            Outstanding::Pending | Outstanding::InFlight => None,
        };
        reached.or(resumed)
    }

    /// The publisher reports that the broker is unreachable.
    pub(super) fn went_down(&mut self, now: Instant, failure: Failure) -> Option<Notice> {
        let (known, repair) = match self {
            Connection::Unknown => (None, Repair::Nothing),
            Connection::Up { pace, trouble } => match pace {
                Pace::Settling => (trouble.take(), Repair::Attempt),
                Pace::Steady | Pace::Resting(_) | Pace::Probing => {
                    (trouble.take(), Repair::Nothing)
                }
            },
            Connection::Down { trouble, repair } => (Some(trouble.clone()), *repair),
        };
        let repair = match failure.class {
            Class::Rebuild => Repair::Rebuild,
            _ => repair,
        };
        let (trouble, notice) = Trouble::with(now, known, failure);
        *self = Connection::Down { trouble, repair };
        notice
    }

    /// An event failed for a reason that is not its own.
    pub(super) fn failed(&mut self, now: Instant, failure: Failure) -> Option<Notice> {
        self.settle();
        match self {
            Connection::Up { trouble, .. } if failure.class != Class::Rebuild => {
                let (with, notice) = Trouble::with(now, trouble.take(), failure);
                *trouble = Some(with);
                notice
            }
            _ => self.went_down(now, failure),
        }
    }

    /// An event failed, so that no event may be handed over until all that are in flight are reported on.
    pub(super) fn settle(&mut self) {
        match self {
            Connection::Unknown => {}
            Connection::Up { pace, .. } => *pace = Pace::Settling,
            Connection::Down { repair, .. } => *repair = Repair::Attempt.max(*repair),
        }
    }

    /// No event is in flight. Returns what has to happen now, if something has to.
    pub(super) fn settled(&mut self, now: Instant, backoff: &mut Backoff) -> Repair {
        match self {
            Connection::Up {
                pace: pace @ Pace::Settling,
                trouble,
            } => {
                let rest = trouble
                    .as_ref()
                    .map(|trouble| backoff.next(&trouble.failure));
                *pace = Pace::Resting(now + rest.unwrap_or_default());
                Repair::Attempt
            }
            Connection::Down { repair, .. } => std::mem::replace(repair, Repair::Nothing),
            Connection::Unknown | Connection::Up { .. } => Repair::Nothing,
        }
    }

    /// Nothing was confirmed for too long, which is an outage from now on.
    pub(super) fn is_overdue(&mut self, now: Instant, failure: Failure) -> Option<Notice> {
        match self {
            Connection::Up { trouble, .. } => {
                let (with, notice) = Trouble::with(now, trouble.take(), failure);
                let is_overdue = true;
                *trouble = Some(Trouble { is_overdue, ..with });
                notice
            }
            Connection::Unknown | Connection::Down { .. } => self.went_down(now, failure),
        }
    }

    /// The rest is over: events are handed over one at a time.
    pub(super) fn probe(&mut self) {
        if let Connection::Up { pace, .. } = self {
            *pace = Pace::Probing;
        }
    }

    /// Events get through: the trouble is over, and events are handed over at this pace.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        resumed: Pace,
        backoff: &mut Backoff,
    ) -> Option<Notice> {
        let Connection::Up { pace, trouble } = self else {
            return None;
        };
        if *pace != Pace::Steady || trouble.is_some() {
            backoff.reset();
        }
        *pace = resumed;
        let lasted = now.saturating_duration_since(trouble.take()?.since);
        Some(Notice::TroubleEnded(lasted))
    }
}
