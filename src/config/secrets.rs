//! Credentials, from the configuration or from files of their own.
//!
//! Guarantees: nothing that is said here quotes a credential.

use std::collections::BTreeSet;
use std::path::Path;

use config::{Value, ValueKind};

use super::files;
use super::kinds::{Checked, Wrong, wrong};
use super::shown::quoted;
use super::table::Kind;

/// A password.
pub(super) fn one(text: &str) -> Result<Checked, Wrong> {
    if text.trim().is_empty() {
        return Err(wrong(
            "it is empty",
            "give the secret, or the file that holds it",
        ));
    }
    if text.contains('\0') {
        return Err(wrong("it has a NUL byte", "give it as text"));
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
    /// Whether an operator chooses them freely, so that they can be too short.
    is_chosen: bool,
}

/// Fewer different characters than this are not a random text of 128 bits.
const LEAST_DIFFERENT: usize = 8;

/// What a request's head can carry.
pub(super) const TOKENS: Rule = Rule {
    name: "token",
    made_by: "openssl rand -hex 32",
    holds: is_graphic,
    otherwise: (
        "has a space, or something that is not ASCII",
        "use letters, digits and punctuation only, as a request's head can't carry more",
    ),
    is_chosen: true,
};

/// Keys of HMACs, each as its text stands.
pub(super) const KEYS: Rule = Rule {
    name: "secret",
    made_by: "openssl rand -hex 32",
    holds: |text| !text.chars().any(char::is_control),
    otherwise: ("has a control character", "use text"),
    is_chosen: true,
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
    is_chosen: false,
};

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text can't be a random one of 128 bits, so that it may be guessed.
///
/// A text holds at most 6 bits a character, 4 if all of them are hexadecimal digits, and 3.3 if all are decimal
/// digits. Separators hold nothing in a text of digits.
fn is_weak(text: &str) -> bool {
    let digits: Vec<char> = text.chars().filter(|one| !"-_:.".contains(*one)).collect();
    let is_long = if digits.iter().all(char::is_ascii_digit) {
        digits.len() >= 39
    } else if digits.iter().all(char::is_ascii_hexdigit) {
        digits.len() >= 32
    } else {
        text.chars().count() >= 22
    };
    let different: BTreeSet<char> = text.chars().collect();
    !is_long || different.len() < LEAST_DIFFERENT
}

/// Whether quotes stand around a text, as in a file of another format.
fn is_in_quotes(text: &str) -> bool {
    const QUOTES: [(char, char); 5] =
        [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’')];
    let text = text.trim();
    let mut quotes = QUOTES.iter();
    quotes.any(|(open, close)| {
        text.chars().count() > 1 && text.starts_with(*open) && text.ends_with(*close)
    })
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
        if is_in_quotes(secret) {
            return Err(wrong(
                format!("{name} {number} is in quotes, which would be a part of it"),
                "take the quotes away",
            ));
        }
        if !(rule.holds)(secret) {
            let (why, right) = rule.otherwise;
            return Err(wrong(format!("{name} {number} {why}"), right));
        }
        if rule.is_chosen && is_weak(secret) {
            return Err(wrong(
                format!("{name} {number} is weaker than 128 bits and can be guessed"),
                format!(
                    "give the output of: {}; at least 22 characters, 32 if all are hexadecimal digits, 39 if all are decimal, and at least {LEAST_DIFFERENT} different ones",
                    rule.made_by
                ),
            ));
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
/// lines but the empty ones. There are no comments in it.
pub(super) fn from_file(kind: &Kind, path: &str) -> Result<Checked, Wrong> {
    let text = files::read(Path::new(path)).map_err(|why| {
        wrong(
            format!("{} {why}", quoted(path)),
            "name a file that the bridge may read",
        )
    })?;
    if text.trim().is_empty() {
        return Err(wrong(
            format!("{} is empty", quoted(path)),
            "write the secret into it",
        ));
    }
    let checked = match kind {
        Kind::Secrets(rule) => lines(rule, &text),
        _ => {
            let text = text.strip_suffix('\n').unwrap_or(&text);
            one(text.strip_suffix('\r').unwrap_or(text))
        }
    };
    checked.map_err(|found| wrong(format!("{}: {}", quoted(path), found.wrong), found.right))
}

fn lines(rule: &Rule, text: &str) -> Result<Checked, Wrong> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    match lines.iter().any(|line| line.starts_with('#')) {
        true => Err(wrong(
            format!("a {} begins with #, as a comment would", rule.name),
            "take the line out, as such a file has no comments",
        )),
        false => list(rule, &lines),
    }
}

/// `***`, quoted, as a star begins an alias in YAML.
fn yaml_stars() -> String {
    "\"***\"".to_owned()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_text_that_can_not_hold_128_random_bits_is_weak() {
        let hex = "4f1c09d2b7a85e63f0d9187c2ab4e536";
        let digits = "314159265358979323846264338327950288419";
        for weak in [
            "",
            "hunter2",
            "0123456789abcdef",
            &hex[..31],
            &format!("{}-{}", &hex[..16], &hex[16..31]),
            "aa:bb:cc:dd:ee:ff:00:11:22",
            &digits[..38],
            "Zm9vYmFyYmF6cXV4IQx3a",
            &"x".repeat(100),
            &"abcabcdabc".repeat(10),
            &"secret-".repeat(10),
            &"password".repeat(8),
            &"1234567".repeat(8),
            &format!("{}b", "a".repeat(40)),
        ] {
            assert!(is_weak(weak), "{weak}");
        }
        for strong in [
            hex,
            &hex.to_uppercase(),
            digits,
            "Zm9vYmFyYmF6cXV4IQx3a9",
            "550e8400-e29b-41d4-a716-446655440000",
            "a-token-that-is-long-enough",
            "ein-schlüssel-mit-umläuten",
        ] {
            assert!(!is_weak(strong), "{strong}");
        }
    }

    #[test]
    fn a_random_text_of_128_bits_is_never_weak() {
        for number in 0..10_000_u32 {
            let random = Sha256::digest(number.to_be_bytes());
            let hex: String = random[..16]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert!(!is_weak(&hex), "{hex}");
            let base64 = URL_SAFE_NO_PAD.encode(&random[..16]);
            assert!(!is_weak(&base64), "{base64}");
        }
    }
}
