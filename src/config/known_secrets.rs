//! The secrets of the configurations that were in use, to tell one that was cut.
//!
//! Guarantees: nothing that is said here quotes a secret.
//!
//! They are kept until the bridge ends: a file that is written slowly first loses a secret as a whole, and then has a part
//! of it. An operator adds one to them with each change of a secret.

use std::collections::BTreeMap;

use super::path::SettingPath;
use super::{Config, Loaded};
use crate::secret::Secret;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownSecrets(BTreeMap<SettingPath, Vec<Secret>>);

impl KnownSecrets {
    /// Notes the secrets of a configuration that is in use now.
    pub fn add(&mut self, config: &Config) {
        for (path, secrets) in secrets(config) {
            let known = self.0.entry(path).or_default();
            let new: Vec<Secret> = secrets
                .iter()
                .filter(|secret| !known.contains(secret))
                .cloned()
                .collect();
            known.extend(new);
        }
    }

    /// Tells, for people, each secret of another configuration that is the beginning of one that was in use.
    pub fn shortened(&self, would: &Loaded) -> Vec<String> {
        let mut told = Vec::new();
        for (path, secrets) in secrets(&would.config) {
            let known = self.0.get(&path).map_or(&[][..], Vec::as_slice);
            for (number, secret) in (1..).zip(secrets) {
                let begins_one = |whole: &Secret| whole.expose().starts_with(secret.expose());
                if !known.contains(secret) && known.iter().any(begins_one) {
                    told.push(format!(
                        "{}: secret {number} is the beginning of one that was in use, as in a file that was cut; write \
                         the whole secret, or another one",
                        place(&path, would)
                    ));
                }
            }
        }
        told
    }
}

/// All secrets of a configuration, by their settings.
fn secrets(config: &Config) -> Vec<(SettingPath, &[Secret])> {
    let mut all = Vec::new();
    for source in &config.sources {
        let auth = SettingPath::of(["sources", source.name.as_str(), "auth"]);
        all.push((auth.child("tokens"), source.auth.tokens.as_slice()));
        if let Some(hmac) = &source.auth.hmac {
            all.push((auth.child("hmac").child("secrets"), hmac.secrets.as_slice()));
        }
        if let Some(standard) = &source.auth.standard_webhooks {
            let path = auth.child("standard_webhooks").child("secrets");
            all.push((path, standard.secrets.as_slice()));
        }
    }
    if let Some(sasl) = config.kafka.as_ref().and_then(|kafka| kafka.sasl.as_ref()) {
        let path = SettingPath::dotted("kafka.sasl.password");
        all.push((path, sasl.password.as_slice()));
        if let Some(oauth) = &sasl.oauth {
            let path = SettingPath::dotted("kafka.sasl.oauth.client_secret");
            all.push((path, std::slice::from_ref(&oauth.client_secret)));
        }
    }
    if let Some(amqp) = &config.amqp {
        all.push((
            SettingPath::dotted("amqp.password"),
            amqp.password.as_slice(),
        ));
    }
    all
}

/// The setting that the secrets were read from, with its file if they are in one of their own.
fn place(path: &SettingPath, loaded: &Loaded) -> String {
    let file = path.sibling(format!("{}_file", path.name()));
    let given = loaded.effective.iter().find(|one| one.path == file);
    given.map_or_else(
        || path.to_string(),
        |given| format!("{file} ({})", given.value),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::Given;
    use super::*;

    #[test]
    fn a_secret_in_the_configuration_is_told_where_it_is_the_beginning_of_one_that_was_in_use() {
        const OLD: &str = "the-old-token-of-this-test-which-is-long";
        let load = |tokens: &str| {
            Given::yaml(&format!("sources: {{a: {{auth: {{tokens: [{tokens}]}}}}}}")).load()
        };
        let (part, other) = (&OLD[..30], "another-token-of-this-test");
        let mut known = KnownSecrets::default();
        known.add(&load(OLD).config);
        let told = known.shortened(&load(&format!("{other}, {part}"))).join("");
        assert!(
            told.starts_with("sources.a.auth.tokens: secret 2 is the beginning"),
            "{told}"
        );
        assert!(!told.contains(part), "{told}");
        known.add(&load(other).config);
        assert_eq!(
            known.shortened(&load(part)).len(),
            1,
            "it was in use before"
        );
        for fine in [OLD, other, &format!("{OLD}-and-more"), &OLD[1..]] {
            assert_eq!(known.shortened(&load(fine)), Vec::<String>::new(), "{fine}");
        }
        // Two that were in use can begin alike.
        known.add(&load(&format!("{OLD}-and-more")).config);
        assert_eq!(known.shortened(&load(OLD)), Vec::<String>::new());
    }
}
