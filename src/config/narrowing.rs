//! What a reload does not take away by leaving it out of the file.
//!
//! Guarantees: of two configurations that a file has one after the other, the later one lets in more, lifts a limit, or
//! changes where events go and what they are called, only by what is written in it. What it leaves out does not count: a
//! file that is read while somebody saves it, or that was cut otherwise, leaves out its end. In between there can be
//! others, in which a source was left out as a whole.
//! Not responsible for: what a file that was cut says of a source that is new; telling that a file was cut inside a
//! line (`yaml`).

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

use super::Loaded;
use super::complete::DEFAULT;
use super::effective::Effective;
use super::known_secrets::KnownSecrets;
use super::path::SettingPath;
use crate::route;
use crate::route::settings::{AmqpRoute, RouteSettings};

/// A setting that a reload does not take away by leaving it out.
struct Row {
    setting: &'static str,
    /// The setting can be left out together with this section, without which nothing needs it.
    section: &'static str,
    /// How to take it away while the bridge runs.
    on_purpose: &'static str,
}

/// Settings without which their section lets in more, or does something else, than with them.
const ROWS: [Row; 16] = [
    row(
        "envelope.schema_base",
        "envelope",
        "write tag:minchat.io,2026:bridge:schema:, the default",
    ),
    row(
        "sources.*.uri",
        "sources.*",
        "write /webhooks/ and the source's name, the default",
    ),
    row(
        "sources.*.prefix",
        "sources.*",
        "write the source's name and a full stop, the default",
    ),
    row(
        "sources.*.rate_limit.per_second",
        "sources.*",
        "write rate_limit: false",
    ),
    row(
        "sources.*.rate_limit.burst",
        "sources.*",
        "write rate_limit: false",
    ),
    row(
        "sources.*.allow_from",
        "sources.*",
        "write [0.0.0.0/0, \"::/0\"] for every address",
    ),
    row("sources.*.auth.mtls.names", "sources.*.auth.mtls", NO_VALUE),
    row(
        "sources.*.auth.hmac.header",
        "sources.*.auth.hmac",
        "write x-signature, the default",
    ),
    row(
        "sources.*.auth.hmac.prefix",
        "sources.*.auth.hmac",
        NO_VALUE,
    ),
    row(
        "sources.*.auth.hmac.encoding",
        "sources.*.auth.hmac",
        "write hex, the default",
    ),
    row(
        "sources.*.auth.hmac.timestamp_header",
        "sources.*.auth.hmac",
        NO_VALUE,
    ),
    row(
        "sources.*.auth.hmac.tolerance",
        "sources.*.auth.hmac",
        "write 5m, the default",
    ),
    row(
        "sources.*.auth.standard_webhooks.tolerance",
        "sources.*.auth.standard_webhooks",
        "write 5m, the default",
    ),
    // Without them the bridge trusts the system's authorities.
    row("kafka.tls.ca_file", "kafka", NO_VALUE),
    row("kafka.sasl.oauth.ca_file", "kafka", NO_VALUE),
    row("amqp.tls.ca_file", "amqp", NO_VALUE),
];

const NO_VALUE: &str = "restart the bridge, as no value says the same";

const fn row(setting: &'static str, section: &'static str, on_purpose: &'static str) -> Row {
    Row {
        setting,
        section,
        on_purpose,
    }
}

/// What a configuration leaves out, although the one before it had it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LeftOut {
    path: SettingPath,
    /// What to do if it is meant.
    on_purpose: &'static str,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} was given and is left out, as in a file that was cut; if it is left out on purpose, {}",
            self.path, self.on_purpose
        )
    }
}

/// What the configurations that were in use had in writing.
#[derive(Clone, Debug, Default)]
pub struct Narrowing {
    /// The settings of [`ROWS`] that were written, each with the fingerprint of its last value.
    written: BTreeMap<SettingPath, u64>,
    /// The trusted proxies of each source, as they were given last.
    proxies: BTreeMap<String, Vec<IpNet>>,
    /// The routes of the configuration that is in use.
    routes: route::settings::Settings,
    secrets: KnownSecrets,
}

impl Narrowing {
    /// Notes a configuration that is in use now.
    pub fn add(&mut self, holds: &Loaded) {
        self.written.retain(|path, _| !is_decided(holds, path));
        let given = given(holds).filter(|one| row_of(&one.path).is_some());
        self.written
            .extend(given.map(|one| (one.path.clone(), one.fingerprint)));
        for source in &holds.config.sources {
            if is_everything(&source.allow_from) {
                // Leaving it out lets in no more any longer.
                let path = SettingPath::of(["sources", source.name.as_str(), "allow_from"]);
                self.written.remove(&path);
            }
            self.proxies
                .insert(source.name.clone(), source.trusted_proxies.clone());
        }
        self.routes.clone_from(&holds.config.routes);
        self.secrets.add(&holds.config);
    }

