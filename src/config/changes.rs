//! What of another configuration can be taken into use while the bridge serves.

use ipnet::IpNet;

use super::complete::DEFAULT;
use super::path::SettingPath;
use super::{Config, Loaded};
use crate::http::settings::SourceSettings;

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

/// Settings that narrow whom a source lets in: without one of them it lets in more. A reload does not take a
/// configuration that only leaves one of them out, as one that was cut does. An operator who wants it writes the wider
/// value, or restarts.
const NARROWING: [&str; 8] = [
    "sources.*.allow_from",
    "sources.*.auth.mtls.names",
    "sources.*.auth.hmac.header",
    "sources.*.auth.hmac.prefix",
    "sources.*.auth.hmac.encoding",
    "sources.*.auth.hmac.timestamp_header",
    "sources.*.auth.hmac.tolerance",
    "sources.*.auth.standard_webhooks.tolerance",
];

/// What differs between two configurations, as far as that can't be changed at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What nothing else can be taken without.
    pub together: Vec<SettingPath>,
    /// What is left out that narrowed whom a source lets in. Nothing of such a configuration is taken.
    pub left_out: Vec<SettingPath>,
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
    let mut changes = Changes {
        together,
        left_out: left_out(holds, would),
        later,
    };
    add_sections(&mut changes, &holds.config, &would.config);
    changes
}

fn left_out(holds: &Loaded, would: &Loaded) -> Vec<SettingPath> {
    let is_given = |path: &SettingPath| {
        let mut given = would.effective.iter().filter(|one| one.origin != DEFAULT);
        given.any(|one| one.path == *path)
    };
    let is_there = |section: &SettingPath| {
        let mut effective = would.effective.iter();
        effective.any(|one| section.covers(&one.path))
    };
    let given = holds.effective.iter().filter(|one| one.origin != DEFAULT);
    let narrowing = given
        .map(|one| &one.path)
        .filter(|path| NARROWING.iter().any(|pattern| path.is_like(pattern)))
        .filter(|path| is_there(&path.parent()) && !is_given(path))
        .cloned();
    narrowing
        .chain(proxies_left_out(&holds.config, &would.config))
        .collect()
}

/// Where a source takes webhooks from some networks only, the address of a proxy that is trusted no more stands for
/// all senders behind it.
fn proxies_left_out(holds: &Config, would: &Config) -> Vec<SettingPath> {
    let is_left_out = |after: &&SourceSettings| {
        let before = holds.sources.iter().find(|one| one.name == after.name);
        let is_trusted = |network: &IpNet| {
            let mut trusted = after.trusted_proxies.iter();
            trusted.any(|wider| wider.contains(network))
        };
        !after.allow_from.is_empty()
            && before.is_some_and(|before| !before.trusted_proxies.iter().all(is_trusted))
    };
    let sources = would.sources.iter().filter(is_left_out);
    sources
        .map(|source| SettingPath::of(["sources", source.name.as_str(), "trusted_proxies"]))
        .collect()
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
    fn what_narrows_a_source_is_not_left_out_and_is_replaced_by_what_is_written() {
        let source = |auth: &str, more: &str| {
            loaded(&format!(
                "sources:\n  a: {{auth: {{{auth}}}{more}}}\n  b: {{auth: {{none: true}}}}\n"
            ))
        };
        let secrets = "secrets: [a-secret-that-is-long-enough]";
        let tokens = "tokens: [a-token-that-is-long-enough]";
        let allowed = ", allow_from: [192.0.2.0/24]";
        let hmac = |more: &str| format!("hmac: {{{secrets}{more}}}");
        let standard = |more: &str| {
            format!(
                "standard_webhooks: {{secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]{more}}}"
            )
        };
        let proxies = |list: &str| format!("{allowed}, trusted_proxies: [{list}]");
        for (before, after, left_out) in [
            ((tokens, allowed), (tokens, ""), "allow_from"),
            (
                (tokens, allowed),
                (tokens, ", allow_from: [0.0.0.0/0, '::/0']"),
                "",
            ),
            ((tokens, allowed), ("none: true", ""), "allow_from"),
            ((tokens, allowed), ("none: true", allowed), ""),
            ((tokens, ""), (&hmac(""), ""), ""),
            (
                (&hmac(", timestamp_header: x-at"), ""),
                (&hmac(""), ""),
                "auth.hmac.timestamp_header",
            ),
            (
                (&hmac(", timestamp_header: x-at"), ""),
                (&hmac(", timestamp_header: x-when"), ""),
                "",
            ),
            (
                (&hmac(", timestamp_header: x-at, tolerance: 1m"), ""),
                (&hmac(", timestamp_header: x-at"), ""),
                "auth.hmac.tolerance",
            ),
            (
                (&hmac(", header: x-sig, prefix: a=, encoding: base64"), ""),
                (&hmac(""), ""),
                "auth.hmac.encoding, auth.hmac.header, auth.hmac.prefix",
            ),
            ((&hmac(", timestamp_header: x-at"), ""), (tokens, ""), ""),
            (
                (&standard(", tolerance: 1m"), ""),
                (&standard(""), ""),
                "auth.standard_webhooks.tolerance",
            ),
            ((&standard(""), ""), (&standard(", tolerance: 1m"), ""), ""),
            (
                (tokens, &proxies("10.0.0.1, 10.0.0.2")),
                (tokens, &proxies("10.0.0.1")),
                "trusted_proxies",
            ),
            (
                (tokens, &proxies("10.0.0.1, 10.0.0.2")),
                (tokens, allowed),
                "trusted_proxies",
            ),
            (
                (tokens, &proxies("10.0.0.1, 10.0.0.2")),
                (tokens, &proxies("10.0.0.0/30")),
                "",
            ),
            ((tokens, ", trusted_proxies: [10.0.0.1]"), (tokens, ""), ""),
        ] {
            let changes = changes(&source(before.0, before.1), &source(after.0, after.1));
            let mut paths: Vec<String> = changes
                .left_out
                .iter()
                .map(|path| path.to_string().replace("sources.a.", ""))
                .collect();
            paths.sort();
            assert_eq!(paths.join(", "), left_out, "{before:?} {after:?}");
        }
        let both = source(tokens, allowed);
        let other = loaded("sources: {b: {auth: {none: true}}}\n");
        assert_eq!(
            changes(&both, &other).left_out,
            [],
            "a source that is gone lets nobody in"
        );
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
