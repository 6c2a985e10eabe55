//! What the README tells people to type, and what its troubleshooting explains: the messages that the other tests wait for.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::Process;

const README: &str = include_str!("../../README.md");

/// Every message of the log that has a row there. Each is provoked by a test, by way of [`explained`].
const EXPLAINED: [&str; 12] = [
    "the broker is out of reach; trying again",
    "the broker takes no events until somebody mends this",
    "the destination takes no events until somebody mends this",
    "events don't get through; trying again",
    "the destination will never take this event",
    "the spool takes no more events: webhooks that need it get a 503",
    "in use by another process",
    "the configuration was not reloaded; the old one stays",
    "lines of the log were dropped: stderr was not read, or could not be written",
    "serving: events wait in the spool until these brokers take them",
    "File too large",
    "whoever it is shown to refuses it",
];

/// A message that the README explains.
pub fn explained(message: &'static str) -> &'static str {
    assert!(EXPLAINED.contains(&message), "{message}");
    message
}

#[test]
fn every_message_that_the_readme_explains_is_one_that_a_test_provokes() {
    let table = README
        .split_once("## Troubleshooting")
        .and_then(|(_, rest)| rest.split("\n## ").next())
        .expect("there is such a section");
    let messages: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(message, _)| message)
        .collect();
    assert_eq!(messages, EXPLAINED);
}

#[test]
fn the_first_webhook_is_posted_as_the_readme_says_and_is_no_drift() {
    let (_, rest) = README
        .split_once("## Your first webhook")
        .expect("there is such a section");
    let block = rest.split("```").nth(1).expect("it has a block");
    let commands: Vec<&str> = block
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    let bridge = Process::start("sources: {minchat: {auth: {none: true}}}\n");
    bridge.await_ready();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    symlink(sources, bridge.path().join("src")).expect("a link can be made");
    let said = |command: &str| -> Value {
        let command = command.replace("127.0.0.1:8080", &bridge.webhooks().to_string());
        let output = Command::new("sh")
            .args(["-euc", &command])
            .current_dir(bridge.path())
            .output()
            .expect("there is a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {text}{told}");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{command}: {text}{told}"))
    };
    let [post, look] = commands[..] else {
        panic!("a command that posts, and one that looks: {commands:?}")
    };
    assert!(post.starts_with("curl ") && look.starts_with("cat "));
    let answer = said(post);
    assert_eq!(
        (answer["kind"].as_str(), answer["receipt"].as_str()),
        (Some("message.sent"), Some("published"))
    );
    assert_eq!(said(look)["id"], answer["id"]);
    assert_eq!(bridge.metric(&["webhooks_accepted_total"]), 1.0);
    assert_eq!(bridge.metric(&["payload_drift_total", "content_type"]), 0.0);
    assert_eq!(bridge.metric(&["payload_drift_total"]), 0.0);
}
