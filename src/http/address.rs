//! What a webhook's URL says: `/webhooks/{source}` or `/webhooks/{source}/{kind}`.

use actix_web::http::Uri;

use super::query;

/// The parts of a webhook's URL. Names are compared as they stand: none of them needs an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub(super) source: &'a str,
    /// Nothing, too, if the path merely ends in a slash.
    pub(super) kind: Option<&'a str>,
    pub(super) query: Option<&'a str>,
}

impl<'a> Address<'a> {
    /// Nothing, if it is not under `/webhooks/`.
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

    /// Whether everything but publishing is asked for.
    pub(super) fn dry_run(&self) -> bool {
        self.query
            .and_then(|query| query::value(query, "dry_run"))
            .is_some_and(|value| *value == *b"true")
    }
}

#[cfg(test)]
mod tests {
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
            let parts = Address::of(&uri).map(|address| (address.source, address.kind));
            assert_eq!(parts, expected, "{url}");
        }
    }

    #[test]
    fn only_the_word_true_asks_for_a_dry_run() {
        for (url, dry_run) in [
            ("/webhooks/a?dry_run=true", true),
            ("/webhooks/a?token=x&dry_run=true", true),
            ("/webhooks/a?dry_run=false", false),
            ("/webhooks/a?dry_run", false),
            ("/webhooks/a?no_dry_run=true", false),
            ("/webhooks/a", false),
        ] {
            let uri: Uri = url.parse().expect("the tests use valid URLs");
            assert_eq!(
                Address::of(&uri).map(|address| address.dry_run()),
                Some(dry_run),
                "{url}"
            );
        }
    }
}
