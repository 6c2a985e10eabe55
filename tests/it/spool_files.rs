//! The files of a spool: damaged, cut, removed or replaced, of an earlier release, of somebody else, or very many.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::command::{Ran, configure, run};
use crate::payload::{message, sample};
use crate::process::{Process, await_some};
use crate::spool_commands::{AWAY, MESSAGES, segment, spooled};

/// Where the first record stands.
const HEADER: usize = 8192;
/// The header of the first version, and each copy in the second.
const PAGE: usize = 4096;
/// Only files, the first of which is a full disk: what goes there waits in the spool.
const FILE: &str = "data/events/minchat.message.sent.v1.ndjson";

fn ids(ran: &Ran) -> Vec<String> {
    let envelopes = ran.json();
    let ids = envelopes.iter().map(|envelope| envelope["id"].as_str());
    ids.map(|id| id.expect("every envelope has an id").to_owned())
        .collect()
}

fn export(dir: &Path, code: i32) -> Vec<String> {
    ids(&run(dir, &["spool", "export"]).with(code))
}

/// What a bridge leaves that stopped with so many messages in its spool: its directory, and their ids.
fn left(count: usize) -> (Arc<TempDir>, Vec<String>) {
    let mut bridge = Process::start(AWAY);
    let posted = spooled(&bridge, count);
    bridge.stop();
    (bridge.dir(), posted)
}

/// Every file below a directory, with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("it can be read").path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => drop(all.insert(path.clone(), fs::read(&path).expect("it is there"))),
        }
    }
    all
}

#[test]
fn row_49_what_the_bridge_did_not_make_stays_as_it_is() {
    let (dir, _) = left(2);
    let dir = dir.path();
    let spool = dir.join("data/spool");
    let queue = segment(dir).parent().expect("it is in a queue").to_owned();
    let elsewhere = dir.join("elsewhere");
    let mut foreign = vec![
        spool.join("notes.txt"),
        spool.join("photos/cat.jpg"),
        spool.join("events/minchat.message.sent.v1.ndjson"),
        spool.join("archive/00000000000000000000.seg"),
        spool.join("archive/mark"),
        // The form of a queue's name, and nothing else of one.
        spool.join("kafka-archive-deadbeef/00000000000000000000.seg"),
        spool.join("kafka-archive-deadbeef/mark"),
        spool.join("kafka-archive-deadbeef/notes.txt"),
        elsewhere.join("00000000000000000000.seg"),
        queue.join("notes.txt"),
        queue.join("photos/cat.jpg"),
        queue.join("0.seg"),
        queue.join("00000000000000000000.seg.bak"),
    ];
    // A queue that somebody copied.
    foreign.push(spool.join("kafka-copy-0badcafe/00000000000000000000.seg"));
    for path in &foreign {
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("there is room");
        fs::write(path, "mine").expect("there is room");
    }
    let copied = foreign.last().expect("it was just put there");
    fs::copy(segment(dir), copied).expect("there is room");
    symlink(&elsewhere, spool.join("kafka-linked-deadbeef")).expect("there is room");
    fs::create_dir(spool.join("empty")).expect("there is room");
    let before: Vec<_> = foreign.iter().map(|path| fs::read(path).ok()).collect();
    let assert_untouched = || {
        let now: Vec<_> = foreign.iter().map(|path| fs::read(path).ok()).collect();
        for ((path, before), now) in foreign.iter().zip(&before).zip(now) {
            assert!(now == *before, "{} was touched", path.display());
        }
        assert!(spool.join("empty").is_dir());
        assert!(spool.join("kafka-linked-deadbeef").is_symlink());
    };
    let drain = ["spool", "drain", "--timeout", "100ms"];
    run(dir, &drain).with(69).says(&["2 are left"]);
    assert_untouched();
    let discard = ["spool", "discard", "--yes", "--destination", MESSAGES];
    run(dir, &discard).with(0).says(&["2 events"]);
    assert_untouched();
    assert!(!queue.join("mark").exists() && !queue.join("00000000000000000000.seg").exists());
    run(dir, &drain).with(0);
    assert_untouched();
}

