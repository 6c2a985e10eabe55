//! How a lane ends.

use super::*;

const A_SECOND: Duration = Duration::from_secs(1);

/// A lane with an empty spool and an event that failed, so that it waits for the next attempt.
fn resting() -> Scene {
    let mut scene = Scene::with_backlog(0);
    let handed = scene.told(Report::Up).given([1]).handed_over();
    scene.fail(&handed[0], Class::Retry, Reason::NotLeader);
    scene
}

#[test]
fn a_lane_without_a_spool_ends_when_all_are_answered_or_its_time_is_over() {
    let mut scene = Scene::up();
    let handed = scene.given([1]).handed_over();
    assert!(!scene.lane.is_finished(scene.now), "nobody stops it");
    scene.lane.stop(scene.now + A_SECOND);
    assert!(!scene.lane.is_finished(scene.now));
    assert!(scene.lane.is_finished(scene.now + A_SECOND));
    scene.confirm(&handed[0]);
    assert!(scene.lane.is_finished(scene.now));
}

#[test]
fn a_lane_with_a_spool_ends_at_once_when_all_is_confirmed() {
    let mut scene = Scene::with_backlog(0);
    let handed = scene.told(Report::Up).given([1]).handed_over();
    scene.lane.stop(scene.now + A_SECOND);
    assert!(!scene.lane.is_finished(scene.now));
    scene.confirm(&handed[0]);
    assert!(scene.lane.is_finished(scene.now));
}

#[test]
fn what_the_spool_has_and_the_broker_may_still_confirm_is_waited_for_until_the_time_is_over() {
    let mut scene = Scene::with_backlog(0);
    scene.told(Report::Up).given([1]);
    let until = scene.now + A_SECOND;
    scene.lane.stop(until);
    scene.after(PATIENCE);
    assert!(!scene.lane.is_finished(until), "it is being appended");
    scene.append_ends(1, None);
    assert!(!scene.lane.is_finished(scene.now));
    assert!(scene.lane.is_finished(until));
    scene.told(Report::Down(failure(Class::Retry, Reason::Disconnected)));
    assert!(scene.lane.is_finished(scene.now), "no confirm will come");
}

#[test]
fn a_lane_does_not_end_before_the_spool_has_its_events_or_takes_none() {
    let mut scene = resting();
    let until = scene.now + A_SECOND;
    scene.lane.stop(until);
    assert!(!scene.lane.is_finished(scene.now));
    assert!(!scene.lane.is_finished(until));
    scene.now = until;
    scene.advanced();
    let full = Refusal::Full("of something else".to_owned());
    scene.append_ends(0, Some(full));
    assert!(scene.lane.is_finished(until));
}

#[test]
fn a_lane_that_stops_still_tries_what_only_it_has() {
    let mut scene = resting();
    scene.lane.stop(scene.now + 60 * A_SECOND);
    assert_eq!(scene.until_it_wakes().handed_over_seqs(), [0]);
}

#[test]
fn a_lane_that_stops_hands_over_nothing_that_the_spool_has() {
    let mut scene = Scene::with_backlog(1);
    scene.told(Report::Up);
    scene.lane.stop(scene.now + A_SECOND);
    read_back(&mut scene, 1);
    assert!(scene.handed_over().is_empty());
}

#[test]
fn a_lane_that_stops_leaves_all_to_the_spool_once_something_stands_behind_the_line() {
    let mut scene = resting();
    scene.lane.stop(scene.now + 60 * A_SECOND);
    let (now, steps) = (scene.now, &mut scene.steps);
    scene.lane.give(now, event(), 2, 0, steps);
    assert!(scene.until_it_wakes().handed_over().is_empty());
    assert_eq!(scene.steps.append.len(), 2);
}

#[test]
fn a_lane_whose_time_is_over_leaves_all_to_the_spool() {
    let mut scene = Scene::with_backlog(0);
    scene.told(Report::Up);
    let (now, steps) = (scene.now, &mut scene.steps);
    scene.lane.give(now, event(), 1, usize::MAX, steps);
    scene.lane.stop(now);
    assert!(scene.advanced().handed_over().is_empty());
    assert_eq!(scene.steps.append.len(), 1);
}
