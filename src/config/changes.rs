//! What of another configuration can be taken into use while the bridge serves.

use std::collections::{BTreeMap, BTreeSet};

use super::path::SettingPath;
use super::{Config, Loaded};

/// Settings that can change at once. All others wait for a restart.
const AT_ONCE: [&str; 9] = [
    "http.tls",
    "envelope",
    "sources",
    "routes",
    "kafka.sasl",
    "kafka.tls",
    "amqp.uri",
    "amqp.password",
    "amqp.tls",
];

/// Settings without which those above would mean something else than their file says: nothing of a
/// configuration that changes one of them is taken.
const TOGETHER: [&str; 1] = ["http.listen"];

/// What another configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What nothing else can be taken without.
    pub together: Vec<SettingPath>,
    /// What waits for a restart.
    pub later: Vec<SettingPath>,
    /// What is other from now on. A source or a route that came or went is told as a whole.
    pub taken: Vec<SettingPath>,
}

/// Compares what would hold with what runs. Settings that wait for a restart run as they were when the bridge
/// `started`; all others run as they are in `holds`, the configuration that was loaded last.
pub fn changes(started: &Loaded, holds: &Loaded, would: &Loaded) -> Changes {
    let of_start = different(started, would).into_iter();
    let of_start = of_start.filter(|path| !is_one_of(&AT_ONCE, path));
    let (together, later) = of_start.partition(|path| is_one_of(&TOGETHER, path));
    let taken = different(holds, would).into_iter();
    let taken = taken.filter(|path| is_one_of(&AT_ONCE, path));
    let taken: BTreeSet<SettingPath> = taken.map(|path| whole(path, holds, would)).collect();
    let mut changes = Changes {
        together,
        later,
        taken: taken.into_iter().collect(),
    };
    add_sections(&mut changes, &started.config, &would.config);
    changes
}

/// The settings that differ, in the order of their paths.
fn different(before: &Loaded, after: &Loaded) -> Vec<SettingPath> {
    let fingerprints = |loaded: &Loaded| -> BTreeMap<SettingPath, u64> {
        let all = loaded.effective.iter();
        all.map(|one| (one.path.clone(), one.fingerprint)).collect()
    };
    let (before, after) = (fingerprints(before), fingerprints(after));
    let paths: BTreeSet<&SettingPath> = before.keys().chain(after.keys()).collect();
    let different = paths
        .into_iter()
        .filter(|path| before.get(path) != after.get(path));
    different.cloned().collect()
}

/// The section of a source or of a route that only one of the two has; of all others, the setting itself.
fn whole(path: SettingPath, before: &Loaded, after: &Loaded) -> SettingPath {
    if path.keys().len() < 2
        || !["sources", "routes"]
            .iter()
            .any(|outer| path.begins_like(outer))
    {
        return path;
    }
    let section = SettingPath::of(path.keys()[..2].iter().cloned());
    let is_in = |loaded: &Loaded| loaded.effective.iter().any(|one| section.covers(&one.path));
    match is_in(before) && is_in(after) {
        true => path,
        false => section,
    }
}

/// Sections of which something can change at once, but that can't appear or go: routes lead to the
/// brokers that are on.
fn add_sections(changes: &mut Changes, started: &Config, would: &Config) {
    let there = |config: &Config| {
        [
            ("http.tls", config.http.tls.is_some()),
            ("kafka", config.kafka.is_some()),
            ("amqp", config.amqp.is_some()),
            ("file", config.file.is_some()),
        ]
    };
    for (before, after) in there(started).iter().zip(there(would)) {
        if *before != after {
            changes.together.push(SettingPath::dotted(after.0));
        }
    }
}

fn is_one_of(patterns: &[&str], path: &SettingPath) -> bool {
    patterns.iter().any(|pattern| {
        // `amqp.password_file` goes with `amqp.password`, `amqp.uris` with `amqp.uri`.
        let also = |end: &str| path.begins_like(&format!("{pattern}{end}"));
        also("") || also("_file") || also("s")
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, load};
    use super::*;

    fn loaded(yaml: &str) -> Loaded {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, yaml).expect("it can be written");
        let inputs = Inputs {
            file: Some(file),
            ..Inputs::default()
        };
        load(&inputs).expect("it holds")
    }

    #[test]
    fn each_setting_changes_at_once_or_with_a_restart_or_nothing_does_without_one() {
        const SOURCE: &str = "sources: {minchat: {auth: {none: true}}}\n";
        let before = loaded(&format!("{SOURCE}kafka: {{bootstrap_servers: a}}\n"));
        for (yaml, together, later) in [
            ("kafka: {bootstrap_servers: a}", "", ""),
            (
                "kafka: {bootstrap_servers: a}\nroutes: {message.sent: {kafka: {topic: t}}}",
                "",
                "",
            ),
            (
                "kafka: {bootstrap_servers: a}\nenvelope: {schema_base: 'urn:x:'}",
                "",
                "",
            ),
            (
                "kafka: {bootstrap_servers: a}\nhttp: {listen: 127.0.0.1:1}",
                "http.listen",
                "",
            ),
            (
                "kafka: {bootstrap_servers: b}",
                "",
                "kafka.bootstrap_servers",
            ),
            (
                "kafka: {bootstrap_servers: a}\nspool: {dir: ./x}",
                "",
                "spool.dir",
            ),
            (
                "kafka: {bootstrap_servers: a}\nfile: {dir: ./x}",
                "file",
                "file.dir",
            ),
        ] {
            let changes = changes(&before, &before, &loaded(&format!("{SOURCE}{yaml}\n")));
            assert_eq!(listed(&changes.together), together, "{yaml}");
            assert_eq!(listed(&changes.later), later, "{yaml}");
        }
        let other =
            loaded("sources: {another: {auth: {none: true}}}\nkafka: {bootstrap_servers: a}");
        let changes = changes(&before, &before, &other);
        assert_eq!((changes.together, changes.later), (Vec::new(), Vec::new()));
        assert_eq!(listed(&changes.taken), "sources.another, sources.minchat");
    }

    fn listed(paths: &[SettingPath]) -> String {
        let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
        names.join(", ")
    }

    #[test]
    fn what_waits_for_a_restart_is_compared_with_what_runs() {
        let source = |token: &str, more: &str| {
            loaded(&format!(
                "sources: {{minchat: {{auth: {{tokens: [{token}-long-enough-for-a-token]}}}}}}\n{more}\n"
            ))
        };
        let started = source("one", "");
        let later = source("two", "http: {keep_alive: 10s}");
        let told = changes(&started, &started, &later);
        assert_eq!(listed(&told.later), "http.keep_alive");
        assert_eq!(listed(&told.taken), "sources.minchat.auth.tokens");
        let unchanged = changes(&started, &later, &later);
        assert_eq!(
            listed(&unchanged.later),
            "http.keep_alive",
            "it still waits"
        );
        assert_eq!(listed(&unchanged.taken), "");
        let back = source("two", "http: {keep_alive: 75s}");
        let told = changes(&started, &later, &back);
        assert_eq!(told, Changes::default(), "it runs as it is written again");
    }
}