#[test]
fn row_49_events_that_are_published_stay_beside_a_spool_that_is_started_again() {
    let mut bridge = Process::start("file: {dir: ./data/events}\nspool: {dir: ./data/spool}\n");
    bridge.await_ready();
    assert_eq!(bridge.post(sample("message-sent.current")).status, 202);
    bridge.stop();
    let events = bridge.path().join("data/events");
    let before = files(&events);
    assert_eq!(before.len(), 1);
    for (settings, wrong) in [
        ("spool: {dir: ./data}", "file.dir is inside spool.dir"),
        (
            "spool: {dir: ./data/}\nfile: {dir: data/spool/../events}",
            "file.dir is inside spool.dir",
        ),
        ("spool: {dir: .}", "file.dir is inside spool.dir"),
        ("spool: {dir: ./data/events}", "are one directory"),
        ("spool: {dir: ./link}", "are one directory"),
        (
            "spool: {dir: ./link/new/spool}",
            "spool.dir is inside file.dir",
        ),
        (
            "spool: {dir: ./new/../data/events/spool}",
            "spool.dir is inside file.dir",
        ),
        (
            "file: {dir: ./dangling/events}\nspool: {dir: ./later}",
            "file.dir is inside spool.dir",
        ),
    ] {
        let dir = bridge.path();
        let _ = symlink("data/events", dir.join("link"));
        let _ = symlink("later", dir.join("dangling"));
        configure(dir, settings);
        run(dir, &["check"])
            .with(78)
            .says(&["file.dir", "spool.dir", wrong]);
        run(dir, &["spool", "drain"]).with(78).says(&[wrong]);
        assert_eq!(files(&events), before, "{settings}");
    }
    // With the spool off, nothing is made there.
    configure(bridge.path(), "spool: {dir: ./data, max_size: 0}\n");
    run(bridge.path(), &["check"]).with(0);
}

#[test]
fn damage_in_a_segments_header_costs_no_event_and_is_counted() {
    let (dir, posted) = left(3);
    let path = segment(dir.path());
    let whole = fs::read(&path).expect("it is there");
    let flips = [0, 9, 12, 16, 24, 32, 40, 3000, PAGE, PAGE + 17, PAGE + 4000];
    for at in flips {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("it can be written");
        run(dir.path(), &["spool", "verify"])
            .with(74)
            .says(&["3 events are whole records"]);
        assert_eq!(export(dir.path(), 74), posted, "a bit at {at}");
    }
    for range in [0..PAGE, PAGE..HEADER, 0..HEADER] {
        for byte in [0, 0xff] {
            let mut bytes = whole.clone();
            bytes[range.clone()].fill(byte);
            fs::write(&path, bytes).expect("it can be written");
            assert_eq!(export(dir.path(), 74), posted, "{byte} at {range:?}");
        }
    }
    // All that the segment says of itself is gone.
    let mut bytes = whole.clone();
    bytes[..HEADER].fill(0);
    fs::write(&path, bytes).expect("it can be written");
    let mut bridge = Process::start_in(dir, AWAY);
    bridge.await_metric(&["spool_corrupt_total"], 1.0);
    bridge.await_metric(&["spool_events", "message.sent"], 3.0);
    bridge.stop();
    let dir = bridge.dir();
    assert_eq!(export(dir.path(), 74), posted);
    // Both copies, in places that are known from elsewhere.
    let mut bytes = whole.clone();
    bytes[3000] ^= 1;
    bytes[PAGE + 24] ^= 1;
    fs::write(&path, bytes).expect("it can be written");
    let mut bridge = Process::start_in(dir, AWAY);
    bridge.await_metric(&["spool_corrupt_total"], 1.0);
    let damaged = ["ERROR", "the segment's header is damaged", "\"events\":0"];
    bridge.await_log(&damaged);
    bridge.await_metric(&["spool_events", "message.sent"], 3.0);
    bridge.stop();
    assert_eq!(export(bridge.path(), 74), posted);
}

