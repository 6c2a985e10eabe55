//! Credentials, from the configuration or from files of their own.
//!
//! Guarantees: nothing that is said here quotes a credential.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;

use config::{Value, ValueKind};

use super::kinds::{Checked, Wrong, wrong};
use super::shown::quoted;
use super::table::Kind;

/// More than any file of credentials.
const MAX_FILE: u64 = 1 << 20;

/// A password.
pub(super) fn one(text: &str) -> Result<Checked, Wrong> {
    if text.is_empty() {
        return Err(wrong(
            "it is empty",
            "give the secret, or the file that holds it",
        ));
    }
    Ok(Checked {
        typed: ValueKind::String(text.to_owned()),
        shown: yaml_stars(),
    })
}

/// What the items of a list of secrets are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// What one of them is called.
    pub name: &'static str,
    /// What makes a good one, as the end of a sentence.
    made_by: &'static str,
    holds: fn(&str) -> bool,
    /// Why one of them does not hold, and what would.
    otherwise: (&'static str, &'static str),
}

/// What a request's head can carry.
pub(super) const TOKENS: Rule = Rule {
    name: "token",
    made_by: "openssl rand -hex 32",
    holds: is_graphic,
    otherwise: (
        "has a space, or something that is not ASCII",
        "use letters, digits and punctuation only, as a request's head can't carry more",
    ),
};

/// Keys of HMACs, each as its text stands.
pub(super) const KEYS: Rule = Rule {
    name: "secret",
    made_by: "openssl rand -hex 32",
    holds: |text| !text.chars().any(char::is_control),
    otherwise: ("has a control character", "use text"),
};

/// Secrets as Standard Webhooks writes them.
pub(super) const WHSEC: Rule = Rule {
    name: "secret",
    made_by: "echo whsec_$(openssl rand -base64 32)",
    holds: crate::http::settings::is_whsec,
    otherwise: (
        "is not of the form whsec_...",
        "give whsec_ and 24 to 64 bytes in base64",
    ),
};

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Several secrets.
pub(super) fn list(rule: &Rule, secrets: &[&str]) -> Result<Checked, Wrong> {
    let name = rule.name;
    let mut seen = BTreeSet::new();
    for (number, secret) in (1..).zip(secrets) {
        if secret.is_empty() {
            return Err(wrong(
                format!("{name} {number} is empty"),
                "give it, or drop it",
            ));
        }
        if !(rule.holds)(secret) {
            let (why, right) = rule.otherwise;
            return Err(wrong(format!("{name} {number} {why}"), right));
        }
        if !seen.insert(secret) {
            return Err(wrong(
                format!("{name} {number} is there twice"),
                "give each once",
            ));
        }
    }
    if secrets.is_empty() {
        return Err(wrong(
            format!("there is no {name} in it"),
            format!("give at least one, such as the output of: {}", rule.made_by),
        ));
    }
    let typed = secrets
        .iter()
        .map(|secret| Value::new(None, *secret))
        .collect();
    let shown = vec![yaml_stars(); secrets.len()].join(", ");
    Ok(Checked {
        typed: ValueKind::Array(typed),
        shown: format!("[{shown}]"),
    })
}

/// Reads the file that holds a secret: a password is all of it but one line's end, a list is its
/// lines but the empty ones.
pub(super) fn from_file(kind: &Kind, path: &str) -> Result<Checked, Wrong> {
    let text = read(path)?;
    if text.trim().is_empty() {
        return Err(wrong(
            format!("{} is empty", quoted(path)),
            "write the secret into it",
        ));
    }
    let checked = match kind {
        Kind::Secrets(rule) => list(
            rule,
            &text
                .lines()
                .filter(|line| !line.is_empty())
                .collect::<Vec<_>>(),
        ),
        _ => {
            let text = text.strip_suffix('\n').unwrap_or(&text);
            one(text.strip_suffix('\r').unwrap_or(text))
        }
    };
    checked.map_err(|found| wrong(format!("{}: {}", quoted(path), found.wrong), found.right))
}

fn read(path: &str) -> Result<String, Wrong> {
    let right = "name a file that the bridge may read";
    let mut bytes = Vec::new();
    let opened =
        fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    if let Err(error) = opened {
        return Err(wrong(
            format!("{} can't be read: {error}", quoted(path)),
            right,
        ));
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong(
            format!("{} is larger than 1 MiB", quoted(path)),
            right,
        ));
    }
    String::from_utf8(bytes).map_err(|_| wrong(format!("{} is not UTF-8", quoted(path)), right))
}

/// `***`, quoted, as a star begins an alias in YAML.
fn yaml_stars() -> String {
    "\"***\"".to_owned()
}
