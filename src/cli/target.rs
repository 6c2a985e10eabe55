//! The URL that a command asks.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

/// An absolute `http` or `https` URL. It is shown without what could be a credential: the user, the
/// password and the query.
#[derive(Debug, Clone)]
pub struct Target(Uri);

impl Target {
    /// The URL to ask.
    pub(super) const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether TLS is spoken there.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The URL with `dry_run=true` in its query.
    pub(super) fn dry_run(&self) -> String {
        // What stands behind a `#` is cut off when a URL is parsed.
        let joint = if self.0.query().is_some() { '&' } else { '?' };
        format!("{}{joint}dry_run=true", self.0)
    }
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let uri: Uri = url.parse().map_err(|_| "not a URL")?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(Self(uri)),
            _ => Err("not a URL that begins with http:// or https:// and a host"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.0.host().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        url.parse().expect("it is a URL")
    }

    #[test]
    fn a_target_is_absolute_and_speaks_http() {
        for url in ["http://[::1]:8080/a", "https://bridge.example"] {
            assert!(url.parse::<Target>().is_ok(), "{url}");
        }
        for url in ["", "bridge:8080/x", "/webhooks", "ftp://a/b", "http://"] {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }

    #[test]
    fn a_target_is_shown_without_its_credentials() {
        let shown = target("https://me:hunter2@bridge.example:8443/webhooks/a?token=hunter2");
        assert_eq!(shown.to_string(), "https://bridge.example:8443/webhooks/a");
    }

    #[test]
    fn a_dry_run_is_asked_for_in_the_query() {
        assert_eq!(target("http://a/b").dry_run(), "http://a/b?dry_run=true");
        assert_eq!(
            target("http://a/b?token=c").dry_run(),
            "http://a/b?token=c&dry_run=true"
        );
    }
}
