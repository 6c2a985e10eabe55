//! What goes to the spool, what comes back, and what operators are told of it.

use super::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// While the line holds less than this, in bytes of memory, a backlog is read back however full the broker's window is.
const AHEAD: usize = 4 * MIB;

/// A lane with this window, whose broker is reached and whose backlog has no end.
fn with_a_long_backlog(window: usize) -> Scene {
    let backlog = Backlog {
        first: 0,
        next: u64::MAX / 2,
    };
    let mut scene = Scene::with(window, Some(backlog));
    scene.told(Report::Up);
    scene
}

fn size_of(event: &Arc<Event>) -> usize {
    Entry::new(Instant::now(), Arc::clone(event), Some(0)).size
}

/// An event that takes up more than one MiB of memory.
fn large_event() -> Arc<Event> {
    let text = "x".repeat(600 * KIB);
    let body = format!(r#"{{"id":"u1","username":"sam","name":"{text}"}}"#);
    Arc::new(sealed::event(&sealed::sealer(), &body))
}

/// The next event of the backlog is this one, and is read back.
fn read_one_back(scene: &mut Scene, event: &Arc<Event>, before: Duration) {
    let number = scene.lane.on_disk_alone().start;
    let loaded = Loaded {
        events: vec![(number, Arc::clone(event), before)],
        lost: 0,
        through: number + 1,
    };
    scene.lane.loaded(scene.now, loaded, &mut scene.steps);
    scene.advanced();
}

fn load_with_room(scene: &mut Scene, room: usize) -> Option<usize> {
    scene.room = room;
    scene.advanced().steps.load
}

/// What was told under these names since the last question.
fn told(scene: &mut Scene, names: &[&str]) -> Vec<String> {
    let notices = std::mem::take(&mut scene.steps.notices);
    let told = notices.iter().map(|notice| format!("{notice:?}"));
    told.filter(|notice| names.iter().any(|name| notice.starts_with(name)))
        .collect()
}

#[test]
fn an_event_is_left_alone_until_the_lane_s_patience_is_over() {
    let mut scene = Scene::with_backlog(0);
    scene.told(Report::Up).given([1]);
    let patience = scene.lane.shortest_wait();
    assert_eq!(scene.lane.wakes_at(), Some(scene.now + patience));
    scene.until_it_wakes();
    assert_eq!(scene.steps.append.len(), 1, "then it goes to the spool");
}

#[test]
fn an_event_that_is_confirmed_while_it_is_appended_counts_as_appended_and_as_drained() {
    let mut scene = Scene::with_backlog(0);
    scene.told(Report::Up).given([1]).after(PATIENCE);
    let names = ["Appended", "Drained"];
    scene.append_ends(1, None);
    assert_eq!(told(&mut scene, &names), ["Appended(1)"]);
    scene.handed_over();
    let handed = scene.given([2, 3]).handed_over();
    scene.after(PATIENCE).confirm(&handed[0]);
    scene.append_ends(3, None);
    assert_eq!(told(&mut scene, &names), ["Appended(2)", "Drained(1)"]);
    assert_eq!((scene.lane.kept(), scene.lane.pending()), (2, 2));
}

#[test]
fn an_append_that_is_refused_counts_nothing_and_its_end_is_told_once() {
    let mut scene = Scene::with_backlog(0);
    scene.told(Report::Up).given([1]).after(PATIENCE);
    let names = ["Appended", "Drained", "SpoolRefuses", "SpoolTakes"];
    for is_news in [true, false] {
        let full = Refusal::Full("of something else".to_owned());
        scene.append_ends(0, Some(full));
        assert_eq!(told(&mut scene, &names).len(), usize::from(is_news));
        assert!(!scene.lane.spool_takes(scene.now));
        scene.until_it_wakes();
        assert_eq!(scene.steps.append.len(), 1, "it is tried again");
    }
    scene.append_ends(1, None);
    assert_eq!(told(&mut scene, &names), ["Appended(1)", "SpoolTakes"]);
}

#[test]
fn one_append_is_bounded_in_bytes_and_the_next_one_takes_the_rest() {
    let mut scene = Scene::with(64 * MIB, Some(Backlog::default()));
    scene.told(Report::Up);
    let event = large_event();
    for ticket in 0..8 {
        let (now, steps) = (scene.now, &mut scene.steps);
        scene
            .lane
            .give(now, Arc::clone(&event), ticket, usize::MAX, steps);
    }
    scene.after(PATIENCE);
    let appended = scene.steps.append.len();
    let bytes = appended * size_of(&event);
    assert!((4 * MIB..4 * MIB + size_of(&event)).contains(&bytes));
    scene.append_ends(appended as u64, None);
    assert_eq!(scene.steps.append.len(), 8 - appended);
}

#[test]
fn the_spool_s_events_are_counted_whether_they_are_in_memory_too_or_not() {
    let mut scene = Scene::with_backlog(5);
    scene.told(Report::Up);
    assert_eq!(scene.lane.kept(), 5);
    assert!(scene.lane.oldest_kept().is_none());
    let event = event();
    read_one_back(&mut scene, &event, Duration::ZERO);
    read_back(&mut scene, 1);
    assert_eq!(scene.lane.kept(), 5);
    let oldest = scene.lane.oldest_kept().map(Event::id);
    assert_eq!(oldest, Some(event.id()));

    let mut scene = Scene::up();
    scene.given([1]);
    assert!(scene.lane.oldest_kept().is_none(), "it is not in the spool");
}

#[test]
fn records_that_can_not_be_read_back_are_told_and_only_those() {
    let mut scene = Scene::with_backlog(5);
    scene.told(Report::Up);
    read_back(&mut scene, 2);
    assert!(told(&mut scene, &["Lost"]).is_empty());
    let loaded = Loaded {
        events: Vec::new(),
        lost: 3,
        through: 5,
    };
    scene.lane.loaded(scene.now, loaded, &mut scene.steps);
    assert_eq!(told(&mut scene, &["Lost"]), ["Lost(3)"]);
    assert_eq!(scene.lane.pending(), 2);
}

#[test]
fn the_latency_of_an_event_that_was_read_back_counts_from_its_receipt() {
    let mut scene = Scene::with_backlog(1);
    scene.told(Report::Up);
    read_one_back(&mut scene, &event(), Duration::from_secs(3));
    let handed = scene.handed_over();
    scene.now += Duration::from_secs(1);
    scene.confirm(&handed[0]);
    let latencies = scene
        .steps
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Confirmed { latency, .. } => Some(*latency),
            _ => None,
        });
    let latencies: Vec<_> = latencies.collect();
    assert_eq!(latencies, [Duration::from_secs(4)]);
}

