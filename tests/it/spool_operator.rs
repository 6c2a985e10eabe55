//! What an operator does to a spool on a bad day: files removed, cut, overwritten or of another type, and rights taken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::command::{Ran, command, run};
use crate::payload::message;
use crate::process::{Process, await_some};
use crate::spool_commands::{AWAY, MESSAGES, segment, spooled};
use crate::spool_left::{as_nobody, home_of_nobody, refused, serve};

const DISCARD: [&str; 5] = ["spool", "discard", "--yes", "--destination", MESSAGES];

/// Where the first record of a segment stands.
const HEADER: u64 = 8192;

fn ids(ran: &Ran) -> Vec<String> {
    let envelopes = ran.json();
    let ids = envelopes.iter().map(|envelope| envelope["id"].as_str());
    ids.map(|id| id.expect("every envelope has an id").to_owned())
        .collect()
}

fn exported(dir: &Path) -> Vec<String> {
    ids(&run(dir, &["spool", "export"]))
}

/// What a bridge leaves that stopped with so many messages in its spool.
fn left(count: usize) -> (Arc<tempfile::TempDir>, Vec<String>) {
    let mut bridge = Process::start(AWAY);
    let posted = spooled(&bridge, count);
    bridge.stop();
    (bridge.dir(), posted)
}

/// Posts a message until it gets a 202. Its id.
fn accepted(bridge: &Process) -> String {
    let posted = await_some("a 202", || {
        let posted = bridge.post(&message("c1", "after"));
        (posted.status == 202).then_some(posted)
    });
    posted.json["id"].as_str().expect("it has an id").to_owned()
}

#[test]
fn who_removes_the_lock_lets_nobody_into_the_spool_of_a_running_bridge() {
    let mut bridge = Process::start(AWAY);
    let mut posted = spooled(&bridge, 2);
    let lock = bridge.path().join("data/spool/lock");
    let again = |lines: usize| {
        let told = "somebody removed or replaced the spool's lock";
        await_some("a line of the log for each time", || {
            (bridge.log().matches(told).count() == lines).then_some(())
        });
    };
    for (nth, content) in [None, Some("1\n"), Some("garbage")].into_iter().enumerate() {
        match content {
            None => fs::remove_file(&lock).expect("it is there"),
            Some(content) => {
                let other = bridge.path().join("other");
                fs::write(&other, content).expect("there is room");
                fs::rename(&other, &lock).expect("there is room");
            }
        }
        let in_use = [
            "in use by another process",
            "removing the file `lock` does not help",
        ];
        refused(serve(bridge.path())).with(74).says(&in_use);
        run(bridge.path(), &DISCARD).with(74).says(&in_use);
        run(bridge.path(), &["spool", "drain"])
            .with(74)
            .says(&in_use);
        again(nth + 1);
        if content != Some("garbage") {
            let holder = format!("in use by another process ({})", bridge.id());
            run(bridge.path(), &DISCARD).with(74).says(&[&holder]);
        }
        posted.extend(spooled(&bridge, 1));
    }
    assert_eq!(exported(bridge.path()), posted);
    bridge.stop();

    // What is no lock stays as it is, and strands no event.
    let path = bridge.path();
    assert_eq!(fs::read_to_string(&lock).expect("it is there"), "garbage");
    let way_out = [
        "this file is no lock of a spool",
        "move this file elsewhere",
    ];
    refused(serve(path)).with(74).says(&way_out);
    run(path, &DISCARD).with(74).says(&way_out);
    fs::rename(&lock, path.join("elsewhere")).expect("it is there");
    let bridge = Process::start_in(bridge.dir(), AWAY);
    bridge.await_metric(&["spool_events", "message.sent"], posted.len() as f64);
}

#[test]
fn a_file_that_is_no_lock_in_a_directory_without_a_spool_is_left_alone() {
    let (dir, _) = left(0);
    let lock = dir.path().join("data/spool/lock");
    fs::write(&lock, "garbage").expect("there is room");
    refused(serve(dir.path())).with(74).says(&[
        "this file is no lock of a spool; choose another directory for spool.dir",
        &lock.display().to_string(),
    ]);
    assert_eq!(fs::read_to_string(&lock).expect("it is there"), "garbage");
}

