//! Random JSON text, near enough to what MinChat sends that every rule is met.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const KNOWN: &[&str] = &[
    "id",
    "text",
    "file",
    "name",
    "event",
    "title",
    "avatar",
    "fields",
    "metadata",
    "username",
    "chat_id",
    "chatId",
    "channelId",
    "sent_by",
    "sentBy",
    "sent_to",
    "sentTo",
    "created_at",
    "createdAt",
    "last_active",
    "lastActive",
    "chat_metadata",
    "chatMetadata",
    "participant_user_ids",
    "participantUserIds",
    "ai_agent_username",
    "aiAgentUsername",
    "chatbot_username",
    "chatbotUsername",
];
const IN_USERS: &[&str] = &[
    "created_at",
    "createdAt",
    "last_active",
    "lastActive",
    "id",
    "metadata",
];

/// What tells a kind: its members come first, so that later ones can still undo it.
const TELLING: &[&str] = &[
    "",
    r#""event":"e","fields":{"a":1,"b":[2],"a":{"c":3}}"#,
    r#""event":"e","chatbotUsername":"a""#,
    r#""event":"e","aiAgentUsername":"a""#,
    r#""sent_by":{"createdAt":1}"#,
    r#""sentBy":{"lastActive":1}"#,
    r#""sentTo":[{"createdAt":1},{}],"sentBy":{}"#,
    r#""id":"i","participantUserIds":"p""#,
    r#""id":"i","participant_user_ids":"p""#,
    r#""id":"i","name":"n""#,
    r#""id":"i","username":"n""#,
];

/// JSON text of any shape, with white space in odd places half of the time.
pub fn json() -> impl Strategy<Value = String> {
    let text = prop_oneof![9 => payload(), 1 => value()];
    let gaps = prop_oneof![
        Just(vec![""]),
        vec(select(&["", "", " ", "\n", "\t\r\n  "][..]), 1..40)
    ];
    (text, gaps).prop_map(|(text, gaps)| {
        let mut gaps = gaps.iter().cycle();
        let mut spaced = String::new();
        for token in super::oracle::tokens(&text) {
            spaced.extend(gaps.next().copied());
            spaced.push_str(&token);
        }
        spaced.extend(gaps.next().copied());
        spaced
    })
}

fn payload() -> impl Strategy<Value = String> {
    let known = (key(KNOWN), prop_oneof![string(), value(), users(), value()]);
    let members = vec(
        known.prop_map(|(key, value)| format!("{key}:{value}")),
        0..8,
    );
    (select(TELLING), members).prop_map(|(telling, mut members)| {
        if !telling.is_empty() {
            members.insert(0, telling.to_owned());
        }
        format!("{{{}}}", members.join(","))
    })
}

/// A user, or what stands where users stand.
fn users() -> impl Strategy<Value = String> {
    let user = object(key(IN_USERS), scalar()).boxed();
    let users = vec(prop_oneof![4 => user.clone(), 1 => scalar()], 0..4);
    prop_oneof![
        user,
        users.prop_map(|users| format!("[{}]", users.join(",")))
    ]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 5, |inner| {
        let array =
            vec(inner.clone(), 0..5).prop_map(|elements| format!("[{}]", elements.join(",")));
        prop_oneof![array, object(key(KNOWN), inner)]
    })
}

fn object(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let members = vec(
        (key, value).prop_map(|(key, value)| format!("{key}:{value}")),
        0..5,
    );
    members.prop_map(|members| format!("{{{}}}", members.join(",")))
}

/// Mostly one of the names, at times with its letters escaped, at times any string.
fn key(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let escaped = (select(names), any::<u32>()).prop_map(|(name, which)| {
        let letters = name
            .chars()
            .enumerate()
            .map(|(at, letter)| match which >> (at % 32) & 1 {
                0 => letter.to_string(),
                _ => format!("\\u{:04X}", u32::from(letter)),
            });
        format!("\"{}\"", letters.collect::<String>())
    });
    prop_oneof![6 => select(names).prop_map(|name| format!("\"{name}\"")), 1 => escaped, 1 => string()]
}

fn scalar() -> impl Strategy<Value = String> {
    let number = r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?";
    let word = select(&["null", "true", "false"][..]).prop_map(str::to_owned);
    prop_oneof![2 => string(), 1 => number, 1 => word]
}

/// Strings with every escape, surrogates alone and in pairs, and characters of each length.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,12}",
        1 => r#"\\["\\/bfnrt]"#,
        1 => r"\\u[0-9a-fA-F]{4}",
        1 => r"\\ud[89ab][0-9a-f]{2}\\uD[c-f][0-9A-F]{2}",
        1 => "[\u{7f}-\u{a0}é\u{2028}\u{feff}\u{fdcf}-\u{fdf0}\u{fffd}-\u{ffff}\u{1fffe}😀]{1,3}",
        1 => Just(r"\u0000".repeat(50)),
    ];
    vec(piece, 0..7).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}