/// An event takes up about twice as much in memory as on disk.
#[test]
fn as_much_is_read_back_as_half_of_what_there_is_room_for_within_bounds() {
    let mut scene = with_a_long_backlog(MIB);
    assert_eq!(load_with_room(&mut scene, usize::MAX), Some(512 * KIB));
    assert_eq!(load_with_room(&mut scene, 200 * KIB), Some(100 * KIB));
    let least = load_with_room(&mut scene, 0);
    assert_eq!(least, Some(64 * KIB), "each lane gets on");
    let mut scene = with_a_long_backlog(64 * MIB);
    assert_eq!(load_with_room(&mut scene, usize::MAX), Some(MIB));
}

#[test]
fn while_events_are_in_flight_more_is_read_back_only_in_pieces_that_are_worth_it() {
    let mut scene = with_a_long_backlog(MIB);
    read_back(&mut scene, 1);
    let probe = scene.handed_over();
    scene.confirm(&probe[0]);
    read_back(&mut scene, 1);
    assert_eq!(scene.handed_over().len(), 1);
    let piece = 256 * KIB;
    assert_eq!(load_with_room(&mut scene, 2 * piece), Some(piece));
    assert_eq!(load_with_room(&mut scene, 2 * piece - 2), None);
}

#[test]
fn nothing_is_read_back_while_one_event_tries_the_broker() {
    let mut scene = with_a_long_backlog(MIB);
    read_back(&mut scene, 1);
    let probe = scene.handed_over();
    assert_eq!(scene.steps.load, None);
    scene.confirm(&probe[0]);
    assert!(scene.steps.load.is_some());
}

#[test]
fn what_waits_for_the_dead_letters_takes_no_more_than_both_windows_allow() {
    let (small, large) = (event(), large_event());
    let small_window = 2 * size_of(&small);
    let large_window = 6 * size_of(&large);
    assert!(small_window < AHEAD && AHEAD < large_window);
    for (window, event) in [(small_window, small), (large_window, large)] {
        let mut scene = with_a_long_backlog(window);
        scene.max_envelope = Some(100);
        while scene.lane.size() < window {
            let size = scene.lane.size();
            let of_full_broker = load_with_room(&mut scene, 0);
            assert_eq!(of_full_broker.is_some(), size < AHEAD, "{size}");
            let of_idle_broker = load_with_room(&mut scene, usize::MAX);
            assert!(of_idle_broker.is_some(), "{size}");
            read_one_back(&mut scene, &event, Duration::ZERO);
        }
        assert_eq!(scene.lane.size(), window);
        assert_eq!(load_with_room(&mut scene, usize::MAX), None);
        assert_eq!(load_with_room(&mut scene, 0), None);
    }
}

#[test]
fn what_came_behind_a_backlog_follows_it_without_a_way_over_the_disk() {
    let mut scene = Scene::with_backlog(1);
    scene.told(Report::Up).given([1, 2]);
    assert_eq!(scene.steps.append.len(), 2, "the disk is slow");
    read_back(&mut scene, 1);
    let probe = scene.handed_over();
    assert_eq!(probe.len(), 1);
    assert_eq!(scene.confirm(&probe[0]).handed_over_seqs(), [1, 2]);
}

#[test]
fn what_came_behind_a_backlog_follows_it_as_far_as_there_is_room() {
    let mut scene = Scene::with_backlog(1);
    scene.told(Report::Up).given([1, 2, 3]);
    let size = size_of(&event());
    scene.room = 2 * size;
    read_back(&mut scene, 1);
    assert_eq!(scene.lane.size(), (1 + 2) * size);
}

#[test]
fn what_came_behind_a_backlog_stays_out_of_the_line_of_a_lane_that_stops() {
    let mut scene = Scene::with_backlog(1);
    scene.told(Report::Up).given([1]);
    scene.lane.stop(scene.now + DEADLINE);
    read_back(&mut scene, 1);
    assert_eq!(scene.lane.size(), size_of(&event()));
}

#[test]
fn what_came_behind_a_backlog_stays_out_of_the_line_during_an_outage() {
    let mut scene = Scene::with_backlog(2);
    scene.told(Report::Up);
    read_back(&mut scene, 1);
    let probe = scene.handed_over();
    scene
        .fail(&probe[0], Class::Operator, Reason::UnknownDestination)
        .given([1])
        .after(PATIENCE);
    assert!(scene.lane.reached() && scene.lane.outage(scene.now).is_some());
    read_back(&mut scene, 1);
    assert_eq!(scene.lane.size(), 2 * size_of(&event()));
}
