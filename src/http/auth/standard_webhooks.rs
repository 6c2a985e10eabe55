//! Signatures by Standard Webhooks 1.0 (<https://www.standardwebhooks.com>), which relays use.
//!
//! The signature covers `webhook-id`, `webhook-timestamp` and the body as received, with full stops between them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::signature::{self, Keys, Signature};
use super::{Head, is_repeated, only};
use crate::http::settings::StandardWebhooksSettings;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// The longest id that is accepted, in bytes. It is limited because the id becomes part of the envelope.
const LONGEST_ID: usize = 256;

/// Whether an id is valid. An id must not contain a full stop: the signature covers `id.timestamp.body`, so it would be
/// valid for several requests that split this text differently. The specification forbids full stops for the same
/// reason. Control characters are not allowed in an attribute of an event (CloudEvents 1.0.2, "Type System").
fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'.';
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// The Standard Webhooks scheme of one source.
pub(super) struct StandardWebhooks {
    keys: Keys,
    tolerance: Duration,
}

/// The parts of a head that this scheme reads.
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

    /// Whether the head has everything that a valid signature needs, so that the body has to be read.
    pub(super) fn could_pass(&self, head: &Head<'_>) -> bool {
        self.presented(head).is_some()
    }

    /// Whether a header that this scheme reads is there more than once.
    pub(super) fn is_ambiguous(head: &Head<'_>) -> bool {
        [ID, TIMESTAMP, SIGNATURE]
            .iter()
            .any(|name| is_repeated(head.headers, name))
    }

    /// Returns the id of the webhook if the signature is valid for it and for this body.
    pub(super) fn pass<'h>(&self, head: &Head<'h>, wire: &[u8]) -> Option<&'h str> {
        let Presented {
            id,
            timestamp,
            signatures,
        } = self.presented(head)?;
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", wire];
        self.keys.verify(&signatures, &parts).then_some(id)
    }

    fn presented<'h>(&self, head: &Head<'h>) -> Option<Presented<'h>> {
        let id = only(head.headers, ID)?;
        let timestamp = only(head.headers, TIMESTAMP)?;
        let list = only(head.headers, SIGNATURE)?;
        // Signatures of other versions are ignored, such as `v1a`, which uses a public key.
        let signatures = list.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let presented = Presented {
            id,
            timestamp,
            signatures: signatures.filter_map(signature::from_base64).collect(),
        };
        let holds = is_id(id)
            && !presented.signatures.is_empty()
            && signature::is_near(timestamp, head.now, self.tolerance);
        holds.then_some(presented)
    }
}

/// Decodes the key of a secret, which is `whsec_` and 24 to 64 bytes in base64.
pub(in crate::http) fn key(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::auth::tests::{head_at, headers};
    use crate::secret::Secret;

    /// The test vector of the libraries of the specification: secret, id, time, body and signature.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: &str = "1614265330";
    const NOW: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const OTHER: &str = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";

    fn pass(now: i64, sent: &[(&'static str, &str)], body: &[u8]) -> Option<String> {
        let scheme = StandardWebhooks::new(&StandardWebhooksSettings {
            secrets: ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka", SECRET]
                .map(Secret::new)
                .into(),
            tolerance: Duration::from_secs(300),
        });
        let headers = headers(sent);
        let head = head_at(&headers, now);
        let id = scheme.pass(&head, body).map(str::to_owned);
        assert!(
            id.is_none() || scheme.could_pass(&head),
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
