use super::*;

/// The ordering key of a message whose `chat_id` is this JSON value.
fn of_chat(chat_id: &str) -> Option<String> {
    let json = format!(r#"{{"sent_by":{{}},"sent_to":[],"chat_id":{chat_id}}}"#);
    let payload = payload(&json);
    let key = payload.ordering_key().map(str::to_owned);
    let wrong = payload.drift().contains(Drift::WrongType);
    assert_eq!(
        wrong,
        key.is_none(),
        "a key that can't be used is drift: {chat_id}"
    );
    assert!(!payload.drift().contains(Drift::MissingKey));
    key
}

#[test]
fn each_kind_has_its_key() {
    for (json, expected) in [
        (
            r#"{"event":"e","fields":[],"id":"i","chat_id":"c"}"#,
            Some("c"),
        ),
        (r#"{"sent_by":{},"id":"i","chat_id":"c"}"#, Some("c")),
        (
            r#"{"participant_user_ids":[],"id":"i","chat_id":"c"}"#,
            Some("i"),
        ),
        (r#"{"username":"n","id":"i","chat_id":"c"}"#, Some("i")),
        (r#"{"id":"i","chat_id":"c"}"#, None),
    ] {
        assert_eq!(payload(json).ordering_key(), expected, "{json}");
    }
}

#[test]
fn the_key_is_read_after_normalization() {
    for (json, expected) in [
        (r#"{"sentBy":{},"channelId":"2","chatId":"1"}"#, Some("1")),
        (r#"{"sentBy":{},"channelId":"2"}"#, Some("2")),
        (r#"{"sentBy":{},"chatId":"1","chatId":"2"}"#, Some("2")),
        (r#"{"sentBy":{},"chatId":"1","chat_id":null}"#, None),
        (
            r#"{"event":"e","chatbotUsername":"a","channelId":"c"}"#,
            Some("c"),
        ),
        (r#"{ "sent_by" : { } , "chat_id" : "c" }"#, Some("c")),
    ] {
        assert_eq!(payload(json).ordering_key(), expected, "{json}");
    }
}

#[test]
fn a_key_that_is_not_there_is_missing() {
    let json = r#"{"sent_by":{},"sent_to":[]}"#;
    assert_eq!(payload(json).ordering_key(), None);
    assert_eq!(drift(json), [Drift::MissingKey]);
}

#[test]
fn a_key_is_decoded() {
    assert_eq!(of_chat(r#""a\u0062\/\"\\""#).as_deref(), Some("ab/\"\\"));
    assert_eq!(of_chat(r#""é\ud83d\ude00""#).as_deref(), Some("é😀"));
}

#[test]
fn a_key_that_cant_be_used_is_none() {
    for chat_id in [
        "1",
        "null",
        "true",
        "[]",
        "{}",
        r#""""#,
        r#""\ud800""#,
        r#""a\udc00b""#,
    ] {
        assert_eq!(of_chat(chat_id), None, "{chat_id}");
    }
}

#[test]
fn a_key_has_at_most_256_bytes_decoded() {
    assert_eq!(
        of_chat(&format!("\"{}\"", "a".repeat(256))).map(|key| key.len()),
        Some(256)
    );
    assert_eq!(of_chat(&format!("\"{}\"", "a".repeat(257))), None);
    assert_eq!(
        of_chat(&format!("\"{}\"", "é".repeat(128))).map(|key| key.len()),
        Some(256)
    );
    assert_eq!(of_chat(&format!("\"{}a\"", "é".repeat(128))), None);
    // Escapes count as what they stand for, and control characters before they are written.
    assert_eq!(
        of_chat(&format!("\"{}\"", r"\u0061".repeat(256))).map(|key| key.len()),
        Some(256)
    );
    assert_eq!(of_chat(&format!("\"{}\"", r"\u0061".repeat(257))), None);
    assert_eq!(
        of_chat(&format!("\"{}\"", r"\u0000".repeat(256))).map(|key| key.len()),
        Some(768)
    );
}

#[test]
fn control_characters_are_written_as_percent_and_hex() {
    assert_eq!(
        of_chat(r#""a\nb\u001f\u007f\u0080\u009f\u00a0""#).as_deref(),
        Some("a%0Ab%1F%7F%C2%80%C2%9F\u{a0}")
    );
    assert_eq!(of_chat("\"\u{7f}\u{85}\"").as_deref(), Some("%7F%C2%85"));
    assert_eq!(of_chat(r#""100%""#).as_deref(), Some("100%"));
}

#[test]
fn noncharacters_are_written_as_percent_and_hex() {
    for chat_id in ["\"a\u{fffe}b\"", r#""a\ufffeb""#] {
        assert_eq!(
            of_chat(chat_id).as_deref(),
            Some("a%EF%BF%BEb"),
            "{chat_id}"
        );
    }
    for chat_id in ["\"\u{1ffff}\"", r#""\ud83f\udfff""#] {
        assert_eq!(
            of_chat(chat_id).as_deref(),
            Some("%F0%9F%BF%BF"),
            "{chat_id}"
        );
    }
    assert_eq!(
        of_chat("\"\u{fdd0}\u{fdef}\"").as_deref(),
        Some("%EF%B7%90%EF%B7%AF")
    );
}
