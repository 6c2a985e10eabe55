//! A spool that its configuration, its disk, its owner or its release has left: faults 32, 34 and 47.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::command::{Ran, command, configure, run};
use crate::payload::{message, prefix};
use crate::process::{PATIENCE, Process};
use crate::readme::explained;
use crate::spool_commands::{AWAY, MESSAGES, segment, spooled};

/// Neither root nor anybody with files.
const NOBODY: u32 = 65534;

/// A Kafka there, with these routes.
fn kafka(servers: &str, prefix: &str, routes: &str) -> String {
    format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
         kafka: {{bootstrap_servers: \"{servers}\", create_topics: true}}\n\
         publish: {{spool_after: 20ms}}\nroutes: {{{routes}}}\n"
    )
}

fn leads_there(dir: &Path) -> Vec<(String, String)> {
    let lines = run(dir, &["spool", "list", "--json"]).with(0).json();
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    lines
        .iter()
        .map(|line| (text(&line["destination"]), text(&line["leads_there"])))
        .collect()
}

fn ids(cluster: &Cluster, topic: &str, count: usize) -> Vec<String> {
    let records = cluster.await_records(topic, count);
    records
        .iter()
        .map(|record| record.id().to_owned())
        .collect()
}

#[test]
fn what_a_route_left_behind_is_still_published_to_where_it_led() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let old = format!("{prefix}old");
    let route = format!("message.sent: {{kafka: {{topic: {old}}}}}");
    let mut bridge = Process::start(&kafka("127.0.0.1:1", &prefix, &route));
    let posted = spooled(&bridge, 3);
    bridge.stop();

    let dir = bridge.dir();
    let without = kafka(&cluster.servers, &prefix, "");
    configure(dir.path(), &without);
    let destination = format!("kafka:{old}");
    assert_eq!(
        leads_there(dir.path()),
        [(destination.clone(), "no-route".to_owned())]
    );
    run(dir.path(), &["spool", "list"]).says(&["no route; still published"]);
    let mut bridge = Process::start_in(dir, &without);
    bridge.await_log(&["WARN", "no route leads to this destination", &destination]);
    assert_eq!(ids(&cluster, &old, 3), posted);
    let id = bridge.post(&message("c1", "after")).json["id"].clone();
    let now = ids(&cluster, &format!("{prefix}message.sent.v1"), 1);
    assert_eq!([id], *now);
    bridge.await_metric(&["spool_events"], 0.0);
    bridge.assert_the_books_balance();
    bridge.stop();
    run(bridge.path(), &["spool", "list"]).says(&["no events wait"]);
}

#[test]
fn what_a_broker_left_behind_is_kept_until_it_is_configured_again() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let mut bridge = Process::start(&kafka("127.0.0.1:1", &prefix, ""));
    let posted = spooled(&bridge, 3);
    bridge.stop();

    let files = format!("sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n");
    let destination = format!("kafka:{prefix}message.sent.v1");
    let mut bridge = Process::start_in(bridge.dir(), &files);
    let discard = format!("minchat-bridge spool discard --destination {destination}");
    bridge.await_log(&["WARN", "a broker that is not configured", &discard]);
    bridge.await_ready();
    let posted_now = bridge.post(&message("c1", "to a file"));
    assert_eq!(posted_now.json["receipt"], "published");
    bridge.await_metric(&["spool_events", "kafka", "message.sent"], 3.0);
    bridge.assert_the_books_balance();
    bridge.stop();

    let dir = bridge.dir();
    let dir = dir.path();
    let kept = [(destination.clone(), "no-broker".to_owned())];
    assert_eq!(leads_there(dir), kept);
    run(dir, &["spool", "list"]).says(&["no broker; kept"]);
    run(dir, &["spool", "drain"]).with(69).says(&[
        "drained 0 events",
        &format!("{destination}: 3 (its broker is not configured)"),
    ]);
    assert_eq!(leads_there(dir), kept);

    configure(dir, &kafka(&cluster.servers, &prefix, ""));
    run(dir, &["spool", "drain"]).with(0).says(&["drained 3"]);
    assert_eq!(
        ids(&cluster, &format!("{prefix}message.sent.v1"), 3),
        posted
    );
}

#[test]
fn what_a_broker_left_behind_can_be_given_up() {
    let amqp = "sources: {minchat: {auth: {none: true}}}\namqp: {uri: \"amqp://127.0.0.1:1\"}\n\
        publish: {spool_after: 20ms}\nroutes: {message.sent: {amqp: {exchange: chat, routing_key: sent}}}\n";
    let mut bridge = Process::start(amqp);
    spooled(&bridge, 2);
    bridge.stop();
    let dir = bridge.dir();
    configure(dir.path(), "{}\n");
    let left = leads_there(dir.path());
    assert_eq!(
        left,
        [("amqp:chat/sent".to_owned(), "no-broker".to_owned())]
    );
    let discard = [
        "spool",
        "discard",
        "--yes",
        "--destination",
        "amqp:chat/sent",
    ];
    run(dir.path(), &discard).with(0).says(&["2 events"]);
    let mut bridge = Process::start_in(dir, "{}\n");
    bridge.await_ready();
    assert!(!bridge.log().contains("not configured"), "{}", bridge.log());
    bridge.stop();
}

