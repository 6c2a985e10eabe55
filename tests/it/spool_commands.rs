//! `minchat-bridge spool`, beside a bridge and after it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{Ran, command, configure, run};
use crate::load::Load;
use crate::payload::{message, sample};
use crate::process::{Process, await_some};

/// Kafka is where nobody listens.
pub const AWAY: &str = "sources: {minchat: {auth: {none: true}}}\n\
    kafka: {bootstrap_servers: \"127.0.0.1:1\"}\npublish: {spool_after: 20ms}\n";

pub const MESSAGES: &str = "kafka:minchat.message.sent.v1";
pub const USERS: &str = "kafka:minchat.user.daily-active.v1";

/// Posts so many messages of one chat to a bridge whose broker is away, and gives their ids.
pub fn spooled(bridge: &Process, count: usize) -> Vec<String> {
    let ids = (0..count).map(|number| {
        let posted = bridge.post(&message("c1", &format!("message {number}")));
        assert_eq!(posted.json["receipt"], "spooled", "{:?}", posted.json);
        posted.json["id"]
            .as_str()
            .expect("a 202 has an id")
            .to_owned()
    });
    ids.collect()
}

fn ids(ran: &Ran) -> Vec<String> {
    let envelopes = ran.json();
    let ids = envelopes.iter().map(|envelope| envelope["id"].as_str());
    ids.map(|id| id.expect("every envelope has an id").to_owned())
        .collect()
}

/// The only segment of a queue.
pub fn segment(dir: &Path) -> PathBuf {
    let spool = std::fs::read_dir(dir.join("data/spool")).expect("there is a spool");
    let queues = spool.map(|entry| entry.expect("it can be read").path());
    let queue = queues.filter(|path| path.to_string_lossy().contains("kafka-"));
    let queue = queue.last().expect("there is a queue");
    queue.join(format!("{:020}.seg", 0))
}

#[test]
fn a_live_spool_is_listed_verified_and_exported_and_stays_as_it_is() {
    let mut bridge = Process::start(AWAY);
    let mut posted = spooled(&bridge, 3);
    assert_eq!(
        bridge.post(sample("user-daily-active.current")).json["receipt"],
        "spooled"
    );
    let dir = bridge.dir();
    let dir = dir.path();
    let listed = run(dir, &["spool", "list"]).with(0);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert!(lines[0].starts_with("DESTINATION"), "{lines:?}");
    assert!(lines[1].starts_with(MESSAGES), "{lines:?}");
    let columns: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(columns[1..4], ["3", "1.00", "MiB"]);
    assert!(lines[1].ends_with("a route"), "{lines:?}");
    assert!(lines[2].starts_with(USERS), "{lines:?}");

    let listed = run(dir, &["spool", "list", "--json"]).with(0).json();
    assert_eq!(
        (&listed[0]["destination"], &listed[0]["events"]),
        (&MESSAGES.into(), &3.into())
    );
    assert_eq!(listed[0]["leads_there"], "route");
    let (oldest, newest) = (listed[0]["oldest"].as_str(), listed[0]["newest"].as_str());
    assert!(oldest < newest, "{listed:?}");

    run(dir, &["spool", "verify"])
        .with(0)
        .says(&[&format!("[+] {MESSAGES}: whole, 3 events in 1 segments")]);
    let verified = run(dir, &["spool", "verify", "--json"]).with(0).json();
    assert_eq!(verified[1]["destination"], USERS);
    assert_eq!(verified[1]["whole"], true);

    let exported = run(dir, &["spool", "export"]).with(0);
    assert_eq!(ids(&exported).len(), 4);
    assert_eq!(exported.json()[0]["time"], oldest.unwrap_or_default());
    let of_one = run(dir, &["spool", "export", "--destination", MESSAGES]).with(0);
    assert_eq!(ids(&of_one), posted);
    assert_eq!(of_one.json()[2]["data"]["text"], "message 2");

    posted.extend(spooled(&bridge, 1));
    bridge.await_metric(&["spool_events", "message.sent"], 4.0);
    bridge.assert_the_books_balance();
    bridge.stop();
    let of_one = run(dir, &["spool", "export", "--destination", MESSAGES]).with(0);
    assert_eq!(ids(&of_one), posted);
}

#[test]
fn a_spool_that_is_being_written_to_is_found_whole() {
    let bridge = Process::start(AWAY);
    let load = Load::start(&bridge, 16);
    await_some("events", || (load.accepted() > 100).then_some(()));
    for _ in 0..20 {
        run(bridge.path(), &["spool", "verify"]).with(0);
        let exported = run(bridge.path(), &["spool", "export"]).with(0);
        assert!(exported.stdout.lines().count() > 100);
    }
    let (accepted, refused) = load.end();
    assert!(refused.is_empty(), "{refused:?}");
    let exported = run(bridge.path(), &["spool", "export"]).with(0);
    assert_eq!(exported.stdout.lines().count(), accepted.len());
}

