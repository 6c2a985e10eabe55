use super::*;

/// A payload of each kind that departs in nothing; `extra` is put in at its end.
fn with(extra: &str) -> [String; 4] {
    [
        r#"{"event":"e","ai_agent_username":"a","chat_id":"c""#,
        r#"{"sent_by":{},"sent_to":[],"chat_id":"c""#,
        r#"{"id":"i","participant_user_ids":["a"]"#,
        r#"{"id":"i","username":"u","name":"n""#,
    ]
    .map(|json| format!("{json}{extra}}}"))
}

#[test]
fn todays_shapes_have_none() {
    for json in with("") {
        assert_eq!(drift(&json), [], "{json}");
    }
    let [agent, message, conversation, user] = [
        r#","fields":[{"fieldName":"a","fieldValue":"b"}]"#,
        r#","text":"t","file":{},"metadata":{},"chat_metadata":{}"#,
        r#","title":"t","avatar":"a","metadata":{},"created_at":"d""#,
        r#","avatar":"a","metadata":{},"last_active":"d","created_at":"d""#,
    ];
    for (index, extra) in [agent, message, conversation, user].into_iter().enumerate() {
        let json = &with(extra)[index];
        assert_eq!(drift(json), [], "{json}");
    }
}

#[test]
fn optional_keys_may_be_null() {
    let extras = [
        r#","fields":null"#,
        r#","text":null,"file":null,"metadata":null,"chat_metadata":null"#,
        r#","title":null,"avatar":null,"metadata":null,"created_at":null"#,
        r#","avatar":null,"metadata":null,"last_active":null,"created_at":null"#,
    ];
    for (index, extra) in extras.into_iter().enumerate() {
        let json = &with(extra)[index];
        assert_eq!(drift(json), [], "{json}");
    }
}

#[test]
fn old_spellings_and_old_forms_are_legacy() {
    for json in [
        r#"{"sentBy":{},"sent_to":[],"chat_id":"c"}"#,
        r#"{"sent_by":{},"sentTo":[],"chat_id":"c"}"#,
        r#"{"sent_by":{},"sent_to":[],"chatId":"c"}"#,
        r#"{"sent_by":{},"sent_to":[],"channelId":"c"}"#,
        r#"{"sent_by":{},"sent_to":[],"chat_id":"c","channelId":1}"#,
        r#"{"sent_by":{},"sent_to":[],"chat_id":"c","chatMetadata":{}}"#,
        r#"{"sent_by":{"lastActive":1},"sent_to":[],"chat_id":"c"}"#,
        r#"{"sent_by":{},"sent_to":[{"createdAt":1}],"chat_id":"c"}"#,
        r#"{"id":"i","participant_user_ids":"a"}"#,
        r#"{"id":"i","participantUserIds":"a"}"#,
        r#"{"id":"i","participantUserIds":[]}"#,
        r#"{"id":"i","participant_user_ids":[],"createdAt":"d"}"#,
        r#"{"id":"i","username":"u","name":"n","lastActive":"d"}"#,
        r#"{"event":"e","chatbot_username":"a","chat_id":"c"}"#,
        r#"{"event":"e","chatbotUsername":"a","chat_id":"c"}"#,
        r#"{"event":"e","aiAgentUsername":"a","chat_id":"c"}"#,
        r#"{"event":"e","ai_agent_username":"a","chat_id":"c","fields":{}}"#,
    ] {
        assert_eq!(drift(json), [Drift::LegacyKey], "{json}");
    }
}

#[test]
fn an_old_spelling_in_a_user_that_does_not_count_is_no_drift() {
    let json = r#"{"sent_by":{"createdAt":1},"sent_by":{},"sent_to":[],"chat_id":"c"}"#;
    assert_eq!(drift(json), []);
}

#[test]
fn required_keys_are_missed() {
    for json in [
        r#"{"event":"e","ai_agent_username":"a"}"#,
        r#"{"event":"e","chat_id":"c","fields":[]}"#,
        r#"{"sent_by":{},"chat_id":"c"}"#,
        r#"{"sent_by":{},"sent_to":[]}"#,
        r#"{"id":"i","username":"u"}"#,
        r#"{"id":"i","name":"n"}"#,
    ] {
        assert_eq!(drift(json), [Drift::MissingKey], "{json}");
    }
}