#[test]
fn a_second_instance_is_refused_at_its_start_and_the_first_goes_on() {
    let bridge = Process::start(AWAY);
    spooled(&bridge, 1);
    refused(serve(bridge.path()))
        .with(74)
        .says(&["spool.dir", explained("in use by another process")]);
    assert_eq!(spooled(&bridge, 1).len(), 1);
}

#[test]
fn a_spool_that_can_t_be_written_is_refused_at_start() {
    let dir = home_of_nobody();
    let spool = dir.path().join("data/spool");
    let mode = std::fs::Permissions::from_mode(0o555);
    std::fs::set_permissions(&spool, mode).expect("it is ours");
    refused(as_nobody(serve(dir.path()), dir.path()))
        .with(74)
        .says(&["spool.dir", "data/spool/lock", "Permission denied"]);
    let discard = ["spool", "discard", "--yes", "--destination", MESSAGES];
    refused(as_nobody(command(dir.path(), &discard), dir.path())).with(74);
}

#[test]
fn a_spool_of_another_user_is_refused() {
    let dir = home_of_nobody();
    // Without root's rights no directory can be given away: root's home is somebody else's then.
    let spool = match is_root() {
        true => dir.path().join("data/spool"),
        false => "/root".into(),
    };
    if is_root() {
        chown(&spool, Some(0), Some(0)).expect("root may");
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&spool, mode).expect("it is ours");
    }
    let setting = format!("spool.dir={}", spool.display());
    let theirs = "belongs to another user (uid 0; this process has uid";
    let mut words = vec!["serve", "--set", &setting];
    refused(as_nobody(command(dir.path(), &words), dir.path()))
        .with(74)
        .says(&[theirs]);
    for verb in ["list", "verify", "export", "drain"] {
        words = vec!["spool", verb, "--set", &setting];
        refused(as_nobody(command(dir.path(), &words), dir.path()))
            .with(74)
            .says(&[theirs]);
    }
    if !is_root() {
        return;
    }
    // Root could write to anything, and whoever it belongs to could not read it then.
    let lock = spool.join("lock");
    std::fs::write(&lock, "").expect("root may");
    chown(&lock, Some(NOBODY), None).expect("root may");
    refused(serve(dir.path()))
        .with(74)
        .says(&["belongs to another user (uid 65534; this process has uid 0)"]);
}

#[test]
fn a_spool_of_a_later_release_is_refused_by_everything_and_stays_as_it_is() {
    let mut bridge = Process::start(AWAY);
    spooled(&bridge, 2);
    bridge.stop();
    let dir = bridge.path();
    let segment = segment(dir);
    let mut bytes = std::fs::read(&segment).expect("it is there");
    assert_eq!(bytes[8], 2, "the version of the format");
    let before = bytes.clone();
    bytes[8] = 3;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..4096]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&segment, &bytes).expect("it can be written");
    let later = "written by a later release, in version 3 of the format";
    refused(serve(dir)).with(74).says(&[later]);
    for verb in ["list", "verify", "export", "drain"] {
        refused(command(dir, &["spool", verb]))
            .with(74)
            .says(&[later]);
    }
    let discard = ["spool", "discard", "--yes", "--destination", MESSAGES];
    refused(command(dir, &discard)).with(74).says(&[later]);
    assert!(std::fs::read(&segment).is_ok_and(|now| now == bytes));
    std::fs::write(&segment, &before).expect("it can be written");
    run(dir, &["spool", "verify"]).with(0).says(&["2 events"]);
}

pub fn serve(dir: &Path) -> Command {
    let ports = ["http.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0"];
    command(dir, &["serve", "--set", ports[0], "--set", ports[1]])
}

/// Runs what has to end by itself.
pub fn refused(mut command: Command) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("the program can be run");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is a child").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("it was not refused within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("it ended").into()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory with a configuration, and an empty spool of a user who is not root.
pub fn home_of_nobody() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let spool = dir.path().join("data/spool");
    std::fs::create_dir_all(&spool).expect("it is ours");
    configure(dir.path(), AWAY);
    if is_root() {
        chown(&spool, Some(NOBODY), Some(NOBODY)).expect("root may");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), mode).expect("it is ours");
    }
    dir
}

/// The command without root's rights, which no file could refuse anything.
pub fn as_nobody(command: Command, dir: &Path) -> Command {
    if !is_root() {
        return command;
    }
    // Where it was built, nobody else may be let in.
    let program = dir.join("minchat-bridge");
    if !program.exists() {
        // By another process: what another test starts meanwhile would inherit this one's open file, and no
        // program runs that is open for writing.
        let copied = Command::new("cp")
            .arg(command.get_program())
            .arg(&program)
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "there is room for it"
        );
    }
    let mut unprivileged = Command::new(program);
    unprivileged
        .args(command.get_args())
        .current_dir(dir)
        .stdin(Stdio::null())
        .uid(NOBODY)
        .gid(NOBODY);
    unprivileged
}
