//! Any bytes as a webhook's body: taken exactly if they are JSON, and written token for token but for the named rows.

use minchat_bridge::minchat::{Drift, Kind, Malformed, Payload, read};
use serde::de::IgnoredAny;

use crate::oracle;

/// Holds one body against serde_json's grammar, and against the tables of the contract as tests/minchat has them.
pub fn check(body: &[u8]) {
    let text = str::from_utf8(body).ok().map(oracle::without_mark);
    let is_json = text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    match (read(body, None), text) {
        (Ok(payload), Some(text)) => {
            assert!(is_json, "it is taken, and serde_json refuses it");
            as_the_contract_has_it(&payload, body, text);
            whatever_the_url_says(body, payload.kind());
        }
        (Ok(_), None) => panic!("it is taken, and is not UTF-8"),
        (Err(Malformed::TooDeep { .. }), text) => {
            let levels = text.filter(|_| is_json).map(oracle::levels);
            assert!(levels.is_none_or(|levels| levels > 60), "{levels:?} levels");
        }
        (Err(why), _) => assert!(!is_json, "serde_json takes it: {why}"),
    }
}

fn as_the_contract_has_it(payload: &Payload<'_>, body: &[u8], text: &str) {
    let expected = oracle::expected(text);
    let data = data(payload);
    assert_eq!(payload.kind(), expected.kind);
    assert_eq!(str::from_utf8(&data), Ok(expected.data.as_str()));
    assert_eq!(payload.data_len(), data.len());
    assert_eq!(payload.is_verbatim(), data == body);
    assert_eq!(payload.ordering_key(), expected.ordering_key.as_deref());
    assert_eq!(payload.drift().contains(Drift::LegacyKey), expected.legacy);
    assert_eq!(
        payload.drift().contains(Drift::MissingKey),
        expected.missing
    );
    for name in payload.unknown_keys() {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    let again = read(&data, None).expect("what was written is JSON too");
    assert_eq!(
        self::data(&again),
        data,
        "what came out once comes out the same again"
    );
    assert_eq!(again.ordering_key(), payload.ordering_key());
}

/// A kind that a URL says is taken if the payload has its shape. Else it is as if nothing had been said, and told.
fn whatever_the_url_says(body: &[u8], told: Kind) {
    let without = read(body, None).expect("it was read before");
    for said in Kind::ALL {
        let payload = read(body, Some(said)).expect("it was read before");
        let mismatch = payload.drift().contains(Drift::KindMismatch);
        assert!(
            said != told || !mismatch,
            "{} was told and said",
            said.name()
        );
        match mismatch {
            true => {
                assert_eq!(payload.kind(), told);
                assert_eq!(data(&payload), data(&without));
            }
            false => assert_eq!(payload.kind(), said),
        }
    }
}

fn data(payload: &Payload<'_>) -> Vec<u8> {
    let mut data = Vec::new();
    payload.write_data(&mut data);
    data
}