    /// Why another configuration is not taken after these, for people. Empty: it may be taken.
    pub fn refuses(&self, would: &Loaded) -> Vec<String> {
        let left_out = self.left_out(would).into_iter();
        let left_out = left_out.map(|one| one.to_string());
        left_out.chain(self.secrets.shortened(would)).collect()
    }

    /// What another configuration leaves out, although the section where it stood is there.
    fn left_out(&self, would: &Loaded) -> Vec<LeftOut> {
        let effective = |path: &SettingPath| would.effective.iter().find(|one| one.path == *path);
        let is_there = |section: &SettingPath| {
            let mut effective = would.effective.iter();
            effective.any(|one| section.covers(&one.path))
        };
        let settings = self.written.iter().filter_map(|(path, fingerprint)| {
            let row = row_of(path)?;
            let is_left_out = is_there(&path.fill(row.section))
                && !is_decided(would, path)
                && effective(path).is_none_or(|default| default.fingerprint != *fingerprint);
            is_left_out.then(|| LeftOut {
                path: path.clone(),
                on_purpose: row.on_purpose,
            })
        });
        settings
            .chain(self.proxies_left_out(would))
            .chain(self.routes_left_out(would))
            .collect()
    }

    /// Where a source takes webhooks from some networks only, the address of a proxy that is trusted no more would stand
    /// for all senders behind it.
    fn proxies_left_out(&self, would: &Loaded) -> Vec<LeftOut> {
        let sources = would.config.sources.iter().filter(|source| {
            let before = self.proxies.get(&source.name);
            let is_trusted = |network: &IpNet| {
                let mut trusted = source.trusted_proxies.iter();
                trusted.any(|wider| wider.contains(network))
            };
            !source.allow_from.is_empty()
                && before.is_some_and(|before| !before.iter().all(is_trusted))
        });
        sources
            .map(|source| LeftOut {
                path: SettingPath::of(["sources", source.name.as_str(), "trusted_proxies"]),
                on_purpose: "write a network that has those that were trusted in it, or restart the bridge",
            })
            .collect()
    }

    /// Without a route, or without one of its destinations, a kind's events go elsewhere than before.
    fn routes_left_out(&self, would: &Loaded) -> Vec<LeftOut> {
        let mut all = Vec::new();
        for (kind, before) in &self.routes {
            let path = SettingPath::of(["routes", kind.as_str()]);
            let mut left_out = |path: SettingPath, on_purpose| {
                if !is_decided(would, &path) {
                    all.push(LeftOut { path, on_purpose });
                }
            };
            match would.config.routes.get(kind) {
                None if is_default(before, would.config.brokers().len()) => {}
                None => left_out(
                    path,
                    "write each destination with its default name, such as kafka: {}",
                ),
                Some(after) if after.discard => {}
                Some(after) => {
                    for (broker, was, is) in [
                        ("kafka", before.kafka.is_some(), after.kafka.is_some()),
                        ("amqp", before.amqp.is_some(), after.amqp.is_some()),
                        ("file", before.file.is_some(), after.file.is_some()),
                    ] {
                        if was && !is {
                            left_out(path.child(broker), "write false for it");
                        }
                    }
                    if let (Some(before), Some(after)) = (&before.amqp, &after.amqp) {
                        let path = path.child("amqp");
                        if before.exchange.is_some() && is_only_key(after) {
                            left_out(path.child("exchange"), NO_VALUE);
                        }
                        let had_key = before.routing_key.as_ref().is_some_and(|key| key != kind);
                        if had_key && is_only_exchange(after) {
                            left_out(path.child("routing_key"), "write the kind, the default");
                        }
                    }
                }
            }
        }
        all
    }
}

/// Whether a route leads where its kind's events would go without it: to every broker that is on, under the default names.
fn is_default(route: &RouteSettings, brokers: usize) -> bool {
    let kafka = route.kafka.as_ref().map(|kafka| kafka.topic.is_none());
    let amqp = route.amqp.as_ref();
    let amqp = amqp.map(|amqp| amqp.exchange.is_none() && amqp.routing_key.is_none());
    let file = route.file.as_ref().map(|file| file.name.is_none());
    let destinations = [kafka, amqp, file].into_iter().flatten();
    destinations
        .filter(|has_default_name| *has_default_name)
        .count()
        == brokers
}

/// An empty section says the defaults of both, and a file that was cut has none.
fn is_only_key(route: &AmqpRoute) -> bool {
    route.exchange.is_none() && route.routing_key.is_some()
}

