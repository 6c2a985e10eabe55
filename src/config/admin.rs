//! Where the admin listener of a bridge is, for a command that asks it.

use std::net::SocketAddr;

use config::ValueKind;

use super::path::SettingPath;
use super::problem::Problems;
use super::{Inputs, complete, layers, walk};

/// Reads `admin.listen` alone.
///
/// No other setting is checked, and no file but the configuration's own is read: a bridge that runs stays
/// alive while a secret can't be read or a later change of its configuration does not hold.
///
/// # Errors
/// The file can't be read or understood, or `admin.listen` is not an address.
pub fn admin_listen(inputs: &Inputs) -> Result<SocketAddr, Problems> {
    let path = SettingPath::dotted("admin.listen");
    let mut given = layers::gather(inputs);
    given.root.retain(|section, _| section == "admin");
    let mut found = walk::walk(&given);
    complete::complete(&mut found);
    let all = given.problems.into_iter().chain(found.problems);
    let problems: Vec<_> = all.filter(|problem| problem.path.covers(&path)).collect();
    let typed = found.leaves.get(&path).and_then(|leaf| leaf.typed.as_ref());
    let address = typed.and_then(|(_, value)| match value {
        ValueKind::String(text) => text.parse().ok(),
        _ => None,
    });
    match address {
        Some(address) if problems.is_empty() => Ok(address),
        _ => Err(Problems::new(problems)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(yaml: &str, set: &[(&str, &str)], env: &[(&str, &str)]) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().expect("there is a place for it");
        std::fs::write(file.path(), yaml).expect("it can be written");
        let own = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let inputs = Inputs {
            file: Some(file.path().to_owned()),
            set: own(set),
            env: own(env),
        };
        let found = admin_listen(&inputs);
        found
            .map(|address| address.to_string())
            .map_err(|problems| problems.to_string())
    }

    #[test]
    fn flags_win_over_variables_over_the_file_over_the_default() {
        let yaml = "admin: {listen: '127.0.0.1:1'}\n";
        let set: &[_] = &[("admin.listen", "127.0.0.1:3")];
        let env: &[_] = &[("MINCHAT_BRIDGE__ADMIN__LISTEN", "127.0.0.1:2")];
        for (yaml, set, env, expected) in [
            ("{}\n", &[][..], &[][..], "127.0.0.1:8081"),
            (yaml, &[], &[], "127.0.0.1:1"),
            (yaml, &[], env, "127.0.0.1:2"),
            (yaml, set, env, "127.0.0.1:3"),
        ] {
            assert_eq!(listen(yaml, set, env).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_wrong_elsewhere_is_no_matter() {
        let yaml = "admin: {listen: '[::]:9', lisen: x}\n\
                    http: {listen: nowhere, tls: {cert_file: /nowhere, key_file: /nowhere}}\n\
                    sources: {minchat: {auth: {tokens_file: /nowhere}}, B: {}}\n\
                    kafka: {}\n\
                    frobnicate: 1\n";
        let env = &[("MINCHAT_BRIDGE__AMQP__PASSWORD_FILE", "/nowhere")];
        assert_eq!(listen(yaml, &[], env).as_deref(), Ok("[::]:9"));
    }

    #[test]
    fn what_is_wrong_with_the_address_or_with_the_file_is_told() {
        for (yaml, says) in [
            ("admin: {listen: localhost}\n", "is not an address"),
            ("admin: {listen: [a, b]}\n", "it is a list"),
            ("admin: here\n", "it is not a section"),
            ("admin: {listen: '127.0.0.1:1'\n", ":"),
        ] {
            let told = listen(yaml, &[], &[]).expect_err(yaml);
            assert!(
                told.contains("has 1 problem") && told.contains(says),
                "{told}"
            );
        }
    }
}