#[test]
fn what_was_set_aside_can_be_exported() {
    let (dir, posted) = left(5);
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).expect("it is there");
    let at = bytes.windows(9).position(|window| window == b"message 2");
    bytes[at.expect("a payload stands there as it is")] ^= 1;
    fs::write(&path, bytes).expect("it can be written");
    let whole = [&posted[..2], &posted[3..]].concat();
    let mut bridge = Process::start_in(dir, AWAY);
    let copied = "a copy of it as it was found is in the quarantine";
    bridge.await_log(&["ERROR", copied, "\"events\":1"]);
    bridge.stop();
    let dir = bridge.path();
    run(dir, &["spool", "verify"]).says(&["set aside", "4 events in it can be read"]);
    let verified = run(dir, &["spool", "verify", "--json"]).json();
    assert_eq!(verified[1]["destination"], MESSAGES);
    assert_eq!(verified[1]["events"], 4);
    let discard = ["spool", "discard", "--yes", "--destination", MESSAGES];
    run(dir, &discard).with(0);
    let exported = run(dir, &["spool", "export", "--quarantine"]).with(0);
    assert_eq!(ids(&exported), whole);
    let other = [
        "spool",
        "export",
        "--quarantine",
        "--destination",
        "kafka:other",
    ];
    assert_eq!(run(dir, &other).with(0).stdout, "");
}

#[test]
fn a_segment_of_which_nothing_can_be_read_is_moved_to_the_quarantine_and_the_log_says_so() {
    let (dir, _) = left(3);
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).expect("it is there");
    bytes.fill(0xff);
    fs::write(&path, &bytes).expect("it can be written");
    run(dir.path(), &["spool", "verify"]).with(74);
    let mut bridge = Process::start_in(dir, AWAY);
    bridge.await_log(&["ERROR", "nothing of this segment can be read", "quarantine"]);
    bridge.await_log(&["ERROR", "\"events\":3", "missing or can't be read"]);
    bridge.await_metric(&["spool_corrupt_total"], 1.0);
    spooled(&bridge, 1);
    bridge.stop();
    let dir = bridge.path();
    run(dir, &["spool", "verify"])
        .with(0)
        .says(&["set aside", "0 events in it can be read"]);
    let kept = files(&dir.join("data/spool/quarantine"));
    assert!(kept.values().any(|kept| *kept == bytes), "as it was");
}

#[test]
fn a_last_segment_that_was_cut_or_removed_between_two_runs_is_told_and_counted() {
    for removed in [false, true] {
        let (dir, posted) = left(5);
        let path = segment(dir.path());
        let mut bytes = fs::read(&path).expect("it is there");
        let at = bytes.windows(9).position(|window| window == b"message 3");
        bytes.truncate(at.expect("a payload stands there as it is"));
        match removed {
            true => fs::remove_file(&path).expect("it is there"),
            false => fs::write(&path, bytes).expect("it can be written"),
        }
        let (kept, missing) = if removed { (0, "5") } else { (3, "2") };
        run(dir.path(), &["spool", "verify"])
            .with(74)
            .says(&[&format!("{missing} more are missing")]);
        assert_eq!(export(dir.path(), 74), posted[..kept]);
        let mut bridge = Process::start_in(dir, AWAY);
        bridge.await_log(&["ERROR", "the spool", &format!("\"events\":{missing}")]);
        bridge.await_metric(&["spool_corrupt_total"], 1.0);
        let more = spooled(&bridge, 1);
        bridge.stop();
        let exported = ids(&run(bridge.path(), &["spool", "export"]));
        assert_eq!(exported, [&posted[..kept], &more].concat());
    }
}

#[test]
fn a_killed_bridge_leaves_as_much_to_tell_by_as_one_that_stopped() {
    let mut bridge = Process::start(AWAY);
    let posted = spooled(&bridge, 5);
    bridge.kill();
    let path = segment(bridge.path());
    let mut bytes = fs::read(&path).expect("it is there");
    let at = bytes.windows(9).position(|window| window == b"message 4");
    bytes.truncate(at.expect("a payload stands there as it is"));
    fs::write(&path, bytes).expect("it can be written");
    run(bridge.path(), &["spool", "verify"])
        .with(74)
        .says(&["1 more are missing"]);
    assert_eq!(export(bridge.path(), 74), posted[..4]);
}

/// The records of a segment, each whole, with its number.
fn records(segment: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut at = HEADER;
    loop {
        let word = segment
            .get(at..at + 4)
            .and_then(|word| word.try_into().ok());
        let length = u32::from_le_bytes(word.unwrap_or_default()) & !(1 << 31);
        if length == 0 {
            return all;
        }
        let whole = (24 + length as usize).next_multiple_of(8);
        let number = segment[at + 8..at + 16].try_into().expect("eight bytes");
        all.push((u64::from_le_bytes(number), segment[at..at + whole].to_vec()));
        at += whole;
    }
}