#[test]
fn where_nothing_waits_a_line_says_so() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    configure(dir.path(), AWAY);
    let spool = dir.path().join("data/spool");
    let all = |dir: &Path| {
        for verb in ["list", "verify", "export"] {
            run(dir, &["spool", verb])
                .with(0)
                .says(&[&format!("no events wait in {}\n", spool.display())]);
        }
        assert!(files_in(&spool) <= 1, "whoever looks makes nothing");
        run(dir, &["spool", "drain"])
            .with(0)
            .says(&["drained 0 events", "nothing is left"]);
        for words in [&["list", "--json"][..], &["export"], &["verify", "--json"]] {
            let ran = run(dir, &[&["spool"], words].concat());
            assert_eq!(ran.stdout, "", "{words:?}");
        }
        for verb in ["export", "discard"] {
            let to = |destination| run(dir, &["spool", verb, "--destination", destination]);
            to(MESSAGES).with(0).says(&["holds nothing for", MESSAGES]);
            to("kafka:mesages").with(69).says(&["no route leads there"]);
        }
    };
    // A new volume: empty, or with what its file system put there.
    std::fs::create_dir_all(&spool).expect("there is room");
    all(dir.path());
    std::fs::remove_file(spool.join("lock")).expect("who drains takes the spool");
    std::fs::create_dir(spool.join("lost+found")).expect("there is room");
    all(dir.path());
    let mut bridge = Process::start(AWAY);
    bridge.stop();
    for verb in ["list", "drain"] {
        run(bridge.path(), &["spool", verb]).with(0);
    }
}

fn files_in(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn where_there_is_no_spool_every_command_says_so_and_makes_none() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    configure(dir.path(), AWAY);
    let spool = dir.path().join("data/spool");
    let discard = ["discard", "--yes", "--destination", MESSAGES];
    let commands = [
        &["list"][..],
        &["list", "--json"],
        &["verify"],
        &["export"],
        &["export", "--quarantine"],
        &["drain"],
        &discard,
    ];
    let all = || {
        for words in commands {
            let ran = run(dir.path(), &[&["spool"], words].concat()).with(69);
            let told = format!("there is no spool at {}", spool.display());
            assert!(ran.stderr.contains(&told), "{words:?}: {}", ran.stderr);
            assert_eq!(ran.stdout, "", "{words:?}");
        }
    };
    all();
    assert!(!dir.path().join("data").exists(), "nothing is made");
    // Somebody mistyped the path, and something else is there.
    std::fs::create_dir_all(spool.join("photos")).expect("there is room");
    std::fs::write(spool.join("notes.txt"), "mine").expect("there is room");
    all();
    assert_eq!(files_in(&spool), 2, "nothing is made");
}

#[test]
fn what_is_corrupt_is_told_and_the_rest_is_still_exported() {
    let mut bridge = Process::start(AWAY);
    let posted = spooled(&bridge, 5);
    bridge.stop();
    let dir = bridge.path();
    let segment = segment(dir);
    let mut bytes = std::fs::read(&segment).expect("it is there");
    let at = String::from_utf8_lossy(&bytes)
        .find("message 2")
        .expect("a payload stands there as it is");
    // Lossy text is longer than what it was made of: the place is looked for in the bytes.
    let at = bytes[..=at]
        .windows(9)
        .position(|window| window == b"message 2")
        .expect("it is before that");
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).expect("it can be written");

    let path = segment.file_name().unwrap_or_default().to_string_lossy();
    run(dir, &["spool", "verify"])
        .with(74)
        .says(&[&format!("[-] {MESSAGES}: corrupt; 4 events"), &path]);
    let verified = run(dir, &["spool", "verify", "--json"]).with(74).json();
    assert_eq!(verified[0]["whole"], false);
    assert_eq!(verified[0]["corrupt"][0]["places"], 1);
    let exported = run(dir, &["spool", "export"]).with(74);
    let whole = [&posted[..2], &posted[3..]].concat();
    assert_eq!(ids(&exported), whole);

    let mut bridge = Process::start_in(bridge.dir(), AWAY);
    bridge.await_metric(&["spool_corrupt_total"], 1.0);
    bridge.stop();
    run(bridge.path(), &["spool", "verify"]).says(&[
        "set aside",
        &path,
        "4 events in it can be read",
    ]);
}