#[test]
fn a_segment_that_is_cut_short_while_it_is_written_to_takes_no_more_events() {
    for length in [0, 100, HEADER, HEADER + 100, u64::MAX] {
        let mut bridge = Process::start(AWAY);
        let before = spooled(&bridge, 3);
        let path = segment(bridge.path());
        let bytes = fs::read(&path).expect("it is there");
        let last = bytes.windows(9).position(|window| window == b"message 2");
        // In the last case within the third record.
        let length = length.min(last.expect("a payload stands there as it is") as u64);
        let whole = if length > HEADER + 100 { 2 } else { 0 };
        let file = fs::File::options().write(true).open(&path);
        file.and_then(|file| file.set_len(length))
            .expect("it can be cut");
        let mut after = vec![accepted(&bridge)];
        after.extend(spooled(&bridge, 2));
        let lost = format!("\"events\":{}", 3 - whole);
        bridge.await_log(&["ERROR", "cut this segment of the spool short", &lost]);
        bridge.await_metric(&["spool_corrupt_total"], 1.0);
        let all = [&before[..whole], &after].concat();
        let answered = [&before[..], &after].concat();
        // A 503 is no "no": an event that got one may wait there too.
        let exported_of_those = |bridge: &Process| {
            let exported = exported(bridge.path()).into_iter();
            exported
                .filter(|id| answered.contains(id))
                .collect::<Vec<_>>()
        };
        run(bridge.path(), &["spool", "verify"]).with(74);
        assert_eq!(exported_of_those(&bridge), all, "cut to {length}");
        bridge.kill();
        run(bridge.path(), &["spool", "verify"]).with(74);
        let mut bridge = Process::start_in(bridge.dir(), AWAY);
        bridge.await_ready();
        assert_eq!(exported_of_those(&bridge), all, "cut to {length}");
        bridge.stop();
    }
}

#[test]
fn a_mark_that_is_missing_or_can_t_be_read_is_told_and_counted_and_written_anew() {
    let (dir, posted) = left(3);
    let mark = segment(dir.path()).with_file_name("mark");
    let whole = fs::read(&mark).expect("it is there");
    let mut both_slots = whole.clone();
    both_slots[8] ^= 1;
    both_slots[4096 + 8] ^= 1;
    let damaged = [
        Some(vec![0xab; whole.len()]),
        Some(b"garbage".to_vec()),
        Some(both_slots),
        Some(vec![0; whole.len()]),
        Some(Vec::new()),
        None,
    ];
    let mut dir = dir;
    for bytes in damaged {
        let what = match &bytes {
            Some(bytes) => format!("{} bytes: {:?}", bytes.len(), &bytes[..bytes.len().min(8)]),
            None => "no file".to_owned(),
        };
        match bytes {
            Some(bytes) => fs::write(&mark, bytes).expect("it can be written"),
            None => fs::remove_file(&mark).expect("it can be removed"),
        }
        let verified = run(dir.path(), &["spool", "verify"]);
        assert_eq!(verified.code, 74, "{what}");
        verified.says(&[&format!("{}: 1 corrupt places", mark.display())]);
        let mut bridge = Process::start_in(dir, AWAY);
        bridge.await_log(&[
            "ERROR",
            "the mark is missing or can't be read",
            &mark.display().to_string(),
        ]);
        bridge.await_metric(&["spool_corrupt_total"], 1.0);
        bridge.await_metric(&["spool_events", "message.sent"], 3.0);
        // At the start, and when it is removed while the bridge runs.
        await_some("the mark is there again", || mark.exists().then_some(()));
        fs::remove_file(&mark).expect("it can be removed");
        bridge.await_log(&[
            "WARN",
            "this mark of the spool",
            &mark.display().to_string(),
        ]);
        await_some("the mark is there again", || mark.exists().then_some(()));
        bridge.stop();
        dir = bridge.dir();
        assert_eq!(ids(&run(dir.path(), &["spool", "export"]).with(0)), posted);
    }
}

