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

/// Tokens.
pub(super) fn list(tokens: &[&str]) -> Result<Checked, Wrong> {
    let mut seen = BTreeSet::new();
    for (number, token) in (1..).zip(tokens) {
        if token.is_empty() {
            return Err(wrong(
                format!("token {number} is empty"),
                "give it, or drop it",
            ));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let right =
                "use letters, digits and punctuation only, as a request's head can't carry more";
            return Err(wrong(
                format!("token {number} has a space, or something that is not ASCII"),
                right,
            ));
        }
        if !seen.insert(token) {
            return Err(wrong(
                format!("token {number} is there twice"),
                "give each once",
            ));
        }
    }
    if tokens.is_empty() {
        return Err(wrong(
            "there is no token in it",
            "give at least one, such as the output of: openssl rand -hex 32",
        ));
    }
    let typed = tokens
        .iter()
        .map(|token| Value::new(None, *token))
        .collect();
    let shown = vec![yaml_stars(); tokens.len()].join(", ");
    Ok(Checked {
        typed: ValueKind::Array(typed),
        shown: format!("[{shown}]"),
    })
}

/// Reads the file that holds a secret: a password is all of it but one line's end, tokens are its lines
/// but the empty ones.
pub(super) fn from_file(kind: &Kind, path: &str) -> Result<Checked, Wrong> {
    let text = read(path)?;
    if text.trim().is_empty() {
        return Err(wrong(
            format!("{} is empty", quoted(path)),
            "write the secret into it",
        ));
    }
    let checked = match kind {
        Kind::Secrets => list(
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
