//! What the README's troubleshooting explains: the messages that the other tests wait for.

const README: &str = include_str!("../../README.md");

/// Every message of the log that has a row there. Each is provoked by a test, by way of [`explained`].
const EXPLAINED: [&str; 9] = [
    "the broker is out of reach; trying again",
    "the broker takes no events until somebody mends this",
    "the destination takes no events until somebody mends this",
    "events don't get through; trying again",
    "the destination will never take this event",
    "the spool takes no more events: webhooks that need it get a 503",
    "in use by another process",
    "the configuration was not reloaded; the old one stays",
    "lines of the log were dropped: stderr was not read, or could not be written",
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