#[test]
fn nothing_waits_for_what_has_the_name_of_a_segment_and_is_no_file() {
    let (mut dir, posted) = left(2);
    let of_a_queue = dir.path().join("data/spool/other-deadbeef");
    let made = Command::new("mkfifo").arg(&of_a_queue).status();
    assert!(made.expect("there is a mkfifo").success());
    for what in ["a FIFO", "a directory", "a socket"] {
        let path = segment(dir.path()).with_file_name(format!("{:020}.seg", 7));
        match what {
            "a FIFO" => {
                let made = Command::new("mkfifo").arg(&path).status();
                assert!(made.expect("there is a mkfifo").success());
            }
            "a directory" => fs::create_dir(&path).expect("there is room"),
            _ => drop(UnixListener::bind(&path).expect("there is room")),
        }
        let told = path.display().to_string();
        refused(command(dir.path(), &["spool", "verify"]))
            .with(74)
            .says(&["2 events are whole records", &told]);
        let exported = refused(command(dir.path(), &["spool", "export"])).with(74);
        assert_eq!(ids(&exported), posted, "{what}");
        let mut bridge = Process::start_in(dir, AWAY);
        bridge.await_log(&["ERROR", &told, "it is moved to the quarantine"]);
        bridge.await_metric(&["spool_corrupt_total"], 1.0);
        bridge.await_metric(&["spool_events", "message.sent"], 2.0);
        bridge.stop();
        dir = bridge.dir();
        run(dir.path(), &["spool", "verify"]).with(0);
        assert!(!path.exists(), "{what}");
    }
    let quarantine = fs::read_dir(dir.path().join("data/spool/quarantine"));
    assert_eq!(
        quarantine.expect("it is there").count(),
        3,
        "none replaces another"
    );
}

#[test]
fn a_copy_that_was_never_completed_is_nothing_that_was_set_aside() {
    let (dir, _) = left(1);
    let quarantine = dir.path().join("data/spool/quarantine");
    fs::create_dir(&quarantine).expect("there is room");
    let name = "kafka-minchat.message.sent.v1-deadbeef-0123456789abcdef-00000000000000000000.seg";
    fs::write(quarantine.join(format!("{name}.tmp")), "").expect("there is room");
    let verified = run(dir.path(), &["spool", "verify"]).with(0);
    assert!(
        !verified.stdout.contains("set aside"),
        "{}",
        verified.stdout
    );
    fs::write(quarantine.join(name), "").expect("there is room");
    run(dir.path(), &["spool", "verify"])
        .with(0)
        .says(&["set aside", name]);
}

#[test]
fn a_spool_whose_rights_were_taken_is_told_by_its_error() {
    let dir = Arc::new(home_of_nobody());
    let spool = dir.path().join("data/spool");
    let settings = AWAY.replace("{spool_after: 20ms}", "{spool_after: 20ms, deadline: 1s}");
    let as_nobody = |program: &str| as_nobody(Command::new(program), &spool.join("../.."));
    let bridge = Process::start_by(dir, &settings, as_nobody);
    spooled(&bridge, 1);
    let rights = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(&spool, mode).expect("it is ours");
    };
    rights(0);
    assert_eq!(bridge.post(&message("c1", "refused")).status, 503);
    let refused = "the spool takes no more events";
    bridge.await_log(&["ERROR", refused, "data/spool/", "Permission denied"]);
    rights(0o700);
    accepted(&bridge);
    let log = bridge.log();
    for wrong in ["removed", "replaced", "is gone"] {
        assert!(!log.contains(wrong), "{log}");
    }
}

#[test]
fn a_refusal_of_the_disk_names_the_path() {
    let (dir, _) = left(1);
    let queue = segment(dir.path())
        .parent()
        .expect("it is in a queue")
        .to_owned();
    run(dir.path(), &DISCARD).with(0);
    fs::write(&queue, "mine").expect("there is room");
    let settings = AWAY.replace("{spool_after: 20ms}", "{spool_after: 20ms, deadline: 1s}");
    let bridge = Process::start_in(dir, &settings);
    assert_eq!(bridge.post(&message("c1", "refused")).status, 503);
    let path = format!("{}: File exists", queue.display());
    bridge.await_log(&["ERROR", "the spool takes no more events", &path]);
    fs::remove_file(&queue).expect("it is there");
    accepted(&bridge);
}

#[test]
fn a_relative_path_counts_from_where_the_bridge_is_started() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path();
    fs::create_dir(path.join("elsewhere")).expect("there is room");
    let yaml = "sources: {minchat: {auth: {tokens_file: tokens}}}\nspool: {dir: waits}\n";
    fs::write(path.join("elsewhere/config.yaml"), yaml).expect("there is room");
    let token = "4f1c09d2b7a85e63f0d9187c2ab4e536\n";
    let run = |words: &[&str]| -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
            .args(words)
            .args(["--config", "elsewhere/config.yaml"])
            .current_dir(path)
            .output();
        output.expect("the program can be run").into()
    };
    fs::write(path.join("elsewhere/tokens"), token).expect("there is room");
    run(&["check"]).with(78).says(&["tokens"]);
    fs::rename(path.join("elsewhere/tokens"), path.join("tokens")).expect("it is there");
    run(&["check"]).with(0);
    let told = format!("there is no spool at {}", path.join("waits").display());
    run(&["spool", "list"]).with(69).says(&[&told]);
}
