//! What a lane decides, told as what happens to it.

mod publishing;
mod spooling;
mod stopping;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::envelope::DeadLetterReason;
use crate::envelope::sealed;
use crate::publish::{Class, Failure, Handover, PerKey, Reason};
use crate::spool::Refusal;

const DEADLINE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_millis(250);

/// A lane, its clock, and what it wants.
struct Scene {
    lane: Lane<u32>,
    now: Instant,
    steps: Steps<u32>,
    max_envelope: Option<usize>,
    room: usize,
}

fn event() -> Arc<Event> {
    let body = r#"{"id":"u1","username":"sam","name":"Sam"}"#;
    Arc::new(sealed::event(&sealed::sealer(), body))
}

/// An event with this ordering key.
fn event_of(key: &str) -> Arc<Event> {
    let body = format!(r#"{{"sent_by":{{"id":"u1"}},"sent_to":[],"chat_id":"{key}"}}"#);
    Arc::new(sealed::event(&sealed::sealer(), &body))
}

fn failure(class: Class, reason: Reason) -> Failure {
    Failure {
        class,
        reason,
        detail: "because".to_owned(),
    }
}

impl Scene {
    fn new() -> Self {
        Self::with_window(1024 * 1024)
    }

    fn with_window(window: usize) -> Self {
        Self::with(window, None)
    }

    /// One that found so many events in its spool.
    fn with_backlog(events: u64) -> Self {
        let backlog = Backlog {
            first: 0,
            next: events,
        };
        Self::with(1024 * 1024, Some(backlog))
    }

    fn with(window: usize, backlog: Option<Backlog>) -> Self {
        let bounds = Bounds {
            deadline: DEADLINE,
            spool_after: PATIENCE,
            window,
            arrivals: window / 2,
            backlog,
        };
        let lane = Lane::new(bounds, Backoff::new(1));
        Scene {
            lane,
            now: Instant::now(),
            steps: Steps::default(),
            max_envelope: None,
            room: usize::MAX,
        }
    }

    fn up() -> Self {
        let mut scene = Self::new();
        scene.told(Report::Up);
        scene
    }

    /// Gives events with these tickets.
    fn given(&mut self, tickets: impl IntoIterator<Item = u32>) -> &mut Self {
        for ticket in tickets {
            self.lane
                .give(self.now, event(), ticket, usize::MAX, &mut self.steps);
        }
        self.advanced()
    }

    fn told(&mut self, report: Report) -> &mut Self {
        self.lane.report(self.now, report, &mut self.steps);
        self.advanced()
    }

    fn advanced(&mut self) -> &mut Self {
        self.lane
            .advance(self.now, self.max_envelope, self.room, &mut self.steps);
        self
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.advanced()
    }

    /// Waits until the lane wants something of its own.
    fn until_it_wakes(&mut self) -> &mut Self {
        let wakes_at = self.lane.wakes_at().expect("the lane waits for something");
        self.now = self.now.max(wakes_at);
        self.advanced()
    }

    /// What was handed over since the last question.
    fn handed_over(&mut self) -> Vec<Handover> {
        std::mem::take(&mut self.steps.publish)
    }

    fn handed_over_seqs(&mut self) -> Vec<u64> {
        self.handed_over()
            .iter()
            .map(|handover| handover.seq)
            .collect()
    }

    fn answers(&mut self) -> Vec<(u32, Answer)> {
        std::mem::take(&mut self.steps.answers)
    }

    /// The append ends that the lane asked for: all below `upto` is on disk.
    fn append_ends(&mut self, upto: u64, refusal: Option<Refusal>) -> &mut Self {
        self.steps.append.clear();
        self.lane.appended(self.now, upto, refusal, &mut self.steps);
        self.advanced()
    }

    fn confirm(&mut self, handover: &Handover) -> &mut Self {
        let Handover { seq, attempt, .. } = *handover;
        self.told(Report::Confirmed { seq, attempt })
    }

    fn fail(&mut self, handover: &Handover, class: Class, reason: Reason) -> &mut Self {
        let Handover { seq, attempt, .. } = *handover;
        self.told(Report::Failed {
            seq,
            attempt,
            failure: failure(class, reason),
        })
    }
}

#[test]
fn events_are_handed_over_in_order_and_answered_by_their_confirms() {
    let mut scene = Scene::up();
    let handed = scene.given([1, 2, 3]).handed_over();
    assert_eq!(handed.iter().map(|h| h.seq).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(scene.answers().is_empty());

    scene.confirm(&handed[1]);
    assert_eq!(scene.answers(), [(2, Answer::Published)]);
    scene.confirm(&handed[0]).confirm(&handed[2]);
    assert_eq!(
        scene.answers(),
        [(1, Answer::Published), (3, Answer::Published)]
    );
    assert_eq!((scene.lane.pending(), scene.lane.size()), (0, 0));
}

#[test]
fn nothing_is_handed_over_before_the_broker_is_reached() {
    let mut scene = Scene::new();
    assert!(scene.given([1]).handed_over().is_empty());
    assert_eq!(scene.told(Report::Up).handed_over_seqs(), [0]);
}

#[test]
fn an_event_without_a_confirm_is_refused_at_its_deadline_and_published_all_the_same() {
    let mut scene = Scene::up();
    let handed = scene.given([1]).handed_over();
    scene.after(DEADLINE - Duration::from_millis(1));
    assert!(scene.answers().is_empty());
    assert_eq!(
        scene.lane.wakes_at(),
        Some(scene.now + Duration::from_millis(1))
    );
    scene.until_it_wakes();
    assert_eq!(scene.answers(), [(1, Answer::Unavailable)]);

    // Now that an outage is known, nobody waits for it any more.
    scene.given([2]);
    assert_eq!(scene.answers(), [(2, Answer::Unavailable)]);
    assert_eq!(scene.lane.pending(), 1);

    scene.confirm(&handed[0]).given([3]);
    assert!(scene.answers().is_empty());
    assert_eq!(scene.handed_over_seqs(), [1]);
}

#[test]
fn after_a_failure_the_lane_begins_again_at_the_first_that_failed_alone() {
    let mut scene = Scene::up();
    let handed = scene.given([1, 2, 3, 4]).handed_over();
    scene
        .confirm(&handed[0])
        .fail(&handed[1], Class::Retry, Reason::Nack)
        .given([5]);
    assert!(scene.handed_over().is_empty(), "it settles first");
    scene
        .confirm(&handed[2])
        .fail(&handed[3], Class::Retry, Reason::Nack);
    assert!(scene.handed_over().is_empty(), "it rests");

    let probe = scene.until_it_wakes().handed_over();
    assert_eq!(probe.iter().map(|h| h.seq).collect::<Vec<_>>(), [1]);
    scene.confirm(&probe[0]);
    assert_eq!(
        scene.handed_over_seqs(),
        [3, 4],
        "what was confirmed meanwhile is not repeated"
    );
}

#[test]
fn a_late_report_of_an_earlier_attempt_counts_for_nothing() {
    let mut scene = Scene::up();
    let first = scene.given([1]).handed_over();
    scene.fail(&first[0], Class::Retry, Reason::Nack);
    let second = scene.until_it_wakes().handed_over();
    assert_eq!(second[0].seq, first[0].seq);
    scene.fail(&first[0], Class::Retry, Reason::Nack);
    assert!(
        scene
            .lane
            .wakes_at()
            .is_none_or(|at| at > scene.now + PATIENCE),
        "it still waits for the second"
    );
    scene.answers();
    scene.confirm(&second[0]);
    assert_eq!(scene.answers(), [(1, Answer::Published)]);
}

#[test]
fn trouble_that_lasts_is_an_outage_and_its_end_is_told_once() {
    let mut scene = Scene::up();
    let handed = scene.given([1]).handed_over();
    scene.fail(&handed[0], Class::Operator, Reason::UnknownDestination);
    assert_eq!(scene.lane.outage(scene.now), None, "it may pass at once");
    scene.after(PATIENCE).given([2]);
    assert_eq!(scene.answers(), [(2, Answer::Unavailable)]);
    let probe = scene.until_it_wakes().handed_over();
    scene.confirm(&probe[0]);
    assert_eq!(scene.lane.outage(scene.now), None);
    let told: Vec<_> = scene
        .steps
        .notices
        .iter()
        .map(|notice| format!("{notice:?}"))
        .collect();
    let begun = told
        .iter()
        .filter(|notice| notice.starts_with("TroubleBegan"))
        .count();
    let ended = told
        .iter()
        .filter(|notice| notice.starts_with("TroubleEnded"))
        .count();
    assert_eq!((begun, ended), (1, 1), "{told:?}");
}

#[test]
fn while_the_broker_is_known_to_be_down_new_events_are_refused_at_once() {
    let mut scene = Scene::up();
    scene
        .told(Report::Down(failure(Class::Retry, Reason::Disconnected)))
        .given([1]);
    assert_eq!(scene.answers(), [(1, Answer::Unavailable)]);
    scene.told(Report::Up).given([2]);
    assert_eq!(scene.handed_over_seqs(), [0]);
}

#[test]
fn what_a_down_broker_still_holds_is_not_handed_over_again() {
    let mut scene = Scene::up();
    let handed = scene.given([1]).handed_over();
    scene
        .told(Report::Down(failure(Class::Retry, Reason::Disconnected)))
        .told(Report::Up);
    assert!(scene.handed_over().is_empty());
    scene.confirm(&handed[0]);
    assert_eq!(scene.answers(), [(1, Answer::Published)]);
}

#[test]
fn a_client_that_gave_up_is_rebuilt_once_everything_is_reported() {
    let mut scene = Scene::up();
    let handed = scene.given([1, 2]).handed_over();
    scene.fail(&handed[0], Class::Rebuild, Reason::Fatal);
    assert!(!scene.steps.rebuild);
    scene.fail(&handed[1], Class::Rebuild, Reason::Fatal);
    assert!(scene.steps.rebuild);
    scene.after(PATIENCE);
    assert!(scene.handed_over().is_empty(), "there is no client yet");
    let probe = scene.told(Report::Up).handed_over();
    assert_eq!(probe.len(), 1);
    scene.confirm(&probe[0]);
    assert_eq!(scene.handed_over_seqs(), [1]);
}

#[test]
fn only_an_event_that_was_refused_alone_goes_to_the_dead_letters() {
    let mut scene = Scene::up();
    let batch = scene.given([1, 2, 3]).handed_over();
    scene.fail(&batch[0], Class::DeadLetter, Reason::TooLarge);
    scene.fail(&batch[1], Class::DeadLetter, Reason::TooLarge);
    scene.fail(&batch[2], Class::DeadLetter, Reason::TooLarge);
    assert!(scene.steps.dead_letters.is_empty());

    let alone = scene.handed_over();
    assert_eq!(alone.iter().map(|h| h.seq).collect::<Vec<_>>(), [0]);
    scene.confirm(&alone[0]);
    let alone = scene.handed_over();
    assert_eq!(alone.iter().map(|h| h.seq).collect::<Vec<_>>(), [1]);
    scene.fail(&alone[0], Class::DeadLetter, Reason::TooLarge);
    let condemned = scene
        .steps
        .dead_letters
        .pop()
        .expect("it was refused alone");
    assert_eq!(
        (condemned.seq, condemned.reason),
        (1, DeadLetterReason::TooLarge)
    );
    assert_eq!(scene.handed_over_seqs(), [2], "the lane goes on");

    scene.answers();
    scene
        .lane
        .dead_lettered(scene.now, condemned, true, &mut scene.steps);
    assert_eq!(scene.answers(), [(2, Answer::DeadLettered)]);
}

#[test]
fn an_event_that_is_too_large_for_its_destination_is_never_handed_over() {
    let mut scene = Scene::up();
    scene.max_envelope = Some(100);
    assert!(scene.given([1]).handed_over().is_empty());
    let condemned = scene
        .steps
        .dead_letters
        .pop()
        .expect("an envelope is longer than that");
    scene
        .lane
        .dead_lettered(scene.now, condemned, false, &mut scene.steps);
    assert!(scene.advanced().steps.dead_letters.is_empty());
    scene.until_it_wakes();
    let again = scene.steps.dead_letters.pop().expect("it is tried again");
    scene
        .lane
        .dead_lettered(scene.now, again, true, &mut scene.steps);
    assert_eq!(scene.answers(), [(1, Answer::DeadLettered)]);
    assert_eq!(scene.lane.pending(), 0);
}

#[test]
fn what_the_window_does_not_hold_is_refused_at_once() {
    let size = Entry::new(Instant::now(), event(), Some(0)).size;
    let mut scene = Scene::with_window(2 * size);
    scene.told(Report::Up).given([1, 2, 3]);
    assert_eq!(scene.answers(), [(3, Answer::Unavailable)]);

    let mut scene = Scene::up();
    scene
        .lane
        .give(scene.now, event(), 4, size - 1, &mut scene.steps);
    let answers = scene.answers();
    assert_eq!(
        answers,
        [(4, Answer::Unavailable)],
        "nor what the broker's window does not hold"
    );
}

#[test]
fn rounds_without_a_failure_are_one_attempt() {
    let mut scene = Scene::up();
    let first = scene.given([1]).handed_over();
    for _ in 0..=u32::from(u16::MAX) {
        scene.advanced();
    }
    let second = scene.given([2]).handed_over();
    assert_eq!(second[0].attempt, first[0].attempt);
    scene.confirm(&first[0]).confirm(&second[0]);
    assert_eq!(scene.lane.pending(), 0);
}

#[test]
fn a_silent_broker_is_trouble_that_is_told() {
    let mut scene = Scene::up();
    let handed = scene.given([1]).handed_over();
    scene.after(DEADLINE);
    let told = |scene: &Scene, begins: &str| {
        scene
            .steps
            .notices
            .iter()
            .any(|n| format!("{n:?}").starts_with(begins))
    };
    assert!(told(&scene, "TroubleBegan") && told(&scene, "Failed(Timeout)"));
    assert!(!told(&scene, "TroubleEnded"));
    scene.confirm(&handed[0]);
    assert!(told(&scene, "TroubleEnded"));
}

#[test]
fn an_event_that_waits_for_the_dead_letters_stops_nobody() {
    let mut scene = Scene::up();
    scene.max_envelope = Some(100);
    scene.given([1]).after(DEADLINE);
    assert_eq!(scene.answers(), [(1, Answer::Unavailable)]);
    assert_eq!(scene.lane.outage(scene.now), None);
}

/// Events of the backlog that are read back, so many, under the next numbers.
fn read_back(scene: &mut Scene, events: u64) {
    let from = scene.lane.on_disk_alone().start;
    let loaded = Loaded {
        events: (from..from + events)
            .map(|number| (number, event(), Duration::ZERO))
            .collect(),
        lost: 0,
        through: from + events,
    };
    scene.steps.load = None;
    scene.lane.loaded(scene.now, loaded, &mut scene.steps);
    scene.advanced();
}

#[test]
fn a_backlog_goes_on_behind_events_that_wait_for_the_dead_letters() {
    let mut scene = Scene::with_backlog(12);
    scene.told(Report::Up);
    read_back(&mut scene, 3);
    // They are handed over alone, and refused for what they are.
    while let [handed] = scene.handed_over().as_slice() {
        scene.fail(handed, Class::DeadLetter, Reason::Rejected);
    }
    let condemned = std::mem::take(&mut scene.steps.dead_letters);
    assert_eq!(condemned.len(), 3);
    for condemned in condemned {
        let now = scene.now;
        scene
            .lane
            .dead_lettered(now, condemned, false, &mut scene.steps);
    }
    for events in [1, 8] {
        scene.advanced();
        assert!(scene.steps.load.is_some(), "the lane reads on");
        read_back(&mut scene, events);
        while let handed = scene.handed_over()
            && !handed.is_empty()
        {
            for handed in &handed {
                scene.confirm(handed);
            }
        }
    }
    assert_eq!(scene.lane.pending(), 3);
    assert_eq!(scene.lane.mark(), 0, "the spool keeps what is not done");
}

#[test]
fn what_waits_for_the_dead_letters_is_bounded_by_the_window() {
    let window = 64 * 1024;
    let mut scene = Scene::with(
        window,
        Some(Backlog {
            first: 0,
            next: u64::MAX / 2,
        }),
    );
    scene.max_envelope = Some(100);
    scene.told(Report::Up);
    while scene.steps.load.is_some() {
        read_back(&mut scene, 1);
        assert!(
            scene.lane.size() < window + 8 * 1024,
            "{}",
            scene.lane.size()
        );
    }
    assert!(scene.lane.size() >= window);
    scene.room = 0;
    assert!(scene.advanced().steps.load.is_none());
}

#[test]
fn the_silence_of_a_broker_begins_anew_with_each_confirm() {
    let mut scene = Scene::up();
    assert_eq!(scene.lane.silence(scene.now), None);
    scene.given([1, 2]);
    let on_their_way = scene.handed_over();
    let moment = Duration::from_millis(10);
    scene.after(moment);
    assert_eq!(scene.lane.silence(scene.now), Some(moment));
    scene.confirm(&on_their_way[0]);
    assert_eq!(scene.lane.silence(scene.now), Some(Duration::ZERO));
    scene.confirm(&on_their_way[1]);
    assert_eq!(scene.lane.silence(scene.now), None);
}

#[test]
fn one_event_of_a_key_at_a_time_is_handed_over_where_that_is_asked_for() {
    let mut scene = Scene::up();
    scene.lane.limit_per_key(PerKey::One);
    for (ticket, key) in (1..).zip(["a", "a", "b", "a", "c", "b"]) {
        scene.lane.give(
            scene.now,
            event_of(key),
            ticket,
            usize::MAX,
            &mut scene.steps,
        );
    }
    let first = scene.advanced().handed_over();
    let seqs = |handed: &[Handover]| handed.iter().map(|h| h.seq).collect::<Vec<_>>();
    assert_eq!(seqs(&first), [0, 2, 4]);
    let second = scene.confirm(&first[1]).handed_over();
    assert_eq!(seqs(&second), [5]);
    let third = scene.confirm(&first[0]).handed_over();
    assert_eq!(seqs(&third), [1]);
    scene.confirm(&second[0]).confirm(&first[2]);
    assert!(scene.handed_over().is_empty(), "the last waits for its key");
    assert_eq!(scene.confirm(&third[0]).handed_over_seqs(), [3]);
}

#[test]
fn no_event_is_handed_over_behind_one_of_its_key_that_was_answered_and_is_not_confirmed() {
    let mut scene = Scene::with_backlog(0);
    scene.lane.limit_per_key(PerKey::NoneBehindAnswered);
    scene.told(Report::Up);
    let give = |scene: &mut Scene, ticket, key| {
        let (now, steps) = (scene.now, &mut scene.steps);
        scene
            .lane
            .give(now, event_of(key), ticket, usize::MAX, steps);
        scene.advanced();
    };
    give(&mut scene, 1, "a");
    give(&mut scene, 2, "a");
    let unanswered = scene.handed_over();
    assert_eq!(unanswered.len(), 2, "no order is promised between them");

    scene.after(PATIENCE);
    let upto = scene.steps.append.drain(..).count() as u64;
    scene.lane.appended(scene.now, upto, None, &mut scene.steps);
    assert_eq!(
        scene.answers(),
        [(1, Answer::Spooled), (2, Answer::Spooled)]
    );
    give(&mut scene, 3, "a");
    give(&mut scene, 4, "b");
    give(&mut scene, 5, "b");
    assert_eq!(scene.handed_over_seqs(), [3, 4], "only a's events wait");
    scene.confirm(&unanswered[0]);
    assert!(scene.handed_over().is_empty(), "one of a's is on its way");
    scene.confirm(&unanswered[1]);
    assert_eq!(scene.handed_over_seqs(), [2]);
}

#[test]
fn a_refused_event_is_tried_alone_without_a_rest_and_its_neighbours_go_on() {
    let mut scene = Scene::up();
    scene.lane.limit_per_key(PerKey::One);
    for (ticket, key) in (1..).zip(["a", "b", "c"]) {
        scene.lane.give(
            scene.now,
            event_of(key),
            ticket,
            usize::MAX,
            &mut scene.steps,
        );
    }
    let handed = scene.advanced().handed_over();
    scene
        .fail(&handed[0], Class::Requeue, Reason::Rejected)
        .fail(&handed[1], Class::DeadLetter, Reason::Rejected)
        .fail(&handed[2], Class::Requeue, Reason::Rejected);
    let alone = scene.handed_over();
    assert_eq!(alone.iter().map(|h| h.seq).collect::<Vec<_>>(), [1]);
    scene.fail(&alone[0], Class::DeadLetter, Reason::Rejected);
    assert_eq!(scene.steps.dead_letters.len(), 1);
    assert_eq!(scene.handed_over_seqs(), [0, 2], "at the same moment");
    assert_eq!(scene.lane.outage(scene.now), None);
    let told = format!("{:?}", scene.steps.notices);
    assert!(!told.contains("TroubleBegan"), "{told}");
}

#[test]
fn an_event_that_is_refused_while_no_other_is_in_flight_is_a_dead_letter_at_once() {
    let mut scene = Scene::up();
    let handed = scene.given([1]).handed_over();
    scene.fail(&handed[0], Class::DeadLetter, Reason::TooLarge);
    assert_eq!(scene.steps.dead_letters.len(), 1);
    let next = scene.given([2]).handed_over();
    assert_ne!(next[0].attempt, handed[0].attempt);
}

#[test]
fn a_lane_that_stops_while_its_disk_is_slow_does_not_wake_for_nothing() {
    let mut scene = Scene::with_backlog(0);
    scene.given([1, 2]).told(Report::Up);
    let probe = scene.handed_over();
    scene.fail(&probe[0], Class::Retry, Reason::NotLeader);
    scene.lane.stop(scene.now + DEADLINE);
    scene.after(PATIENCE);
    assert_eq!(scene.steps.append.len(), 2, "both go to the spool");
    scene.after(PATIENCE);
    let wakes_at = scene.lane.wakes_at().expect("it ends at some time");
    assert!(wakes_at > scene.now);
}

#[test]
fn an_event_that_waits_for_another_of_its_key_does_not_keep_the_lane_awake() {
    let mut scene = Scene::up();
    scene.lane.limit_per_key(PerKey::One);
    for ticket in [1, 2] {
        let (now, steps) = (scene.now, &mut scene.steps);
        scene
            .lane
            .give(now, event_of("a"), ticket, usize::MAX, steps);
    }
    assert_eq!(scene.advanced().handed_over_seqs(), [0]);
    scene.after(PATIENCE);
    let wakes_at = scene.lane.wakes_at().expect("the events have a deadline");
    assert!(wakes_at > scene.now);
}
