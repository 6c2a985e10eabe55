//! Signatures by Standard Webhooks 1.0, as relays make them (<https://www.standardwebhooks.com>).
//!
//! Signed are `webhook-id`, `webhook-timestamp` and the bytes on the wire, with full stops between.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::signature::{self, Keys, Signature};
use super::{Head, is_repeated, only};
use crate::http::settings::StandardWebhooksSettings;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// Longest id that is taken, in bytes: it goes into the envelope.
const LONGEST_ID: usize = 256;

/// The Standard Webhooks of one source.
pub(super) struct StandardWebhooks {
    keys: Keys,
    tolerance: Duration,
}

/// What a request presents.
struct Presented<'h> {
    id: &'h str,
    timestamp: &'h str,
    signatures: Vec<Signature>,
}

impl StandardWebhooks {
    pub(super) fn new(settings: &StandardWebhooksSettings) -> Self {
        let keys = settings
            .secrets
            .iter()
            .filter_map(|secret| key(secret.expose()));
        Self {
            keys: Keys::new(keys),
            tolerance: settings.tolerance,
        }
    }

    /// Whether the head has a signature that is worth a look at the body.
    pub(super) fn is_tried(&self, head: &Head<'_>) -> bool {
        self.presented(head).is_some()
    }

    /// Whether a header that it reads is there twice.
    pub(super) fn is_ambiguous(head: &Head<'_>) -> bool {
        [ID, TIMESTAMP, SIGNATURE]
            .iter()
            .any(|name| is_repeated(head.headers, name))
    }

    /// The webhook's id, if it and the bytes on the wire are signed.
    pub(super) fn pass<'h>(&self, head: &Head<'h>, wire: &[u8]) -> Option<&'h str> {
        let Presented {
            id,
            timestamp,
            signatures,
        } = self.presented(head)?;
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", wire];
        self.keys.made(&signatures, &parts).then_some(id)
    }

    fn presented<'h>(&self, head: &Head<'h>) -> Option<Presented<'h>> {
        let id = only(head.headers, ID)?;
        let timestamp = only(head.headers, TIMESTAMP)?;
        let list = only(head.headers, SIGNATURE)?;
        // `v1a`, by a public key, and whatever comes later are others' signatures: passed over.
        let signatures = list.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let presented = Presented {
            id,
            timestamp,
            signatures: signatures.filter_map(signature::from_base64).collect(),
        };
        let holds = (1..=LONGEST_ID).contains(&id.len())
            && !presented.signatures.is_empty()
            && signature::is_near(timestamp, head.now, self.tolerance);
        holds.then_some(presented)
    }
}

/// The key that a secret of the form `whsec_<base64>` stands for: 24 to 64 bytes.
pub(in crate::http) fn key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::auth::tests::{head_at, headers};
    use crate::secret::Secret;

    /// The vector of the specification's own libraries: secret, id, time, body and signature.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: &str = "1614265330";
    const NOW: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const OTHER: &str = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";

    fn pass(now: i64, sent: &[(&'static str, &str)], body: &[u8]) -> Option<String> {
        let way = StandardWebhooks::new(&StandardWebhooksSettings {
            secrets: ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka", SECRET]
                .map(Secret::new)
                .into(),
            tolerance: Duration::from_secs(300),
        });
        let headers = headers(sent);
        let head = head_at(&headers, now);
        let id = way.pass(&head, body).map(str::to_owned);
        assert!(
            id.is_none() || way.is_tried(&head),
            "what passes is looked at"
        );
        id
    }

    fn sent<'a>(id: &'a str, at: &'a str, signature: &'a str) -> [(&'static str, &'a str); 3] {
        [
            ("webhook-id", id),
            ("webhook-timestamp", at),
            ("webhook-signature", signature),
        ]
    }

    #[test]
    fn the_specifications_vector_passes_with_its_id() {
        assert_eq!(pass(NOW, &sent(ID, AT, SIGNED), BODY).as_deref(), Some(ID));
    }

    #[test]
    fn one_good_signature_among_several_is_enough() {
        for list in [
            format!("{OTHER} {SIGNED}"),
            format!("{SIGNED} {OTHER}"),
            format!(
                "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== {SIGNED}"
            ),
            format!("v2,{} {SIGNED}", &SIGNED[3..]),
            format!("v1,short {SIGNED}"),
        ] {
            assert_eq!(
                pass(NOW, &sent(ID, AT, &list), BODY).as_deref(),
                Some(ID),
                "{list}"
            );
        }
    }

    #[test]
    fn what_is_not_signed_so_does_not_pass() {
        let long = "x".repeat(LONGEST_ID + 1);
        for (id, at, signature) in [
            (ID, AT, OTHER),
            (ID, AT, ""),
            (ID, AT, "v1"),
            (ID, AT, "v1,"),
            (ID, AT, &SIGNED[3..]),
            (ID, AT, &SIGNED.replace("v1", "v1a")),
            (ID, AT, &SIGNED.replace("v1", "V1")),
            (ID, AT, &SIGNED.replace("g0hM", "g0hN")),
            ("msg_other", AT, SIGNED),
            ("", AT, SIGNED),
            (&long, AT, SIGNED),
            (ID, "1614265331", SIGNED),
            (ID, "01614265330", SIGNED),
            (ID, "", SIGNED),
            (ID, "now", SIGNED),
            (ID, "9223372036854775807", SIGNED),
            (ID, "-9223372036854775808", SIGNED),
        ] {
            assert_eq!(
                pass(NOW, &sent(id, at, signature), BODY),
                None,
                "{id} {at} {signature}"
            );
        }
        assert_eq!(
            pass(NOW, &sent(ID, AT, SIGNED), br#"{"test": 2432232315}"#),
            None
        );
        assert_eq!(pass(NOW, &sent(ID, AT, SIGNED)[1..], BODY), None);
        assert_eq!(pass(NOW, &sent(ID, AT, SIGNED)[..2], BODY), None);
        assert_eq!(
            pass(
                NOW,
                &[&sent(ID, AT, SIGNED)[..], &[("webhook-id", ID)]].concat(),
                BODY
            ),
            None
        );
    }

    #[test]
    fn a_webhook_is_good_as_long_as_its_time_is_near() {
        for (now, passes) in [
            (NOW - 301, false),
            (NOW - 300, true),
            (NOW + 300, true),
            (NOW + 301, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            assert_eq!(
                pass(now, &sent(ID, AT, SIGNED), BODY).is_some(),
                passes,
                "{now}"
            );
        }
    }

    #[test]
    fn a_secret_is_24_to_64_bytes_behind_its_prefix() {
        let of = |count: usize| format!("whsec_{}", STANDARD.encode(vec![7; count]));
        for (secret, holds) in [
            (SECRET.to_owned(), true),
            (of(24), true),
            (of(64), true),
            (of(23), false),
            (of(65), false),
            (SECRET.replace("whsec_", ""), false),
            (SECRET.replace("whsec_", "whsk_"), false),
            ("whsec_".to_owned(), false),
            ("whsec_****".to_owned(), false),
        ] {
            assert_eq!(key(&secret).is_some(), holds, "{secret}");
        }
    }
}