/// A segment as earlier releases wrote it, with one record that has another number in another segment.
fn of_the_first_version(segment: &[u8], first: u64, records: &[&[u8]]) -> Vec<u8> {
    let mut page = segment[..PAGE].to_vec();
    page[8..12].copy_from_slice(&1_u32.to_le_bytes());
    page[24..32].copy_from_slice(&first.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&page[..12]), &page[16..]);
    page[12..16].copy_from_slice(&sum.to_le_bytes());
    let salt = page[16..24].to_vec();
    for (number, record) in (first..).zip(records) {
        let mut record = record.to_vec();
        record[8..16].copy_from_slice(&number.to_le_bytes());
        let length = u32::from_le_bytes(record[..4].try_into().expect("four bytes"));
        let end = 24 + (length & !(1 << 31)) as usize;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&salt), &length.to_le_bytes());
        let sum = crc32c::crc32c_append(sum, &record[8..end]);
        record[4..8].copy_from_slice(&sum.to_le_bytes());
        page.extend_from_slice(&record);
    }
    page
}

/// The whole lines of the file that events go to. The last one may be being written.
fn published(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join(FILE)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| {
        let envelope: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        envelope["id"].as_str().expect("it has an id").to_owned()
    });
    lines.collect()
}

/// The directory of a bridge whose events wait for a file that can't be written to: a link to a disk that is always full.
fn waiting_for_a_file(count: usize) -> (Arc<TempDir>, Vec<String>) {
    let dir = Arc::new(tempfile::tempdir().expect("a directory can be made"));
    fs::create_dir_all(dir.path().join("data/events")).expect("there is room");
    symlink("/dev/full", dir.path().join(FILE)).expect("there is room");
    let mut bridge = Process::start_in(dir, "publish: {spool_after: 20ms}\n");
    let posted = spooled(&bridge, count);
    bridge.stop();
    let dir = bridge.dir();
    fs::remove_file(dir.path().join(FILE)).expect("the link is there");
    (dir, posted)
}

/// The only segment of the only queue.
fn file_segment(dir: &Path) -> PathBuf {
    let spool = files(&dir.join("data/spool"));
    let mut segments = spool
        .into_keys()
        .filter(|path| path.extension().is_some_and(|it| it == "seg"));
    segments.next().expect("there is one")
}

#[test]
fn a_spool_of_an_earlier_release_is_read_verified_and_published() {
    let (dir, posted) = waiting_for_a_file(4);
    let path = file_segment(dir.path());
    let bytes = fs::read(&path).expect("it is there");
    let all = records(&bytes);
    let all: Vec<&[u8]> = all.iter().map(|(_, record)| record.as_slice()).collect();
    let mut old = of_the_first_version(&bytes, 0, &all);
    // An unused byte of the only copy of its header.
    old[4000] ^= 1;
    fs::write(&path, &old).expect("it can be written");
    let mark = path.with_file_name("mark");
    let mut marks = fs::read(&mark).expect("it is there");
    marks.truncate(2 * PAGE);
    fs::write(&mark, marks).expect("it can be written");
    configure(dir.path(), "{}\n");
    assert_eq!(export(dir.path(), 74), posted);
    old[4000] ^= 1;
    fs::write(&path, old).expect("it can be written");
    run(dir.path(), &["spool", "verify"])
        .with(0)
        .says(&["whole, 4 events in 1 segments"]);
    assert_eq!(export(dir.path(), 0), posted);
    let mut bridge = Process::start_in(dir, "{}\n");
    await_some("all of them", || {
        (published(bridge.path()) == posted).then_some(())
    });
    bridge.await_metric(&["spool_events"], 0.0);
    bridge.stop();
}

