//! Text that is never shown.
//!
//! Guarantees: no `Debug` or `Display` prints the content, so that no log line, error or panic can.
//! Leaves to others: comparing in constant time, which is the matter of whoever checks credentials.

use std::fmt;

use serde::Deserialize;

/// A credential: a token, a password.
///
/// `==` is for checks of the configuration; it is not constant in time.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(String);

impl Secret {
    /// Takes `content` as it is.
    pub fn new(content: impl Into<String>) -> Self {
        Self(content.into())
    }

    /// The content, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(content: String) -> Self {
        Self(content)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_as_three_stars_and_nothing_else() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "*** *** Some(***)"
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
