//! What a lane knows of the way to its broker, and how fast it hands events over.

use std::time::{Duration, Instant};

use super::steps::Notice;
use crate::backoff::Backoff;
use crate::delivery::backoff;
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

    /// Whether there is an outage, however short the trouble has lasted.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Connection::Unknown => false,
            Connection::Up { trouble, .. } => trouble.as_ref().is_some_and(|t| t.is_overdue),
            Connection::Down { .. } => true,
        }
    }

    /// Since when there is an outage, or from when on there will be one. Trouble is one when it lasts for `spool_after`.
    pub(super) fn outage_at(&self, spool_after: Duration) -> Option<Instant> {
        let since = self.trouble()?.since;
        Some(match self.is_outage() {
            true => since,
            false => since + spool_after,
        })
    }

    /// The trouble, and what the events in flight need. The caller says what the state is from now on.
    fn take(&mut self) -> (Option<Trouble>, Repair) {
        match std::mem::replace(self, Connection::Unknown) {
            Connection::Unknown => (None, Repair::Nothing),
            Connection::Up {
                pace: Pace::Settling,
                trouble,
            } => (trouble, Repair::Attempt),
            Connection::Up { trouble, .. } => (trouble, Repair::Nothing),
            Connection::Down { trouble, repair } => (Some(trouble), repair),
        }
    }

    /// The publisher reports that the broker is reachable, while so many events are pending and so many of them in flight.
    pub(super) fn came_up(
        &mut self,
        now: Instant,
        (pending, in_flight): (usize, usize),
        backoff: &mut Backoff,
    ) -> Option<Notice> {
        if matches!(self, Connection::Down { repair, .. } if *repair == Repair::Rebuild) {
            // The report is about the client that has to be rebuilt.
            return None;
        }
        let reached = matches!(self, Connection::Unknown).then_some(Notice::Reached);
        let pace = self.pace().filter(|_| in_flight > 0);
        let (trouble, repair) = self.take();
        let pace = match repair {
            Repair::Attempt | Repair::Rebuild => Pace::Settling,
            Repair::Nothing if pending > 0 && in_flight == 0 => Pace::Resting(now),
            Repair::Nothing => pace.unwrap_or(Pace::Steady),
        };
        *self = Connection::Up { pace, trouble };
        let resumed = (pending == 0).then(|| self.resume(now, Pace::Steady, backoff));
        reached.or(resumed.flatten())
    }

    /// The publisher reports that the broker is unreachable.
    pub(super) fn went_down(&mut self, now: Instant, failure: Failure) -> Option<Notice> {
        let (known, before) = self.take();
        let repair = match failure.class {
            Class::Rebuild => Repair::Rebuild,
            _ => before,
        };
        let (trouble, notice) = Trouble::with(now, known, failure);
        *self = Connection::Down { trouble, repair };
        notice
    }

    /// An event failed for a reason that is not its own.
    pub(super) fn failed(&mut self, now: Instant, failure: Failure) -> Option<Notice> {
        self.settle();
        if !self.is_up() || failure.class == Class::Rebuild {
            return self.went_down(now, failure);
        }
        let (trouble, notice) = Trouble::with(now, self.take().0, failure);
        *self = Connection::Up {
            pace: Pace::Settling,
            trouble: Some(trouble),
        };
        notice
    }

    /// Nothing was confirmed for too long, which is an outage from now on.
    pub(super) fn went_silent(&mut self, now: Instant, failure: Failure) -> Option<Notice> {
        let Some(pace) = self.pace() else {
            return self.went_down(now, failure);
        };
        let (mut trouble, notice) = Trouble::with(now, self.take().0, failure);
        trouble.is_overdue = true;
        *self = Connection::Up {
            pace,
            trouble: Some(trouble),
        };
        notice
    }

    /// An event failed, so that no event may be handed over until all that are in flight are reported on.
    pub(super) fn settle(&mut self) {
        match self {
            Connection::Unknown => {}
            Connection::Up { pace, .. } => *pace = Pace::Settling,
            Connection::Down { repair, .. } => *repair = Repair::Attempt.max(*repair),
        }
    }

    /// No event is in flight. Returns what has to happen now.
    pub(super) fn settled(&mut self, now: Instant, backoff: &mut Backoff) -> Repair {
        match self {
            Connection::Up { pace, trouble } if *pace == Pace::Settling => {
                let rest = trouble
                    .as_ref()
                    .map(|trouble| backoff.next(backoff::waits(&trouble.failure)));
                *pace = Pace::Resting(now + rest.unwrap_or_default());
                Repair::Attempt
            }
            Connection::Down { repair, .. } => std::mem::replace(repair, Repair::Nothing),
            Connection::Unknown | Connection::Up { .. } => Repair::Nothing,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPOOL_AFTER: Duration = Duration::from_millis(250);
    const NOTHING: (usize, usize) = (0, 0);
    const PENDING: (usize, usize) = (1, 0);
    const IN_FLIGHT: (usize, usize) = (1, 1);

    fn failure(class: Class, reason: Reason) -> Failure {
        Failure {
            class,
            reason,
            detail: String::new(),
        }
    }

    fn retry() -> Failure {
        failure(Class::Retry, Reason::Disconnected)
    }

    fn up() -> (Connection, Instant, Backoff) {
        let (mut connection, now, mut backoff) =
            (Connection::Unknown, Instant::now(), Backoff::new(1));
        let notice = connection.came_up(now, NOTHING, &mut backoff);
        assert!(matches!(notice, Some(Notice::Reached)));
        (connection, now, backoff)
    }

    #[test]
    fn a_broker_that_becomes_reachable_gets_one_event_first_if_events_wait() {
        let (mut connection, now, mut backoff) =
            (Connection::Unknown, Instant::now(), Backoff::new(1));
        assert_eq!(connection.pace(), None);
        connection.came_up(now, PENDING, &mut backoff);
        assert_eq!(connection.pace(), Some(Pace::Resting(now)));
        connection.probe();
        assert_eq!(connection.pace(), Some(Pace::Probing));
    }

    #[test]
    fn after_a_failure_the_connection_settles_rests_and_resumes() {
        let (mut connection, now, mut backoff) = up();
        let notice = connection.failed(now, failure(Class::Retry, Reason::NotLeader));
        assert!(matches!(notice, Some(Notice::TroubleBegan(_))));
        assert_eq!(connection.pace(), Some(Pace::Settling));
        assert_eq!(connection.outage_at(SPOOL_AFTER), Some(now + SPOOL_AFTER));
        assert_eq!(connection.settled(now, &mut backoff), Repair::Attempt);
        assert!(matches!(connection.pace(), Some(Pace::Resting(until)) if until > now));
        assert_eq!(connection.settled(now, &mut backoff), Repair::Nothing);
        connection.probe();
        let later = now + SPOOL_AFTER;
        let notice = connection.resume(later, Pace::Steady, &mut backoff);
        assert!(matches!(notice, Some(Notice::TroubleEnded(lasted)) if lasted == SPOOL_AFTER));
        assert_eq!(connection.outage_at(SPOOL_AFTER), None);
    }

    #[test]
    fn an_event_that_is_to_blame_itself_is_no_trouble_and_costs_no_rest() {
        let (mut connection, now, mut backoff) = up();
        connection.settle();
        assert_eq!(connection.settled(now, &mut backoff), Repair::Attempt);
        assert_eq!(connection.pace(), Some(Pace::Resting(now)));
        assert!(connection.failure().is_none());
    }

    #[test]
    fn an_unreachable_broker_is_an_outage_at_once_and_events_in_flight_go_on_when_it_is_back() {
        let (mut connection, now, mut backoff) = up();
        connection.went_down(now, retry());
        assert_eq!(connection.outage_at(SPOOL_AFTER), Some(now));
        assert_eq!(connection.pace(), None);
        assert_eq!(connection.settled(now, &mut backoff), Repair::Nothing);
        connection.came_up(now, IN_FLIGHT, &mut backoff);
        assert_eq!(connection.pace(), Some(Pace::Steady));
        assert_eq!(connection.outage_at(SPOOL_AFTER), Some(now + SPOOL_AFTER));
    }

    #[test]
    fn an_event_that_failed_while_the_broker_was_unreachable_lets_the_others_settle_first() {
        let (mut connection, now, mut backoff) = up();
        connection.went_down(now, retry());
        connection.failed(now, retry());
        connection.came_up(now, IN_FLIGHT, &mut backoff);
        assert_eq!(connection.pace(), Some(Pace::Settling));

        let (mut connection, now, mut backoff) = up();
        connection.failed(now, retry());
        connection.went_down(now, retry());
        connection.came_up(now, IN_FLIGHT, &mut backoff);
        assert_eq!(connection.pace(), Some(Pace::Settling));
    }

    #[test]
    fn a_client_that_gave_up_is_rebuilt_once_and_a_late_report_of_it_changes_nothing() {
        for reports_it_down in [true, false] {
            let (mut connection, now, mut backoff) = up();
            let fatal = failure(Class::Rebuild, Reason::Fatal);
            match reports_it_down {
                true => connection.went_down(now, fatal),
                false => connection.failed(now, fatal),
            };
            connection.failed(now, retry());
            connection.came_up(now, IN_FLIGHT, &mut backoff);
            assert_eq!(connection.pace(), None);
            assert_eq!(connection.settled(now, &mut backoff), Repair::Rebuild);
            assert_eq!(connection.settled(now, &mut backoff), Repair::Nothing);
            connection.came_up(now, PENDING, &mut backoff);
            assert_eq!(connection.pace(), Some(Pace::Resting(now)));
        }
    }

    #[test]
    fn a_broker_that_reports_again_that_it_is_reachable_is_tried_no_faster() {
        let (mut connection, now, mut backoff) = up();
        connection.failed(now, retry());
        connection.settled(now, &mut backoff);
        connection.probe();
        connection.came_up(now, IN_FLIGHT, &mut backoff);
        assert_eq!(connection.pace(), Some(Pace::Probing));
    }

    #[test]
    fn the_first_wait_of_a_new_trouble_is_short_whatever_the_pace_was_when_the_last_one_ended() {
        for ends_while_probing in [true, false] {
            let (mut connection, now, mut backoff) = up();
            for _ in 0..5 {
                connection.failed(now, retry());
                connection.settled(now, &mut backoff);
            }
            connection.probe();
            if !ends_while_probing {
                connection.went_down(now, retry());
                connection.came_up(now, IN_FLIGHT, &mut backoff);
                assert_eq!(connection.pace(), Some(Pace::Steady));
            }
            connection.resume(now, Pace::Steady, &mut backoff);
            connection.failed(now, retry());
            connection.settled(now, &mut backoff);
            let shortest = now + backoff::waits(&retry()).first;
            assert!(matches!(connection.pace(), Some(Pace::Resting(until)) if until <= shortest));
        }
    }

    #[test]
    fn a_silent_broker_is_an_outage_at_once() {
        for mut connection in [Connection::Unknown, up().0] {
            let now = Instant::now();
            let notice = connection.went_silent(now, failure(Class::Retry, Reason::Timeout));
            assert!(matches!(notice, Some(Notice::TroubleBegan(_))));
            assert_eq!(connection.outage_at(SPOOL_AFTER), Some(now));
        }
    }

    #[test]
    fn what_an_operator_has_to_fix_and_a_nack_are_news_during_trouble_and_nothing_else_is() {
        let (mut connection, now, _) = up();
        connection.failed(now, retry());
        for (class, reason, is_news) in [
            (Class::Retry, Reason::Timeout, false),
            (Class::Rebuild, Reason::Fatal, false),
            (Class::Operator, Reason::Unauthorized, true),
            (Class::Operator, Reason::Unauthorized, false),
            (Class::Retry, Reason::Nack, true),
        ] {
            let notice = connection.failed(now, failure(class, reason));
            let changed = matches!(notice, Some(Notice::TroubleChanged(_)));
            assert_eq!(changed, is_news, "{class:?} {reason:?}");
        }
    }

    proptest! {
        /// Operators see the beginning and the end of each trouble, and trouble exactly between them.
        #[test]
        fn the_notices_of_trouble_alternate_and_agree_with_the_state(
            steps in proptest::collection::vec((0..9_u8, 0..3_u8), 0..80),
        ) {
            let (mut connection, now, mut backoff) = (Connection::Unknown, Instant::now(), Backoff::new(1));
            let (mut in_trouble, mut reached) = (false, 0);
            for (step, choice) in steps {
                let class = [Class::Retry, Class::Operator, Class::Rebuild][usize::from(choice)];
                let failure = failure(class, Reason::Other);
                let outstanding = [NOTHING, PENDING, IN_FLIGHT];
                let notice = match step {
                    0 | 1 => connection.came_up(now, outstanding[usize::from(choice)], &mut backoff),
                    2 => connection.went_down(now, failure),
                    3 => connection.failed(now, failure),
                    4 => connection.went_silent(now, failure),
                    5 => connection.resume(now, Pace::Steady, &mut backoff),
                    6 => {
                        connection.settled(now, &mut backoff);
                        None
                    }
                    7 => {
                        connection.settle();
                        None
                    }
                    _ => {
                        connection.probe();
                        None
                    }
                };
                match notice {
                    Some(Notice::TroubleBegan(_)) => prop_assert!(!std::mem::replace(&mut in_trouble, true)),
                    Some(Notice::TroubleEnded(_)) => prop_assert!(std::mem::take(&mut in_trouble)),
                    Some(Notice::TroubleChanged(_)) => prop_assert!(in_trouble),
                    Some(Notice::Reached) => reached += 1,
                    _ => {}
                }
                prop_assert_eq!(connection.failure().is_some(), in_trouble);
                prop_assert!(reached <= 1);
                let is_usable = connection.pace().is_some();
                prop_assert_eq!(is_usable, connection.is_up());
            }
        }
    }
}