#[test]
fn thousands_of_segments_are_published_with_a_thousand_open_files() {
    const SEGMENTS: u64 = 2000;
    let (dir, posted) = waiting_for_a_file(1);
    let path = file_segment(dir.path());
    let bytes = fs::read(&path).expect("it is there");
    let all = records(&bytes);
    for first in 0..SEGMENTS {
        let segment = of_the_first_version(&bytes, first, &[&all[0].1]);
        let path = path.with_file_name(format!("{first:020}.seg"));
        fs::write(path, segment).expect("there is room");
    }
    let limited = |program: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 1024 && exec \"$@\"", "sh", program]);
        command
    };
    let mut bridge = Process::start_by(dir, "{}\n", limited);
    let count = SEGMENTS as usize;
    await_some("all of them", || {
        (published(bridge.path()).len() >= count).then_some(())
    });
    assert!(published(bridge.path()).iter().all(|id| *id == posted[0]));
    bridge.await_metric(&["spool_events"], 0.0);
    bridge.assert_the_books_balance();
    bridge.stop();
}

#[test]
fn row_54_nothing_is_spooled_into_a_directory_that_lost_its_name() {
    let settings = AWAY.replace("{spool_after: 20ms}", "{spool_after: 20ms, deadline: 1s}");
    let mut bridge = Process::start(&settings);
    let mut posted = spooled(&bridge, 2);
    let (spool, moved) = (
        bridge.path().join("data/spool"),
        bridge.path().join("moved"),
    );
    let refused = |why: &str| {
        let posted = bridge.post(&crate::payload::message("c1", "refused"));
        assert_eq!(posted.status, 503, "{:?}", posted.json);
        bridge.await_log(&["ERROR", "the spool takes no more events", why]);
    };
    fs::rename(&spool, &moved).expect("it is there");
    refused("data/spool is gone");
    assert!(!spool.exists(), "nothing is made in its place");
    fs::create_dir(&spool).expect("there is room");
    fs::write(spool.join("notes.txt"), "mine").expect("there is room");
    refused("data/spool is gone");
    bridge.await_log(&["WARN", "data/spool is another directory than at the start"]);
    assert_eq!(files(&spool).len(), 1, "nothing is put there");
    fs::remove_file(spool.join("notes.txt")).expect("it is there");
    fs::remove_dir(&spool).expect("it is there");
    fs::rename(&moved, &spool).expect("it is there");
    let back = await_some("a 202", || {
        let posted = bridge.post(&crate::payload::message("c1", "after"));
        (posted.status == 202).then_some(posted)
    });
    posted.push(back.json["id"].as_str().expect("it has an id").to_owned());
    bridge.stop();
    let exported = export(bridge.path(), 0);
    assert!(
        posted.iter().all(|id| exported.contains(id)),
        "{posted:?} {exported:?}"
    );
}

#[test]
fn row_54_a_queue_whose_files_were_removed_is_made_again_before_anything_is_answered() {
    let mut bridge = Process::start(AWAY);
    for what in ["the directory", "the segment", "a replaced segment"] {
        spooled(&bridge, 2);
        let path = await_some("a segment", || {
            let mut all = files(&bridge.path().join("data/spool")).into_keys();
            all.rfind(|path| path.extension().is_some_and(|it| it == "seg"))
        });
        match what {
            "the directory" => {
                fs::remove_dir_all(path.parent().expect("it is in a queue")).expect("it is there");
            }
            "the segment" => fs::remove_file(&path).expect("it is there"),
            _ => {
                let copy = path.with_extension("copy");
                fs::copy(&path, &copy).expect("there is room");
                fs::rename(&copy, &path).expect("it is there");
            }
        }
        // The sync that finds it is refused, and the event waits for the next one.
        let posted = await_some("a 202", || {
            let posted = bridge.post(&crate::payload::message("c1", "after"));
            (posted.status == 202).then_some(posted)
        });
        let id = posted.json["id"].as_str().expect("it has an id");
        let exported = ids(&run(bridge.path(), &["spool", "export"]));
        assert!(
            exported.iter().any(|exported| exported == id),
            "{what}: {exported:?}"
        );
    }
    bridge.stop();
}

#[test]
fn what_is_set_aside_counts_in_the_size_of_the_spool() {
    let (dir, _) = left(1);
    let settings = format!("{AWAY}spool: {{max_size: 64MiB}}\n")
        .replace("{spool_after: 20ms}", "{spool_after: 20ms, deadline: 1s}");
    for directory in ["quarantine", "dead-letters"] {
        let directory = dir.path().join("data/spool").join(directory);
        fs::create_dir_all(&directory).expect("there is room");
        let large = directory.join("large");
        let file = fs::File::create(&large).expect("there is room");
        file.set_len(64 << 20).expect("it takes no room");
        let mut bridge = Process::start_in(Arc::clone(&dir), &settings);
        let posted = bridge.post(&crate::payload::message("c1", "refused"));
        assert_eq!(posted.status, 503, "{:?}", posted.json);
        bridge.await_log(&["ERROR", "spool.max_size is reached"]);
        fs::remove_file(&large).expect("it is there");
        await_some("a 202", || {
            let posted = bridge.post(&crate::payload::message("c1", "after"));
            (posted.status == 202).then_some(())
        });
        bridge.stop();
    }
}