#[test]
fn a_destination_is_given_up_on_purpose_alone() {
    let mut bridge = Process::start(AWAY);
    spooled(&bridge, 3);
    bridge.post(sample("user-daily-active.current"));
    let dir = bridge.dir();
    let dir = dir.path();
    let discard = ["spool", "discard", "--destination", MESSAGES];
    let with_yes = ["spool", "discard", "--yes", "--destination", MESSAGES];
    run(dir, &with_yes)
        .with(74)
        .says(&["in use by another process"]);
    bridge.stop();
    let left = |dir: &Path| run(dir, &["spool", "list", "--json"]).with(0).json().len();
    run(dir, &discard)
        .with(64)
        .says(&[&format!("3 events for {MESSAGES}"), "--yes"]);
    let unknown = ["spool", "discard", "--yes", "--destination", "kafka:other"];
    run(dir, &unknown).with(69).says(&[MESSAGES, USERS]);
    assert_eq!(left(dir), 2);
    on_a_terminal(dir, &discard, "n\n")
        .with(0)
        .says(&["Discard 3 events", "nothing is discarded"]);
    assert_eq!(left(dir), 2);
    on_a_terminal(dir, &discard, "y\n")
        .with(0)
        .says(&["3 events for kafka:minchat.message.sent.v1 are discarded"]);
    assert_eq!(left(dir), 1);
    let other = ["spool", "discard", "--yes", "--destination", USERS];
    run(dir, &other).with(0).says(&["1 events for"]);
    run(dir, &["spool", "list"])
        .with(0)
        .says(&["no events wait"]);
    let bridge = Process::start_in(bridge.dir(), AWAY);
    bridge.await_metric(&["spool_events"], 0.0);
    assert_eq!(spooled(&bridge, 1).len(), 1, "its queue begins anew");
}

/// Runs it where a terminal is, which `script` of Debian's bsdutils makes, and types this.
fn on_a_terminal(dir: &Path, words: &[&str], types: &str) -> Ran {
    let line = format!(
        "{} {} --config config.yaml",
        env!("CARGO_BIN_EXE_minchat-bridge"),
        words.join(" ")
    );
    let script = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut script = script.expect("there is a script");
    let mut stdin = script.stdin.take().expect("it is piped");
    stdin
        .write_all(types.as_bytes())
        .expect("the terminal reads");
    let ran = script.wait_with_output().expect("it ends").into();
    drop(stdin);
    ran
}

#[test]
fn draining_stops_when_it_is_told_to_and_says_what_is_left() {
    let mut bridge = Process::start(AWAY);
    let posted = spooled(&bridge, 2);
    run(bridge.path(), &["spool", "drain"])
        .with(74)
        .says(&["in use by another process"]);
    bridge.stop();
    let dir = bridge.path();
    run(dir, &["spool", "drain", "--timeout", "300ms"])
        .with(69)
        .says(&["drained 0 events", &format!("{MESSAGES}: 2 (")]);
    on_a_terminal(dir, &["spool", "drain", "--timeout", "300ms"], "")
        .with(69)
        .says(&["0/2", "2 are left"]);
    for signal in ["INT", "TERM", "HUP"] {
        let drain = command(dir, &["spool", "drain"])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut drain = drain.expect("the program can be run");
        let stderr = drain.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("draining the spool")));
        let sent = Command::new("kill")
            .args(["-s", signal, &drain.id().to_string()])
            .status();
        assert!(sent.expect("there is a kill").success());
        // It goes on logging to its end.
        assert!(lines.all(|line| !line.contains("panic")));
        let ended = Ran::from(drain.wait_with_output().expect("it ends"));
        ended.with(69).says(&["2 are left"]);
    }
    assert_eq!(ids(&run(dir, &["spool", "export"]).with(0)), posted);
}

#[cfg(feature = "kafka")]
#[test]
fn what_is_left_is_published_in_order_and_the_spool_is_empty() {
    use crate::cluster::Cluster;
    let (cluster, prefix) = (Cluster::shared(), crate::payload::prefix());
    let with = |servers: &str, more: &str| {
        format!(
            "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
             kafka: {{bootstrap_servers: \"{servers}\", create_topics: true}}\n\
             publish: {{spool_after: 20ms}}\n{more}"
        )
    };
    let mut bridge = Process::start(&with("127.0.0.1:1", ""));
    let posted = spooled(&bridge, 200);
    bridge.stop();
    let dir = bridge.path();
    // Also when the spool has been turned off since.
    configure(dir, &with(&cluster.servers, "spool: {max_size: 0}\n"));
    run(dir, &["spool", "drain", "--timeout", "60s"])
        .with(0)
        .says(&["drained 200 events", "nothing is left"]);
    let records = cluster.read(&format!("{prefix}message.sent.v1"));
    let published: Vec<&str> = records.iter().map(|record| record.id()).collect();
    assert_eq!(published, posted);
    run(dir, &["spool", "list"])
        .with(0)
        .says(&["no events wait"]);
    let mut left = std::fs::read_dir(dir.join("data/spool")).expect("it is there");
    let is_the_lock = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name() == "lock")
    };
    assert!(left.all(is_the_lock), "nothing else is there");
}
