//! Shared tokens: `Authorization: Bearer`, the password of `Authorization: Basic`, or `?token=`.

use std::borrow::Cow;

use actix_web::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{Head, is_repeated};
use crate::http::query::{self, Parameter};
use crate::secret::Secret;

/// The SHA-256 digests of the tokens of one source. Digests all have the same length, so that the time of a comparison
/// does not depend on the length of a token.
pub(super) struct Tokens {
    digests: Vec<[u8; 32]>,
}

impl Tokens {
    pub(super) fn new(tokens: &[Secret]) -> Self {
        let digests = tokens.iter().map(|token| digest(token.expose().as_bytes()));
        Self {
            digests: digests.collect(),
        }
    }

    /// Whether the head has one of the tokens, in the header or in the URL.
    pub(super) fn pass(&self, head: &Head<'_>) -> bool {
        let header = head
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| authorization(value.as_bytes()));
        let query = match presented_by_query(head) {
            Parameter::Once(token) => Some(token),
            Parameter::Absent | Parameter::Repeated => None,
        };
        let passed = self.among(header.as_deref()) | self.among(query.as_deref());
        passed.into()
    }

    /// Whether the header or the parameter of the URL is there more than once.
    pub(super) fn is_ambiguous(head: &Head<'_>) -> bool {
        is_repeated(head.headers, AUTHORIZATION.as_str())
            || presented_by_query(head) == Parameter::Repeated
    }

    /// Compares with every token, even after one has matched, so that the time does not tell which one.
    fn among(&self, presented: Option<&[u8]>) -> Choice {
        let Some(presented) = presented.filter(|token| !token.is_empty()) else {
            return Choice::from(0);
        };
        let presented = digest(presented);
        self.digests.iter().fold(Choice::from(0), |found, token| {
            found | token.ct_eq(&presented)
        })
    }
}

/// The token in the URL.
fn presented_by_query<'a>(head: &Head<'a>) -> Parameter<'a> {
    query::parameter(head.query.unwrap_or_default(), "token")
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The token in an `Authorization` header: of Bearer, or the password of Basic.
fn authorization(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, credentials) = (&value[..space], value[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Cow::Borrowed(credentials));
    }
    if scheme.eq_ignore_ascii_case(b"basic") {
        let user_and_password = STANDARD.decode(credentials).ok()?;
        let colon = user_and_password.iter().position(|byte| *byte == b':')?;
        return Some(Cow::Owned(user_and_password[colon + 1..].to_vec()));
    }
    None
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderMap, HeaderValue};

    use super::*;
    use crate::http::auth::tests::head_at;

    fn pass(authorization: Option<&str>, query: Option<&str>) -> bool {
        let tokens = ["first", "s3cr%t+/=", "käse"].map(|token| Secret::new(token.to_owned()));
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            let value = HeaderValue::from_bytes(value.as_bytes())
                .expect("the tests use no control characters");
            headers.insert(AUTHORIZATION, value);
        }
        Tokens::new(&tokens).pass(&Head {
            query,
            ..head_at(&headers, 0)
        })
    }

    #[test]
    fn a_token_passes_from_each_place_that_it_can_stand_in() {
        for (authorization, query) in [
            (Some("Bearer first"), None),
            (Some("bearer   first "), None),
            (Some("BEARER s3cr%t+/="), None),
            (Some("Bearer käse"), None),
            (Some("Basic dXNlcjpmaXJzdA=="), None), // user:first
            (Some("Basic OmZpcnN0"), None),         // :first
            (None, Some("token=first")),
            (None, Some("dry_run=true&token=first")),
            (None, Some("token=s3cr%25t%2B%2f%3D")),
            (None, Some("%74oken=first")),
            (None, Some("token=k%C3%A4se")),
            (None, Some("token=s3cr%25t+/=")), // a plus is no space: tokens are often base64
            (Some("Bearer wrong"), Some("token=first")),
            (Some("Bearer first"), Some("token=wrong")),
        ] {
            assert!(pass(authorization, query), "{authorization:?} {query:?}");
        }
    }

    #[test]
    fn anything_else_does_not() {
        for (authorization, query) in [
            (None, None),
            (Some(""), None),
            (Some("first"), None),
            (Some("Bearer"), None),
            (Some("Bearer "), None),
            (Some("Bearer firs"), None),
            (Some("Bearer first2"), None),
            (Some("Bearer First"), None),
            (Some("Digest first"), None),
            (Some("Basic first"), None),
            (Some("Basic Zmlyc3Q="), None), // first, without a colon
            (Some("Basic Zmlyc3Q6dXNlcg=="), None), // first:user
            (None, Some("token")),
            (None, Some("token=")),
            (None, Some("token=FIRST")),
            (None, Some("Token=first")),
            (None, Some("xtoken=first")),
            (None, Some("token=firs%74%")),
            (Some("Basic Og=="), None), // an empty password
            (Some("Bearer first, Bearer first"), None),
            (Some("Bearer\tfirst"), None),
            (None, Some("token=wrong&token=first")),
            (None, Some("token=first&token=first")),
            (None, Some("token=first&%74oken")),
        ] {
            assert!(!pass(authorization, query), "{authorization:?} {query:?}");
        }
    }

    #[test]
    fn an_empty_token_is_none_even_if_it_were_configured() {
        let tokens = Tokens::new(&[Secret::new(String::new())]);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer "));
        assert!(!tokens.pass(&Head {
            query: Some("token="),
            ..head_at(&headers, 0)
        }));
    }

    #[test]
    fn a_place_that_is_there_twice_is_ambiguous() {
        let mut headers = HeaderMap::new();
        let is_ambiguous = |headers: &HeaderMap, query| {
            Tokens::is_ambiguous(&Head {
                query,
                ..head_at(headers, 0)
            })
        };
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer first"));
        assert!(!is_ambiguous(&headers, Some("token=first&tokens=first")));
        assert!(is_ambiguous(&headers, Some("token=first&token=first")));
        assert!(is_ambiguous(&headers, Some("token&%74oken=first")));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer first"));
        assert!(is_ambiguous(&headers, None));
    }
}