#[test]
fn a_known_key_of_another_type_is_told() {
    for json in [
        r#"{"event":"e","ai_agent_username":null,"chat_id":"c"}"#,
        r#"{"event":"e","ai_agent_username":"a","chat_id":7}"#,
        r#"{"event":"e","ai_agent_username":"a","chat_id":"c","fields":"f"}"#,
        r#"{"event":"e","ai_agent_username":"a","chat_id":"c","fields":["f"]}"#,
        r#"{"sent_by":{},"sent_to":{},"chat_id":"c"}"#,
        r#"{"sent_by":{},"sent_to":null,"chat_id":"c"}"#,
        r#"{"sent_by":{},"sent_to":[{},"u"],"chat_id":"c"}"#,
        r#"{"sent_by":{},"sent_to":[],"chat_id":"c","text":1}"#,
        r#"{"sent_by":{},"sent_to":[],"chat_id":"c","file":"f"}"#,
        r#"{"sent_by":{},"sent_to":[],"chat_id":"c","metadata":[]}"#,
        r#"{"sent_by":{},"sent_to":[],"chat_id":"c","chat_metadata":true}"#,
        r#"{"id":"i","participant_user_ids":null}"#,
        r#"{"id":"i","participant_user_ids":["a",1]}"#,
        r#"{"id":"i","participant_user_ids":[],"title":1}"#,
        r#"{"id":"i","participant_user_ids":[],"created_at":1}"#,
        r#"{"id":"","participant_user_ids":[]}"#,
        r#"{"id":"i","username":"u","name":null}"#,
        r#"{"id":"i","username":"u","name":"n","avatar":{}}"#,
        r#"{"id":"i","username":"u","name":"n","last_active":1}"#,
    ] {
        assert_eq!(drift(json), [Drift::WrongType], "{json}");
    }
}

#[test]
fn a_renamed_key_is_held_against_todays_type() {
    let json = r#"{"sentBy":{},"sentTo":"u","chatId":"c"}"#;
    assert_eq!(drift(json), [Drift::LegacyKey, Drift::WrongType]);
}

#[test]
fn of_a_doubled_key_the_last_is_held_against_todays_type() {
    let [_, message, _, _] = with(r#","text":1,"text":"t""#);
    assert_eq!(drift(&message), []);
    let [_, message, _, _] = with(r#","text":"t","text":1"#);
    assert_eq!(drift(&message), [Drift::WrongType]);
}

#[test]
fn a_key_that_the_kind_does_not_have_is_told_by_name() {
    for json in with(r#","reactions":[]"#) {
        assert_eq!(drift(&json), [Drift::UnknownKey], "{json}");
        assert_eq!(
            payload(&json).unknown_keys().collect::<Vec<_>>(),
            ["reactions"],
            "{json}"
        );
    }
    // Other kinds have these.
    let [_, message, _, _] = with(r#","title":"t","createdAt":1"#);
    assert_eq!(drift(&message), [Drift::UnknownKey]);
    let mut names: Vec<_> = payload(&message).unknown_keys().map(String::from).collect();
    names.sort();
    assert_eq!(names, ["createdAt", "title"]);
}

#[test]
fn an_unknown_key_inside_a_value_is_no_drift() {
    let json = r#"{"sent_by":{"new":1},"sent_to":[{"new":1}],"chat_id":"c","metadata":{"new":1}}"#;
    assert_eq!(drift(json), []);
}

#[test]
fn names_of_unknown_keys_are_decoded_cut_and_without_control_characters() {
    let name = |key: &str| {
        let json = format!(r#"{{"sent_by":{{}},"{key}":1}}"#);
        payload(&json)
            .unknown_keys()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(name(r"\u0061\n\u007f\u0085"), ["a%0A%7F%C2%85"]);
    assert_eq!(name(&"é".repeat(64)), ["é".repeat(64)]);
    assert_eq!(name(&"é".repeat(65)), ["é".repeat(64)]);
    assert_eq!(name(&r"\n".repeat(65)), ["%0A".repeat(64)]);
    assert_eq!(name(r"\ud800\n"), [r"\ud800\n"]);
    assert_eq!(name(""), [""]);
}

#[test]
fn an_unrecognized_payload_has_no_shape_to_depart_from() {
    for json in [r#"{"chatId":1,"new":2}"#, "[]", "1"] {
        assert_eq!(drift(json), [], "{json}");
        assert_eq!(payload(json).unknown_keys().count(), 0, "{json}");
    }
}
