//! HMAC-SHA256 signatures in a header, as many senders and relays make them.
//!
//! The signature covers the body as received. With a timestamp header, it covers the text of that header, a full stop,
//! and then the body, so that a request cannot be replayed later.

use super::signature::{self, Keys, Signature};
use super::{Head, is_repeated, only};
use crate::http::settings::{HmacSettings, SignatureEncoding};

/// The HMAC scheme of one source.
pub(super) struct HmacScheme {
    keys: Keys,
    settings: HmacSettings,
}

impl HmacScheme {
    pub(super) fn new(settings: &HmacSettings) -> Self {
        Self {
            keys: Keys::new(settings.secrets.iter().map(|secret| secret.expose())),
            settings: HmacSettings {
                secrets: Vec::new(),
                ..settings.clone()
            },
        }
    }

    /// Whether the head has everything that a valid signature needs, so that the body has to be read.
    pub(super) fn could_pass(&self, head: &Head<'_>) -> bool {
        self.presented(head).is_some() && self.timestamp(head).is_some()
    }

    /// Whether a header that this scheme reads is there more than once.
    pub(super) fn is_ambiguous(&self, head: &Head<'_>) -> bool {
        let headers = [
            Some(&self.settings.header),
            self.settings.timestamp_header.as_ref(),
        ];
        headers
            .into_iter()
            .flatten()
            .any(|name| is_repeated(head.headers, name))
    }

    /// Whether the signature is valid for this body.
    pub(super) fn pass(&self, head: &Head<'_>, wire: &[u8]) -> bool {
        let (Some(signature), Some(timestamp)) = (self.presented(head), self.timestamp(head))
        else {
            return false;
        };
        let stop = if timestamp.is_empty() { "" } else { "." };
        let parts = [timestamp.as_bytes(), stop.as_bytes(), wire];
        self.keys.verify(&[signature], &parts)
    }

    fn presented(&self, head: &Head<'_>) -> Option<Signature> {
        let value = only(head.headers, &self.settings.header)?;
        let text = value.trim().strip_prefix(self.settings.prefix.as_str())?;
        match self.settings.encoding {
            SignatureEncoding::Hex => signature::from_hex(text),
            SignatureEncoding::Base64 => signature::from_base64(text),
        }
    }

    /// The timestamp that the signature covers. Empty if the scheme has none; `None` if it is missing or too far from
    /// the clock.
    fn timestamp<'h>(&self, head: &Head<'h>) -> Option<&'h str> {
        let Some(name) = &self.settings.timestamp_header else {
            return Some("");
        };
        let timestamp = only(head.headers, name)?.trim();
        signature::is_near(timestamp, head.now, self.settings.tolerance).then_some(timestamp)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::hmac::{Hmac, Mac};

    use super::*;
    use crate::http::auth::tests::{head_at, headers};
    use crate::secret::Secret;

    const KEY: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    /// The signature of `BODY` with `KEY`: the example in GitHub's guide "Validating webhook deliveries".
    const SIGNED: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn scheme(change: impl FnOnce(&mut HmacSettings)) -> HmacScheme {
        let mut settings = HmacSettings {
            secrets: ["retired", KEY].map(Secret::new).into(),
            header: "x-hub-signature-256".to_owned(),
            prefix: "sha256=".to_owned(),
            encoding: SignatureEncoding::Hex,
            timestamp_header: None,
            tolerance: Duration::from_secs(300),
        };
        change(&mut settings);
        HmacScheme::new(&settings)
    }

    fn pass(scheme: &HmacScheme, sent: &[(&'static str, &str)], body: &[u8]) -> bool {
        let headers = headers(sent);
        let head = head_at(&headers, 1000);
        let pass = scheme.pass(&head, body);
        assert!(
            !pass || scheme.could_pass(&head),
            "what passes is looked at"
        );
        pass
    }

    #[test]
    fn a_signature_by_any_of_the_secrets_passes() {
        let scheme = scheme(|_| {});
        let name = "x-hub-signature-256";
        let good = format!("sha256={SIGNED}");
        assert!(pass(&scheme, &[(name, &good)], BODY));
        assert!(pass(
            &scheme,
            &[(name, &format!("sha256={}", SIGNED.to_uppercase()))],
            BODY
        ));
        for sent in [
            &[][..],
            &[(name, "")],
            &[(name, "sha256=")],
            &[(name, SIGNED)],
            &[(name, &format!("sha1={SIGNED}"))],
            &[(name, &good[..good.len() - 1])],
            &[(name, &format!("{good}0"))],
            &[(name, &good.replace("757", "756"))],
            &[("x-signature", &good)],
            &[(name, &good), (name, &good)],
        ] {
            assert!(!pass(&scheme, sent, BODY), "{sent:?}");
        }
        assert!(!pass(&scheme, &[(name, &good)], b"Hello, World"));
        assert!(!pass(&scheme, &[(name, &good)], b""));
    }

    #[test]
    fn it_can_be_base64_without_a_prefix() {
        let scheme = scheme(|settings| {
            settings.prefix.clear();
            settings.encoding = SignatureEncoding::Base64;
        });
        let signed = "dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsEPhc=";
        assert!(pass(&scheme, &[("x-hub-signature-256", signed)], BODY));
        assert!(!pass(&scheme, &[("x-hub-signature-256", SIGNED)], BODY));
    }

    #[test]
    fn a_timestamp_is_signed_too_and_has_to_be_near() {
        let scheme = scheme(|settings| settings.timestamp_header = Some("x-timestamp".to_owned()));
        let signed = |at: &str| sign(&format!("{at}.Hello, World!"));
        let name = "x-hub-signature-256";
        for (at, signature, passes) in [
            ("1000", signed("1000"), true),
            ("1300", signed("1300"), true),
            ("1301", signed("1301"), false),
            ("699", signed("699"), false),
            ("1000", signed("1001"), false),
            ("", signed(""), false),
            ("1000", format!("sha256={SIGNED}"), false),
        ] {
            assert_eq!(
                pass(&scheme, &[(name, &signature), ("x-timestamp", at)], BODY),
                passes,
                "{at}"
            );
        }
        assert!(!pass(&scheme, &[(name, &signed("1000"))], BODY));
        assert!(!pass(
            &scheme,
            &[
                (name, &signed("1000")),
                ("x-timestamp", "1000"),
                ("x-timestamp", "1000")
            ],
            BODY
        ));
    }

    fn sign(text: &str) -> String {
        let mac =
            Hmac::<sha2::Sha256>::new_from_slice(KEY.as_bytes()).map(|mac| mac.chain_update(text));
        let bytes = mac.expect("every length is taken").finalize().into_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256={hex}")
    }
}
