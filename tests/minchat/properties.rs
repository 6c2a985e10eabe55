use std::collections::HashMap;

use minchat_bridge::minchat::{Drift, Kind, Malformed, read};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::de::IgnoredAny;

use super::oracle::{self, Expected};
use super::random;

/// What the room makes of a payload, to be held against the oracle.
fn made(json: &str) -> Expected {
    let payload = read(json.as_bytes(), None).expect("a payload");
    let mut data = Vec::new();
    payload.write_data(&mut data);
    assert_eq!(payload.data_len(), data.len());
    assert_eq!(payload.is_verbatim(), data == json.as_bytes());
    Expected {
        kind: payload.kind(),
        data: String::from_utf8(data).expect("UTF-8"),
        ordering_key: payload.ordering_key().map(str::to_owned),
        legacy: payload.drift().contains(Drift::LegacyKey),
        missing: payload.drift().contains(Drift::MissingKey),
    }
}

/// One place of a text, and what is done to it.
#[derive(Clone, Debug)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
}

impl Damage {
    fn any() -> impl Strategy<Value = Damage> {
        let byte = || prop_oneof![4 => select(&b"{}[]:,\"\\ \n\t0159.eE+-tfnu\0\x1f\x7f\x0c/"[..]), 1 => any::<u8>()];
        prop_oneof![
            (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
            (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
            any::<Index>().prop_map(Damage::Remove),
            any::<Index>().prop_map(Damage::Truncate),
        ]
    }

    fn make(&self, body: &mut Vec<u8>) {
        match self {
            Damage::Insert(at, byte) => body.insert(at.index(body.len() + 1), *byte),
            _ if body.is_empty() => {}
            Damage::Replace(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Damage::Remove(at) => drop(body.remove(at.index(body.len()))),
            Damage::Truncate(at) => body.truncate(at.index(body.len())),
        }
    }
}

/// Taken by the room exactly if serde_json takes it as UTF-8 text, but for what is nested too deep, and for one byte
/// order mark, which serde_json does not ignore.
///
/// Without the check for UTF-8 serde_json would take any bytes inside a string that it skips. Surrogates that stand
/// alone are JSON text for both.
fn agrees_with_serde_json(body: &[u8]) {
    let theirs = str::from_utf8(body)
        .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(oracle::without_mark(text)).is_ok());
    match read(body, None) {
        Ok(_) => assert!(
            theirs,
            "serde_json refuses {:?}",
            String::from_utf8_lossy(body)
        ),
        Err(Malformed::TooDeep { offset }) => assert!(offset >= 60),
        Err(malformed) => assert!(!theirs, "{malformed}: {:?}", String::from_utf8_lossy(body)),
    }
}

proptest! {
    #[test]
    fn random_json_comes_out_token_for_token_but_for_the_named_rows(json in random::json()) {
        prop_assert_eq!(made(&json), oracle::expected(&json));
    }

    #[test]
    fn a_byte_order_mark_changes_nothing(json in random::json()) {
        let marked = format!("\u{feff}{json}");
        prop_assert_eq!(made(&marked), oracle::expected(&json));
        agrees_with_serde_json(marked.as_bytes());
        agrees_with_serde_json(format!("\u{feff}{marked}").as_bytes());
    }

    #[test]
    fn what_came_out_once_comes_out_the_same_again(json in random::json()) {
        let once = made(&json);
        let again = made(&once.data);
        prop_assert_eq!(&again.data, &once.data);
        prop_assert_eq!(again.ordering_key, once.ordering_key);
    }

    #[test]
    fn damaged_json_is_taken_exactly_if_serde_json_takes_it(
        json in random::json(),
        damages in vec(Damage::any(), 1..4),
    ) {
        let mut body = json.into_bytes();
        for damage in damages {
            damage.make(&mut body);
            agrees_with_serde_json(&body);
        }
    }

    #[test]
    fn random_bytes_are_taken_exactly_if_serde_json_takes_them(body in vec(any::<u8>(), 0..64)) {
        agrees_with_serde_json(&body);
    }

    #[test]
    fn random_tokens_are_taken_exactly_if_serde_json_takes_them(
        tokens in vec(select(&["{", "}", "[", "]", ",", ":", "\"a\"", "0", "-1.5e3", "null", " ", "\"\\u0061"][..]), 0..12),
    ) {
        agrees_with_serde_json(tokens.concat().as_bytes());
    }

    #[test]
    fn depth_is_counted_as_the_oracle_counts_it(
        opened in vec(any::<bool>(), 50..70),
        innermost in select(&["", "1", "{}", "[0]"][..]),
    ) {
        let mut json = innermost.to_owned();
        for object in opened {
            json = match object {
                true if json.is_empty() => "{}".to_owned(),
                true => format!(r#"{{"sent_by":{json}}}"#),
                false => format!("[{json}]"),
            };
        }
        let too_deep = matches!(read(json.as_bytes(), None), Err(Malformed::TooDeep { .. }));
        prop_assert_eq!(too_deep, oracle::levels(&json) > 60);
    }
}

/// The properties above say little if the random JSON meets few of the rules.
#[test]
fn random_json_meets_every_kind_and_leaves_few_payloads_alone() {
    let mut runner = TestRunner::deterministic();
    let mut kinds: HashMap<Kind, usize> = HashMap::new();
    let (mut changed, mut keyed) = (0, 0);
    for _ in 0..1000 {
        let json = random::json()
            .new_tree(&mut runner)
            .expect("a strategy without filters")
            .current();
        let expected = oracle::expected(&json);
        *kinds.entry(expected.kind).or_default() += 1;
        changed += usize::from(expected.data != oracle::tokens(&json).concat());
        keyed += usize::from(expected.ordering_key.is_some());
    }
    for kind in Kind::ALL {
        assert!(
            kinds.get(&kind).is_some_and(|count| *count >= 80),
            "{kinds:?}"
        );
    }
    assert!(changed >= 300, "{changed} of 1000 are changed by a rule");
    assert!(keyed >= 200, "{keyed} of 1000 have an ordering key");
}
