//! Parses the URL of a webhook: `/webhooks/{source}` or `/webhooks/{source}/{kind}`.

use actix_web::http::Uri;
use actix_web::http::header::HeaderMap;

use super::problem::Problem;
use super::query::{self, Parameter};

/// The parts of a webhook's URL. Percent-encoding in the path is not decoded, because no name of a source or kind needs
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WebhookUrl<'a> {
    pub(super) source: &'a str,
    /// `None` also if the path ends with the slash after the source.
    pub(super) kind: Option<&'a str>,
    pub(super) query: Option<&'a str>,
}

impl<'a> WebhookUrl<'a> {
    /// Returns `None` if the path does not begin with `/webhooks/`.
    pub(super) fn of(uri: &'a Uri) -> Option<Self> {
        let path = uri.path().strip_prefix("/webhooks/")?;
        let (source, kind) = match path.split_once('/') {
            Some((source, kind)) => (source, Some(kind).filter(|kind| !kind.is_empty())),
            None => (path, None),
        };
        Some(Self {
            source,
            kind,
            query: uri.query(),
        })
    }

    /// Whether the query asks for a dry run, in which the webhook is checked but not published.
    ///
    /// # Errors
    /// When the query has something like `dry_run` that is not clearly yes or no. Such a webhook is never published.
    pub(super) fn dry_run(&self) -> Result<bool, Problem> {
        let query = self.query.unwrap_or_default();
        let resembling = query::names_resembling(query, "dryrun");
        let asked = match query::parameter(query, "dry_run") {
            Parameter::Absent if resembling.is_empty() => Some(false),
            Parameter::Once(value) if resembling.len() == 1 => truth(&value),
            _ => None,
        };
        asked.ok_or_else(|| {
            let misspelled = resembling.iter().find(|name| *name != b"dry_run");
            invalid("parameter", misspelled.map_or(b"dry_run", Vec::as_slice))
        })
    }
}

/// Refuses a request with a header that looks like `dry_run`. A dry run cannot be requested by a header, and publishing
/// the webhook would be the opposite of what the sender wants.
///
/// # Errors
/// When there is such a header.
pub(super) fn no_dry_run_by_header(headers: &HeaderMap) -> Result<(), Problem> {
    let mut names = headers.keys().map(|name| name.as_str().as_bytes());
    match names.find(|name| query::resembles(name, "dryrun")) {
        Some(name) => Err(invalid("header", name)),
        None => Ok(()),
    }
}

/// The problem of a parameter or header that looks like `dry_run`, but is not a valid request for a dry run.
fn invalid(what: &str, name: &[u8]) -> Problem {
    const LONGEST: usize = 40;
    let name = String::from_utf8_lossy(&name[..name.len().min(LONGEST)]);
    Problem::invalid_parameter(format!(
        "the {what} {name:?} does not say whether this is a dry run: say it once, by dry_run=true or dry_run=false in \
         the URL; nothing was published"
    ))
}

/// Parses the usual spellings of yes and no. A parameter without a value means yes.
fn truth(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"" | b"1" | b"true" | b"yes" | b"on" => Some(true),
        b"0" | b"false" | b"no" | b"off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::problem::Slug;
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, expected) in [
            ("/webhooks/minchat", Some(("minchat", None))),
            ("/webhooks/minchat/", Some(("minchat", None))),
            ("/webhooks/minchat?token=x", Some(("minchat", None))),
            (
                "/webhooks/minchat/message.sent",
                Some(("minchat", Some("message.sent"))),
            ),
            (
                "/webhooks/minchat/message.sent/",
                Some(("minchat", Some("message.sent/"))),
            ),
            ("/webhooks/minchat//", Some(("minchat", Some("/")))),
            ("/webhooks/", Some(("", None))),
            (
                "http://bridge.example/webhooks/minchat",
                Some(("minchat", None)),
            ),
            ("/webhooks", None),
            ("/", None),
            ("/webhookss/minchat", None),
            ("/../webhooks/minchat", None),
            ("*", None),
        ] {
            let uri: Uri = url.parse().expect("the tests use valid URLs");
            let parts = WebhookUrl::of(&uri).map(|url| (url.source, url.kind));
            assert_eq!(parts, expected, "{url}");
        }
    }

    #[test]
    fn a_dry_run_is_asked_for_in_the_usual_spellings_and_nothing_like_it_is_overlooked() {
        for (query, asked) in [
            ("token=x", Some(false)),
            ("no_dry_run=true", None),
            ("x_dry_run=true", None),
            ("dry_rum=true", None),
            ("dry_run", Some(true)),
            ("dry_run=", Some(true)),
            ("dry_run=1", Some(true)),
            ("dry_run=TRUE", Some(true)),
            ("dry_run=Yes", Some(true)),
            ("dry_run=on", Some(true)),
            ("token=x&dry_run=true", Some(true)),
            ("dry%5Frun=%74rue", Some(true)),
            ("dry_run=0", Some(false)),
            ("dry_run=False", Some(false)),
            ("dry_run=no", Some(false)),
            ("dry_run=OFF", Some(false)),
            ("dry_run=2", None),
            ("dry_run=maybe", None),
            ("dry_run=true ", None),
            ("dry_run=tr&ue", None),
            ("dry_run=true;token=x", None),
            ("dry_run=%22true%22", None),
            ("dry_run=%00", None),
            ("dry_run=true&dry_run=true", None),
            ("dry_run=false&dry%5frun=false", None),
            ("dry_run=false&DRY_RUN=true", None),
            ("DRY_RUN=true", None),
            ("dry-run=true", None),
            ("dryrun", None),
            ("dryRun=true", None),
            ("%20dry_run=true", None),
            ("dry_run[]=true", None),
            ("?dry_run=true", None),
            ("x=1;dry_run=true", None),
            ("x=1%26dry_run=true", None),
            ("dry%255Frun=true", None),
        ] {
            let url = WebhookUrl {
                source: "a",
                kind: None,
                query: Some(query),
            };
            let answer = url.dry_run().map_err(|problem| problem.slug());
            assert_eq!(answer, asked.ok_or(Slug::InvalidParameter), "{query}");
        }
        let without = WebhookUrl {
            source: "a",
            kind: None,
            query: None,
        };
        assert!(matches!(without.dry_run(), Ok(false)));
    }
}
