use super::*;

#[test]
fn each_row_is_told_by_its_keys_and_types() {
    let rows = [
        (
            r#"{"event":"x","ai_agent_username":null}"#,
            Kind::AiAgentAction,
        ),
        (r#"{"event":"x","chatbot_username":1}"#, Kind::AiAgentAction),
        (r#"{"event":"x","chatbotUsername":""}"#, Kind::AiAgentAction),
        (r#"{"event":"x","aiAgentUsername":""}"#, Kind::AiAgentAction),
        (r#"{"event":"x","fields":null}"#, Kind::AiAgentAction),
        (r#"{"event":null,"fields":[]}"#, Kind::Unrecognized),
        (r#"{"event":"x"}"#, Kind::Unrecognized),
        (r#"{"fields":[]}"#, Kind::Unrecognized),
        (r#"{"sent_by":{}}"#, Kind::MessageSent),
        (r#"{"sentBy":{}}"#, Kind::MessageSent),
        (r#"{"sent_by":null,"sentBy":{}}"#, Kind::MessageSent),
        (r#"{"sent_by":"x"}"#, Kind::Unrecognized),
        (r#"{"sentBy":[{}]}"#, Kind::Unrecognized),
        (
            r#"{"participant_user_ids":null,"id":"x"}"#,
            Kind::ConversationCreated,
        ),
        (
            r#"{"participantUserIds":[],"id":""}"#,
            Kind::ConversationCreated,
        ),
        (r#"{"participant_user_ids":[],"id":1}"#, Kind::Unrecognized),
        (r#"{"participant_user_ids":[]}"#, Kind::Unrecognized),
        (r#"{"id":"x","username":"y"}"#, Kind::UserDailyActive),
        (r#"{"id":"x","name":"y"}"#, Kind::UserDailyActive),
        (
            r#"{"id":"x","name":null,"username":"y"}"#,
            Kind::UserDailyActive,
        ),
        (r#"{"id":"x","name":null}"#, Kind::Unrecognized),
        (r#"{"id":1,"name":"y"}"#, Kind::Unrecognized),
        ("{}", Kind::Unrecognized),
        (r#"[{"id":"x","name":"y"}]"#, Kind::Unrecognized),
        (r#"{"user":{"id":"x","name":"y"}}"#, Kind::Unrecognized),
        (r#""id""#, Kind::Unrecognized),
        ("null", Kind::Unrecognized),
        ("-1", Kind::Unrecognized),
    ];
    for (json, expected) in rows {
        assert_eq!(kind(json), expected, "{json}");
    }
}

#[test]
fn the_first_row_that_passes_is_taken() {
    let all =
        r#""id":"x","name":"y","participant_user_ids":[],"sent_by":{},"event":"e","fields":[]"#;
    let members: Vec<&str> = all.split(r#","#).collect();
    let from = |first: usize| format!("{{{}}}", members[..first].join(","));
    assert_eq!(kind(&from(6)), Kind::AiAgentAction);
    assert_eq!(kind(&from(4)), Kind::MessageSent);
    assert_eq!(kind(&from(3)), Kind::ConversationCreated);
    assert_eq!(kind(&from(2)), Kind::UserDailyActive);
}

#[test]
fn a_doubled_key_is_read_where_it_stands_last() {
    assert_eq!(kind(r#"{"sent_by":{},"sent_by":1}"#), Kind::Unrecognized);
    assert_eq!(kind(r#"{"sent_by":1,"sent_by":{}}"#), Kind::MessageSent);
    assert_eq!(kind(r#"{"id":"x","name":"y","id":2}"#), Kind::Unrecognized);
}

#[test]
fn a_key_is_read_with_its_escapes_undone() {
    assert_eq!(kind(r#"{"\u0073ent_\u0062y":{}}"#), Kind::MessageSent);
    let longest = "participant_user_ids"
        .chars()
        .map(|letter| format!("\\u{:04x}", u32::from(letter)));
    assert_eq!(
        kind(&format!(
            r#"{{"id":"x","{}":[]}}"#,
            longest.collect::<String>()
        )),
        Kind::ConversationCreated
    );
}

#[test]
fn what_the_url_says_is_taken_if_the_payload_passes_that_row() {
    let json = r#"{"id":"x","name":"y","username":"z","sent_by":{}}"#;
    let said = read(json.as_bytes(), Some(Kind::UserDailyActive)).expect("a payload");
    assert_eq!(said.kind(), Kind::UserDailyActive);
    assert_eq!(said.drift().iter().collect::<Vec<_>>(), [Drift::UnknownKey]);
    assert_eq!(kind(json), Kind::MessageSent);
}

#[test]
fn the_shape_decides_if_the_payload_fails_what_the_url_says() {
    let json = r#"{"id":"x","name":"y","username":"z"}"#;
    let told = read(json.as_bytes(), Some(Kind::MessageSent)).expect("a payload");
    assert_eq!(told.kind(), Kind::UserDailyActive);
    assert_eq!(
        told.drift().iter().collect::<Vec<_>>(),
        [Drift::KindMismatch]
    );
    assert_eq!(told.ordering_key(), Some("x"));

    let unrecognized = read(b"[]", Some(Kind::MessageSent)).expect("a payload");
    assert_eq!(unrecognized.kind(), Kind::Unrecognized);
    assert!(unrecognized.drift().contains(Drift::KindMismatch));
}

#[test]
fn unrecognized_passes_when_it_is_said() {
    let json = r#"{"id":"x","name":"y"}"#;
    let said = read(json.as_bytes(), Some(Kind::Unrecognized)).expect("a payload");
    assert_eq!(said.kind(), Kind::Unrecognized);
    assert!(said.drift().is_empty());
    assert_eq!(said.ordering_key(), None);
}

#[test]
fn what_is_printed_for_debugging_says_nothing_of_the_payload() {
    let printed = format!(
        "{:?}",
        payload(r#"{"id":"secret","name":"secret","secret":1}"#)
    );
    assert!(!printed.contains("secret"), "{printed}");
}