/// Asserts for this long that nothing but the first destination is not ready, and for both of these reasons.
fn assert_not_ready(bridge: &Process, within: Duration, why: &str) {
    let began = Instant::now();
    while began.elapsed() < within {
        let (status, text) = bridge.ask("/readyz");
        let failed = "[-]kafka:minchat.message.sent.v1 failed: ";
        let line = text.lines().find(|line| line.starts_with(failed));
        let line = line.unwrap_or_else(|| panic!("{status} {text}"));
        assert_eq!(status, 503, "{text}");
        let (broker, spool) = line[failed.len()..].split_once("; ").expect("two reasons");
        assert!(!broker.is_empty() && !broker.contains("spool"), "{line}");
        assert!(spool.contains(why), "{line}");
    }
}

#[test]
fn a_destination_is_not_ready_while_neither_its_broker_nor_the_spool_takes_events() {
    // The spool is tried again after a second at the latest.
    const LONG: Duration = Duration::from_secs(3);
    let settings = AWAY.replace("spool_after: 20ms", "spool_after: 20ms, deadline: 1s");
    let bridge = Process::start(&format!("{settings}spool: {{max_size: 64MiB}}\n"));
    bridge.await_ready();
    let large = message("c1", &"x".repeat(400_000));
    await_some("a refusal", || {
        (bridge.post(&large).status == 503).then_some(())
    });
    assert_not_ready(
        &bridge,
        LONG,
        "the spool is full: this destination holds half of spool.max_size",
    );
    let (_, text) = bridge.ask("/readyz");
    assert!(
        text.contains("[+]kafka:minchat.user.daily-active.v1 ok: takes events into the spool: "),
        "{text}"
    );
    // Less is taken.
    assert_eq!(bridge.post(&message("c1", "short")).status, 202);
    await_some("readiness", || {
        (bridge.ask("/readyz").0 == 200).then_some(())
    });

    let (spool, aside) = (
        bridge.path().join("data/spool"),
        bridge.path().join("data/aside"),
    );
    fs::rename(&spool, &aside).expect("it is there");
    await_some("unreadiness without a webhook", || {
        let failed = format!("[-]{MESSAGES} failed: ");
        bridge.ask("/readyz").1.contains(&failed).then_some(())
    });
    assert_not_ready(&bridge, LONG, "the spool's disk fails: ");
    assert_eq!(bridge.post(&message("c1", "short")).status, 503);
    assert_not_ready(&bridge, LONG, "the spool's disk fails: ");
    fs::rename(&aside, &spool).expect("it is there");
    await_some("readiness without a webhook", || {
        (bridge.ask("/readyz").0 == 200).then_some(())
    });
    assert_eq!(bridge.post(&message("c1", "short")).status, 202);
    bridge.assert_the_books_balance();
}

#[test]
fn a_bridge_that_starts_without_broker_and_without_room_is_not_ready_before_the_first_webhook() {
    let dir = Arc::new(tempfile::tempdir().expect("a directory can be made"));
    let letters = dir.path().join("data/spool/dead-letters");
    fs::create_dir_all(&letters).expect("there is room");
    let letter = fs::File::create(letters.join("letter.json")).expect("there is room");
    letter.set_len(64 << 20).expect("it takes up nothing");
    let bridge = Process::start_in(dir, &format!("{AWAY}spool: {{max_size: 64MiB}}\n"));
    await_some("the reason", || {
        let (_, text) = bridge.ask("/readyz");
        text.contains("; the spool is full: ").then_some(())
    });
    let full = "the spool is full: spool.max_size is reached";
    assert_not_ready(&bridge, Duration::from_secs(2), full);
    assert_eq!(bridge.post(&message("c1", "refused")).status, 503);
    assert_not_ready(&bridge, Duration::from_secs(2), full);
}