fn is_only_exchange(route: &AmqpRoute) -> bool {
    route.exchange.is_some() && route.routing_key.is_none()
}

fn row_of(path: &SettingPath) -> Option<&'static Row> {
    ROWS.iter().find(|row| path.is_like(row.setting))
}

/// Whether a configuration has this setting in writing, or a value in place of the section where it stood, such as
/// `rate_limit: false`.
fn is_decided(loaded: &Loaded, path: &SettingPath) -> bool {
    given(loaded).any(|one| one.path == *path || (one.path.covers(path) && one.value != "{}"))
}

/// Whether these networks have every address.
fn is_everything(networks: &[IpNet]) -> bool {
    let has_all_of = |wanted: fn(&IpNet) -> bool| {
        let mut all = networks.iter().filter(|network| network.prefix_len() == 0);
        all.any(wanted)
    };
    has_all_of(|network| matches!(network, IpNet::V4(_)))
        && has_all_of(|network| matches!(network, IpNet::V6(_)))
}

fn given(loaded: &Loaded) -> impl Iterator<Item = &Effective> {
    loaded.effective.iter().filter(|one| one.origin != DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Given;
    use super::*;

    /// What the last of these leaves out, all before it having been in use one after the other.
    fn left_out(yaml: &[String]) -> String {
        let (last, before) = yaml.split_last().expect("there is one");
        let mut narrowing = Narrowing::default();
        for yaml in before {
            narrowing.add(&Given::yaml(yaml).load());
        }
        let left_out = narrowing.left_out(&Given::yaml(last).load());
        let paths: Vec<String> = left_out
            .iter()
            .map(|one| one.path.to_string().replace("sources.a.", ""))
            .collect();
        paths.join(", ")
    }

    fn source(auth: &str, more: &str) -> String {
        format!("sources:\n  a: {{auth: {{{auth}}}{more}}}\n  b: {{auth: {{none: true}}}}")
    }

    const TOKENS: &str = "tokens: [a-token-that-is-long-enough]";
    const ALLOWED: &str = ", allow_from: [192.0.2.0/24]";

    fn hmac(more: &str) -> String {
        format!("hmac: {{secrets: [a-secret-that-is-long-enough]{more}}}")
    }

    #[test]
    #[rustfmt::skip]
    fn what_narrows_a_source_is_not_left_out_and_is_replaced_by_what_is_written() {
        let standard = |more: &str| format!("standard_webhooks: {{secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]{more}}}");
        let proxies = |list: &str| format!("{ALLOWED}, trusted_proxies: [{list}]");
        for (before, after, expected) in [
            ((TOKENS, ALLOWED), (TOKENS, ""), "allow_from"),
            ((TOKENS, ALLOWED), (TOKENS, ", allow_from: [0.0.0.0/0, '::/0']"), ""),
            ((TOKENS, ALLOWED), ("none: true", ""), "allow_from"),
            ((TOKENS, ALLOWED), ("none: true", ALLOWED), ""),
            ((TOKENS, ""), (&hmac(""), ""), ""),
            ((&hmac(", timestamp_header: x-at"), ""), (&hmac(""), ""), "auth.hmac.timestamp_header"),
            ((&hmac(", timestamp_header: x-at"), ""), (&hmac(", timestamp_header: x-when"), ""), ""),
            ((&hmac(", timestamp_header: x-at, tolerance: 1m"), ""), (&hmac(", timestamp_header: x-at"), ""), "auth.hmac.tolerance"),
            ((&hmac(", header: x-sig, prefix: a=, encoding: base64"), ""), (&hmac(""), ""), "auth.hmac.encoding, auth.hmac.header, auth.hmac.prefix"),
            ((&hmac(", timestamp_header: x-at"), ""), (TOKENS, ""), ""),
            ((&standard(", tolerance: 1m"), ""), (&standard(""), ""), "auth.standard_webhooks.tolerance"),
            ((&standard(""), ""), (&standard(", tolerance: 1m"), ""), ""),
            ((TOKENS, &proxies("10.0.0.1, 10.0.0.2")), (TOKENS, &proxies("10.0.0.1")), "trusted_proxies"),
            ((TOKENS, &proxies("10.0.0.1, 10.0.0.2")), (TOKENS, ALLOWED), "trusted_proxies"),
            ((TOKENS, &proxies("10.0.0.1, 10.0.0.2")), (TOKENS, &proxies("10.0.0.0/30")), ""),
            ((TOKENS, ", trusted_proxies: [10.0.0.1]"), (TOKENS, ""), ""),
        ] {
            assert_eq!(left_out(&[source(before.0, before.1), source(after.0, after.1)]), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn what_a_source_is_called_and_how_much_it_may_post_is_not_left_out_and_is_replaced_by_what_is_written() {
        const LIMIT: &str = ", rate_limit: {per_second: 1, burst: 2}";
        for (before, after, expected) in [
            (LIMIT, "", "rate_limit.burst, rate_limit.per_second"),
            (LIMIT, ", rate_limit: {per_second: 9, burst: 9}", ""),
            (LIMIT, ", rate_limit: false", ""),
            (", uri: 'urn:x', prefix: p.", "", "prefix, uri"),
            (", uri: 'urn:x', prefix: p.", ", uri: 'urn:y', prefix: q.", ""),
            (", uri: 'urn:x', prefix: p.", ", uri: /webhooks/a, prefix: a.", ""),
            (", uri: /webhooks/a, prefix: a.", "", ""),
        ] {
            let yaml = [before, after].map(|more| source(TOKENS, more));
            assert_eq!(left_out(&yaml), expected, "{before:?} {after:?}");
        }
        let [limited, unlimited, silent] = [LIMIT, ", rate_limit: false", ""].map(|more| source(TOKENS, more));
        assert_eq!(left_out(&[limited, unlimited, silent]), "");
    }

    #[test]
    #[rustfmt::skip]
    fn a_route_is_not_left_out_and_is_replaced_by_what_is_written() {
        let yaml = |route: &str| {
            let route = match route {
                "" => String::new(),
                _ => format!("routes: {{message.sent: {route}}}\n"),
            };
            format!("{}\namqp: {{uri: 'amqp://127.0.0.1'}}\nfile: {{}}\n{route}", source(TOKENS, ""))
        };
        const ROUTE: &str = "routes.message.sent";
        for (before, after, expected) in [
            ("{discard: true}", "", ""),
            ("{amqp: {}}", "", ""),
            ("{amqp: {exchange: e}, file: {}}", "", ""),
            ("{amqp: {}, file: {}}", "", "-"),
            ("{discard: true}", "{amqp: {}, file: {}}", "-"),
            ("{amqp: {}, file: {}}", "{amqp: {}}", ".file"),
            ("{amqp: {}, file: {}}", "{amqp: {}, file: false}", "-"),
            ("{amqp: {}, file: {}}", "{discard: true}", "-"),
            ("{amqp: {exchange: e, routing_key: r}}", "{amqp: {exchange: e}}", ".amqp.routing_key"),
            ("{amqp: {exchange: e, routing_key: r}}", "{amqp: {routing_key: r}}", ".amqp.exchange"),
            ("{amqp: {exchange: e, routing_key: r}}", "{amqp: {}}", "-"),
            ("{amqp: {exchange: e, routing_key: message.sent}}", "{amqp: {exchange: e}}", "-"),
            ("{file: {name: n}}", "{file: {}}", "-"),
            ("", "{discard: true}", "-"),
        ] {
            let expected = if expected == "-" { String::new() } else { format!("{ROUTE}{expected}") };
            assert_eq!(left_out(&[yaml(before), yaml(after)]), expected, "{before:?} {after:?}");
        }
        let steps = ["{discard: true}", "{amqp: {}, file: {}}", ""].map(yaml);
        assert_eq!(left_out(&steps), "", "what is written out first can be left out then");
    }

    #[test]
    fn what_was_widened_in_writing_narrows_no_more() {
        let narrow = source(TOKENS, ALLOWED);
        let wide = source("none: true", ", allow_from: [0.0.0.0/0, '::/0']");
        let half = source(TOKENS, ", allow_from: [0.0.0.0/0]");
        let closed = source(TOKENS, "");
        assert_eq!(left_out(&[narrow.clone(), wide, closed.clone()]), "");
        assert_eq!(left_out(&[narrow, half, closed]), "allow_from");
    }

    #[test]
    fn what_narrowed_a_source_is_still_known_after_the_source_was_gone() {
        let gone = "sources: {b: {auth: {none: true}}}".to_owned();
        let narrow = source(TOKENS, ALLOWED);
        assert_eq!(left_out(&[narrow.clone(), gone.clone()]), "");
        assert_eq!(
            left_out(&[narrow.clone(), gone.clone(), source(TOKENS, "")]),
            "allow_from"
        );
        assert_eq!(left_out(&[narrow.clone(), gone, narrow]), "");
        let timed = source(&hmac(", timestamp_header: x-at"), "");
        let other = source(TOKENS, "");
        assert_eq!(
            left_out(&[timed, other, source(&hmac(""), "")]),
            "auth.hmac.timestamp_header"
        );
    }
}
