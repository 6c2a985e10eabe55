//! Which events are handed over, and when.

use super::*;

#[test]
fn whether_the_broker_is_reached_is_not_known_before_its_publisher_says_so() {
    let mut scene = Scene::new();
    assert!(scene.lane.has_heard_nothing() && !scene.lane.reached());
    scene.told(Report::Up);
    assert!(!scene.lane.has_heard_nothing() && scene.lane.reached());
    scene.told(Report::Down(failure(Class::Retry, Reason::Disconnected)));
    assert!(!scene.lane.has_heard_nothing() && !scene.lane.reached());
}

#[test]
fn why_a_broker_is_out_of_reach_is_counted_once_for_each_reason() {
    let mut scene = Scene::up();
    for (reason, counts) in [
        (Reason::Disconnected, 1),
        (Reason::Disconnected, 0),
        (Reason::Unauthorized, 1),
    ] {
        scene.steps.notices.clear();
        scene.told(Report::Down(failure(Class::Operator, reason)));
        let is_count = |notice: &&Notice| matches!(notice, Notice::Failed(it) if *it == reason);
        let counted = scene.steps.notices.iter().filter(is_count).count();
        assert_eq!(counted, counts, "{reason:?}");
    }
}

#[test]
fn a_body_that_is_no_event_is_counted_when_a_lane_takes_its_dead_letter() {
    let body = b"{";
    let why = crate::minchat::read(body, None).expect_err("it ends too early");
    let letter = sealed::sealer().dead_letter(&sealed::received(body), &why);
    let letter = Arc::new(letter);
    let mut scene = Scene::up();
    let (now, steps) = (scene.now, &mut scene.steps);
    scene.lane.give(now, letter, 1, usize::MAX, steps);
    scene.lane.give(now, event(), 2, usize::MAX, steps);
    let taken = scene
        .steps
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Taken(reason) => Some(*reason),
            _ => None,
        });
    let taken: Vec<_> = taken.collect();
    assert_eq!(taken, [Some(DeadLetterReason::MalformedJson), None]);
}

#[test]
fn a_report_on_an_event_that_the_lane_never_had_changes_nothing() {
    let mut scene = Scene::up();
    let handed = scene.given([1]).handed_over();
    let (seq, attempt) = (handed[0].seq + 1, handed[0].attempt);
    scene.told(Report::Confirmed { seq, attempt });
    assert_eq!(scene.lane.pending(), 1);
}

#[test]
fn an_envelope_of_the_longest_length_that_the_destination_takes_is_handed_over() {
    let length = event().envelope().len();
    for (longest, is_taken) in [(length, true), (length - 1, false)] {
        let mut scene = Scene::up();
        scene.max_envelope = Some(longest);
        assert_eq!(scene.given([1]).handed_over().len(), usize::from(is_taken));
    }
}

#[test]
fn however_many_events_wait_all_are_handed_over_at_once_where_no_key_has_to_wait() {
    for per_key in [PerKey::Any, PerKey::NoneBehindAnswered] {
        let mut scene = Scene::with_window(64 * 1024 * 1024);
        scene.lane.limit_per_key(per_key);
        let event = event();
        for ticket in 0..1500 {
            let (now, steps) = (scene.now, &mut scene.steps);
            let event = Arc::clone(&event);
            scene.lane.give(now, event, ticket, usize::MAX, steps);
        }
        // The first one tries the broker.
        let probe = scene.told(Report::Up).handed_over();
        assert_eq!(scene.confirm(&probe[0]).handed_over().len(), 1499);
    }
}

#[test]
fn where_any_number_of_a_key_may_be_on_their_way_none_waits_for_one_that_was_answered() {
    let mut scene = Scene::with_backlog(0);
    scene.told(Report::Up).given([1]).after(PATIENCE);
    scene.append_ends(1, None);
    assert_eq!(scene.answers(), [(1, Answer::Spooled)]);
    assert_eq!(scene.given([2]).handed_over_seqs(), [0, 1]);
}

#[test]
fn while_one_event_tries_the_broker_no_other_is_handed_over() {
    let mut scene = Scene::up();
    let handed = scene.given([1, 2]).handed_over();
    for handover in &handed {
        scene.fail(handover, Class::Retry, Reason::NotLeader);
    }
    assert_eq!(scene.until_it_wakes().handed_over_seqs(), [0]);
    scene.after(Duration::from_millis(1));
    scene.after(Duration::from_millis(1));
    assert!(scene.handed_over().is_empty());
}

#[test]
fn events_that_only_failed_with_others_go_on_at_once_where_each_key_has_one_on_its_way() {
    let mut scene = Scene::up();
    scene.lane.limit_per_key(PerKey::One);
    for (ticket, key) in (1..).zip(["a", "b", "c"]) {
        let (now, steps) = (scene.now, &mut scene.steps);
        scene
            .lane
            .give(now, event_of(key), ticket, usize::MAX, steps);
    }
    let handed = scene.advanced().handed_over();
    for handover in &handed {
        scene.fail(handover, Class::Requeue, Reason::Rejected);
    }
    let again = scene.handed_over();
    assert_eq!(again.iter().map(|h| h.seq).collect::<Vec<_>>(), [0, 1, 2]);
    assert_ne!(again[0].attempt, handed[0].attempt, "a late report is told");
}
