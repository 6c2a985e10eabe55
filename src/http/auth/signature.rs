//! The common parts of all signatures: keys, a comparison in constant time, and the check of timestamps.

use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// Bytes of an HMAC-SHA256.
const LENGTH: usize = 32;

/// A decoded signature.
pub(super) type Signature = [u8; LENGTH];

/// The keys of one scheme. The HMAC state of each key is computed once, not for each request.
pub(super) struct Keys(Vec<Hmac<Sha256>>);

impl Keys {
    pub(super) fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter().map(|key| {
            Hmac::new_from_slice(key.as_ref()).expect("HMAC takes keys of every length (RFC 2104)")
        });
        Self(keys.collect())
    }

    /// Whether one of the signatures is valid for the concatenation of these parts, with one of the keys. Compares all
    /// keys with all signatures, even after a match, so that the time does not tell which one is right.
    pub(super) fn verify(&self, presented: &[Signature], parts: &[&[u8]]) -> bool {
        let mut found = Choice::from(0);
        for key in &self.0 {
            let mut mac = key.clone();
            parts.iter().for_each(|part| mac.update(part));
            let made: Signature = mac.finalize().into_bytes().into();
            for signature in presented {
                found |= made.ct_eq(signature);
            }
        }
        found.into()
    }
}

/// Whether a timestamp in seconds since 1970 differs from the clock by no more than `tolerance`, in either direction.
pub(super) fn is_near(timestamp: &str, now: i64, tolerance: Duration) -> bool {
    let is_digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = timestamp.parse::<i64>().ok().filter(|_| is_digits);
    parsed.is_some_and(|at| at.abs_diff(now) <= tolerance.as_secs())
}

/// Decodes hexadecimal digits in upper or lower case.
pub(super) fn from_hex(text: &str) -> Option<Signature> {
    let mut bytes = [0; LENGTH];
    if text.len() != 2 * LENGTH {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}

/// Decodes base64 with padding.
pub(super) fn from_base64(text: &str) -> Option<Signature> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_near_up_to_the_tolerance_and_no_extreme_one_overflows() {
        let minutes = Duration::from_secs(300);
        for (timestamp, near) in [
            ("1000", true),
            ("1300", true),
            ("700", true),
            ("1301", false),
            ("699", false),
            ("0", false),
            ("", false),
            ("+1000", false),
            ("-1000", false),
            ("1000.0", false),
            (" 1000", false),
            ("1e3", false),
            ("9223372036854775807", false),
            ("-9223372036854775808", false),
            ("9223372036854775808", false),
            ("99999999999999999999999999", false),
        ] {
            assert_eq!(is_near(timestamp, 1000, minutes), near, "{timestamp}");
        }
        assert!(!is_near(
            "9223372036854775807",
            i64::MIN,
            Duration::MAX - Duration::from_secs(1 << 63)
        ));
    }

    #[test]
    fn a_signature_is_32_bytes_whichever_way_it_is_written() {
        let hex = "0123456789abcdefABCDEF0123456789".repeat(2);
        assert!(from_hex(&hex).is_some_and(|bytes| bytes[..4] == [1, 0x23, 0x45, 0x67]));
        for wrong in [
            "",
            "00",
            &hex[1..],
            &format!("{hex}00"),
            &hex.replace('0', "g"),
            &hex.replace("01", "é"),
        ] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert!(from_base64(base64).is_some_and(|bytes| bytes[31] == 31));
        for wrong in [
            "",
            "AAEC",
            &base64[..43],
            &format!("{base64}\n"),
            &base64.replace('A', "*"),
        ] {
            assert_eq!(from_base64(wrong), None, "{wrong}");
        }
    }
}
