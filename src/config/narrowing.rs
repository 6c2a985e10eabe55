//! What narrows whom a source lets in, and that a reload does not lose it.
//!
//! Guarantees: of two configurations that a file has one after the other, the later one lets in more only by what is
//! written in it. What it leaves out does not count: a file that is read while somebody saves it, or that was cut
//! otherwise, leaves out its end. In between there can be others, in which a source was left out as a whole.
//! Not responsible for: what a file that was cut says of a source that is new; telling that a file was cut inside a
//! line (`yaml`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnet::IpNet;

use super::Loaded;
use super::complete::DEFAULT;
use super::path::SettingPath;

/// Settings without which their section lets in more, or something else, than with them; and how to widen each while
/// the bridge runs.
const NARROWING: [(&str, &str); 8] = [
    (
        "sources.*.allow_from",
        "write [0.0.0.0/0, \"::/0\"] for every address",
    ),
    ("sources.*.auth.mtls.names", NO_VALUE),
    (
        "sources.*.auth.hmac.header",
        "write x-signature, the default",
    ),
    ("sources.*.auth.hmac.prefix", NO_VALUE),
    ("sources.*.auth.hmac.encoding", "write hex, the default"),
    ("sources.*.auth.hmac.timestamp_header", NO_VALUE),
    ("sources.*.auth.hmac.tolerance", "write 5m, the default"),
    (
        "sources.*.auth.standard_webhooks.tolerance",
        "write 5m, the default",
    ),
];

const NO_VALUE: &str = "restart the bridge, as no value says the same";

/// What a configuration leaves out that narrowed a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
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

/// All that has narrowed a source in a configuration that was in use.
#[derive(Clone, Debug, Default)]
pub struct Narrowing {
    /// Those of the settings above that were given.
    given: BTreeSet<SettingPath>,
    /// The trusted proxies of each source, as they were given last.
    proxies: BTreeMap<String, Vec<IpNet>>,
}

impl Narrowing {
    /// Notes what narrows in a configuration that is in use now.
    pub fn add(&mut self, holds: &Loaded) {
        let given =
            given(holds).filter(|path| NARROWING.iter().any(|(pattern, _)| path.is_like(pattern)));
        self.given.extend(given.cloned());
        for source in &holds.config.sources {
            if is_everything(&source.allow_from) {
                // Leaving it out lets in no more any longer.
                let path = SettingPath::of(["sources", source.name.as_str(), "allow_from"]);
                self.given.remove(&path);
            }
            self.proxies
                .insert(source.name.clone(), source.trusted_proxies.clone());
        }
    }

    /// What another configuration leaves out of it, although the section where it stood is there.
    pub fn left_out(&self, would: &Loaded) -> Vec<LeftOut> {
        let is_there = |section: &SettingPath| {
            let mut effective = would.effective.iter();
            effective.any(|one| section.covers(&one.path))
        };
        let is_given = |path: &SettingPath| given(would).any(|given| given == path);
        let narrowing = self
            .given
            .iter()
            .filter(|path| is_there(&path.parent()) && !is_given(path));
        let narrowing = narrowing.filter_map(|path| {
            let mut rows = NARROWING.iter();
            let (_, on_purpose) = rows.find(|(pattern, _)| path.is_like(pattern))?;
            let path = path.clone();
            Some(LeftOut { path, on_purpose })
        });
        narrowing.chain(self.proxies_left_out(would)).collect()
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

fn given(loaded: &Loaded) -> impl Iterator<Item = &SettingPath> {
    let given = loaded.effective.iter().filter(|one| one.origin != DEFAULT);
    given.map(|one| &one.path)
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
