//! What of another configuration can be taken into use while the bridge serves.

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

/// What differs between two configurations, as far as that can't be changed at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What nothing else can be taken without.
    pub together: Vec<SettingPath>,
    /// What waits for a restart.
    pub later: Vec<SettingPath>,
}

/// Compares what holds with what would hold.
pub fn changes(holds: &Loaded, would: &Loaded) -> Changes {
    let value = |loaded: &Loaded, path: &SettingPath| {
        let found = loaded.effective.iter().find(|one| one.path == *path);
        found.map(|one| one.value.clone())
    };
    let mut paths: Vec<&SettingPath> = [holds, would]
        .iter()
        .flat_map(|loaded| &loaded.effective)
        .map(|one| &one.path)
        .filter(|path| !is_one_of(&AT_ONCE, path))
        .filter(|path| value(holds, path) != value(would, path))
        .collect();
    paths.sort();
    paths.dedup();
    let (together, later) = paths
        .into_iter()
        .cloned()
        .partition(|path| is_one_of(&TOGETHER, path));
    let mut changes = Changes { together, later };
    add_sections(&mut changes, &holds.config, &would.config);
    changes
}

/// Sections of which something can change at once, but that can't appear or go: routes lead to the
/// brokers that are on.
fn add_sections(changes: &mut Changes, holds: &Config, would: &Config) {
    let there = |config: &Config| {
        [
            ("http.tls", config.http.tls.is_some()),
            ("kafka", config.kafka.is_some()),
            ("amqp", config.amqp.is_some()),
            ("file", config.file.is_some()),
        ]
    };
    for (before, after) in there(holds).iter().zip(there(would)) {
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
            let listed = |paths: &[SettingPath]| {
                let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
                names.join(", ")
            };
            let changes = changes(&before, &loaded(&format!("{SOURCE}{yaml}\n")));
            assert_eq!(listed(&changes.together), together, "{yaml}");
            assert_eq!(listed(&changes.later), later, "{yaml}");
        }
        let other =
            loaded("sources: {another: {auth: {none: true}}}\nkafka: {bootstrap_servers: a}");
        assert_eq!(changes(&before, &other), Changes::default());
    }
}
