use super::*;

const USER: &str = r#"{"id":"u"}"#;

/// Each row: what came in, and what goes out.
fn check(rows: &[(&str, &str)]) {
    for (came_in, goes_out) in rows {
        assert_eq!(data(came_in), *goes_out);
    }
}

#[test]
fn every_old_spelling_is_renamed() {
    check(&[
        (
            r#"{"sentBy":{},"sentTo":[],"chatId":"c"}"#,
            r#"{"sent_by":{},"sent_to":[],"chat_id":"c"}"#,
        ),
        (
            r#"{"sentBy":{},"channelId":"c"}"#,
            r#"{"sent_by":{},"chat_id":"c"}"#,
        ),
        (
            r#"{"sentBy":{},"chatMetadata":{}}"#,
            r#"{"sent_by":{},"chat_metadata":{}}"#,
        ),
        (
            r#"{"id":"i","name":"n","lastActive":1,"createdAt":2}"#,
            r#"{"id":"i","name":"n","last_active":1,"created_at":2}"#,
        ),
        (
            r#"{"id":"i","participantUserIds":[],"createdAt":2}"#,
            r#"{"id":"i","participant_user_ids":[],"created_at":2}"#,
        ),
        (
            r#"{"event":"e","chatbot_username":"a","chatId":"c"}"#,
            r#"{"event":"e","ai_agent_username":"a","chat_id":"c"}"#,
        ),
        (
            r#"{"event":"e","chatbotUsername":"a","channelId":"c"}"#,
            r#"{"event":"e","ai_agent_username":"a","chat_id":"c"}"#,
        ),
        (
            r#"{"event":"e","aiAgentUsername":"a"}"#,
            r#"{"event":"e","ai_agent_username":"a"}"#,
        ),
    ]);
}

#[test]
fn of_several_old_spellings_the_leftmost_of_the_table_is_renamed() {
    check(&[
        (
            r#"{"channelId":"2","chatId":"1","sent_by":{}}"#,
            r#"{"channelId":"2","chat_id":"1","sent_by":{}}"#,
        ),
        (
            r#"{"event":"e","aiAgentUsername":3,"chatbotUsername":2,"chatbot_username":1}"#,
            r#"{"event":"e","aiAgentUsername":3,"chatbotUsername":2,"ai_agent_username":1}"#,
        ),
        (
            r#"{"event":"e","aiAgentUsername":3,"chatbotUsername":2}"#,
            r#"{"event":"e","aiAgentUsername":3,"ai_agent_username":2}"#,
        ),
    ]);
}

#[test]
fn an_old_spelling_stays_if_todays_is_there() {
    for json in [
        r#"{"sentBy":{"createdAt":1},"sent_by":{}}"#,
        r#"{"sent_by":{},"chat_id":null,"chatId":"c","channelId":"d"}"#,
        r#"{"sent_by":{},"chat_id":1,"chat_id":2,"chatId":"c"}"#,
        r#"{"sent_by":{"createdAt":1,"created_at":2}}"#,
        r#"{"id":"i","participant_user_ids":[],"participantUserIds":"x"}"#,
    ] {
        check(&[(json, json)]);
        assert!(drift(json).contains(&Drift::LegacyKey), "{json}");
    }
}

#[test]
fn of_a_doubled_key_all_are_kept_and_the_last_is_renamed() {
    check(&[
        (
            r#"{"sentBy":{"createdAt":1},"sentBy":{"createdAt":2},"chatId":"1","chatId":"2"}"#,
            r#"{"sentBy":{"createdAt":1},"sent_by":{"created_at":2},"chatId":"1","chat_id":"2"}"#,
        ),
        (
            r#"{"sent_by":{"createdAt":1},"sent_by":{"createdAt":2,"createdAt":3}}"#,
            r#"{"sent_by":{"createdAt":1},"sent_by":{"createdAt":2,"created_at":3}}"#,
        ),
        (
            r#"{"id":"i","participant_user_ids":"a","participant_user_ids":"b"}"#,
            r#"{"id":"i","participant_user_ids":"a","participant_user_ids":["b"]}"#,
        ),
        (
            r#"{"event":"e","fields":{"a":1},"fields":{"b":2}}"#,
            r#"{"event":"e","fields":{"a":1},"fields":[{"fieldName":"b","fieldValue":2}]}"#,
        ),
        (
            r#"{"event":"e","fields":{"a":1},"fields":[]}"#,
            r#"{"event":"e","fields":{"a":1},"fields":[]}"#,
        ),
        (
            r#"{"sent_by":{},"sent_to":[{"createdAt":1}],"sent_to":[{"createdAt":2}]}"#,
            r#"{"sent_by":{},"sent_to":[{"createdAt":1}],"sent_to":[{"created_at":2}]}"#,
        ),
    ]);
}

#[test]
fn keys_are_compared_with_their_escapes_undone() {
    check(&[
        (
            r#"{"sent\u0042y":{},"chat\u0049d":"c"}"#,
            r#"{"sent_by":{},"chat_id":"c"}"#,
        ),
        // Today's spelling is there, escaped, and stays as it was written.
        (
            r#"{"sent_by":{},"chat\u005fid":"c","chatId":"d"}"#,
            r#"{"sent_by":{},"chat\u005fid":"c","chatId":"d"}"#,
        ),
        (
            r#"{"sent_by":{"created\u0041t":1}}"#,
            r#"{"sent_by":{"created_at":1}}"#,
        ),
        // An escaped backslash, and a surrogate that stands alone, are no escapes of a letter.
        (
            r#"{"sent_by":{},"chat\\u0049d":"c"}"#,
            r#"{"sent_by":{},"chat\\u0049d":"c"}"#,
        ),
        (
            r#"{"sent_by":{},"\ud800chatId":"c"}"#,
            r#"{"sent_by":{},"\ud800chatId":"c"}"#,
        ),
    ]);
}

#[test]
fn users_are_renamed_where_the_row_says_so() {
    check(&[
        // Each user is looked at alone.
        (
            r#"{"sent_by":{},"sent_to":[{"created_at":1},{"createdAt":2},{}]}"#,
            r#"{"sent_by":{},"sent_to":[{"created_at":1},{"created_at":2},{}]}"#,
        ),
        (
            r#"{"sent_by":{"lastActive":1},"sent_to":[{"createdAt":2},3,{"lastActive":4,"createdAt":5}]}"#,
            r#"{"sent_by":{"last_active":1},"sent_to":[{"created_at":2},3,{"last_active":4,"created_at":5}]}"#,
        ),
        (
            r#"{"sentTo":[{"createdAt":2},{"created_at":1,"createdAt":2}],"sentBy":{"lastActive":1}}"#,
            r#"{"sent_to":[{"created_at":2},{"created_at":1,"createdAt":2}],"sent_by":{"last_active":1}}"#,
        ),
    ]);
}

#[test]
fn nothing_else_is_touched() {
    for json in [
        // What applications put there, and what no row names.
        r#"{"sent_by":{"metadata":{"createdAt":1}},"metadata":{"sentBy":{"createdAt":1}},"chat_metadata":{"chatId":1}}"#,
        r#"{"sent_by":{},"file":{"createdAt":1},"other":[{"createdAt":1}]}"#,
        // A user or a list of users in the wrong place or of the wrong type.
        r#"{"sent_by":{},"sent_to":{"createdAt":1}}"#,
        r#"{"sent_by":{},"sent_to":[[{"createdAt":1}]]}"#,
        r#"{"sent_by":[{"createdAt":1}],"sentBy":{"createdAt":1}}"#,
        r#"{"sent_by":{},"createdAt":1,"lastActive":1}"#,
        // Rows of other kinds.
        r#"{"id":"i","name":"n","chatId":1,"sentTo":[{"createdAt":1}],"fields":{"a":1}}"#,
        r#"{"id":"i","participant_user_ids":[],"lastActive":1}"#,
        r#"{"event":"e","fields":[],"createdAt":1,"sentTo":[{"createdAt":1}]}"#,
        // No kind at all.
        r#"{"chatId":1,"sentTo":[{"createdAt":1}],"fields":{"a":1},"participantUserIds":"x"}"#,
        r#"{"event":"e","fields":"text"}"#,
        r#"{"id":"i","participant_user_ids":1}"#,
    ] {
        check(&[(json, json)]);
    }
}

#[test]
fn one_participant_becomes_an_array_of_it() {
    check(&[
        (
            r#"{"id":"i","participant_user_ids":"a\u0062"}"#,
            r#"{"id":"i","participant_user_ids":["a\u0062"]}"#,
        ),
        (
            r#"{"participantUserIds":"" , "id":"i"}"#,
            r#"{"participant_user_ids":[""],"id":"i"}"#,
        ),
    ]);
}

#[test]
fn fields_become_an_array_in_their_order() {
    check(&[
        (
            r#"{"event":"e","fields":{}}"#,
            r#"{"event":"e","fields":[]}"#,
        ),
        (
            r#"{"event":"e","fields": { } }"#,
            r#"{"event":"e","fields":[]}"#,
        ),
        (
            r#"{"event":"e","fields":{"b":1.10,"a":"\u0041","b":{"x":[1,{}]},"\"\ud800":null},"chatId":"c"}"#,
            concat!(
                r#"{"event":"e","fields":[{"fieldName":"b","fieldValue":1.10},{"fieldName":"a","fieldValue":"\u0041"},"#,
                r#"{"fieldName":"b","fieldValue":{"x":[1,{}]}},{"fieldName":"\"\ud800","fieldValue":null}],"chat_id":"c"}"#
            ),
        ),
        (
            "{ \"event\" : \"e\" , \"fields\" : { \"a\" :\t[ 1 , 2 ]\r\n, \"b\" : { } } }",
            r#"{"event":"e","fields":[{"fieldName":"a","fieldValue":[1,2]},{"fieldName":"b","fieldValue":{}}]}"#,
        ),
    ]);
}

#[test]
fn numbers_stay_to_the_last_digit() {
    let json = r#"[12345678901234567890,1.10,1e400,-0,-0.0,1E+2,0.1e-7,100000000000000000000000000000001]"#;
    check(&[(json, json)]);
}

#[test]
fn white_space_goes_between_tokens_and_stays_in_strings() {
    check(&[
        (
            " \t\r\n{ \"a b\" : [ 1 , \" \u{a0}\u{2028}\" , { } , [ ] ] }\n",
            "{\"a b\":[1,\" \u{a0}\u{2028}\",{},[]]}",
        ),
        (" 1 ", "1"),
        ("{\"sent_by\":{}}\n", "{\"sent_by\":{}}"),
        (
            "{\"sentBy\": {\"createdAt\":\n1}, \"chatId\" :2}",
            "{\"sent_by\":{\"created_at\":1},\"chat_id\":2}",
        ),
    ]);
}

#[test]
fn a_body_without_white_space_and_old_spellings_is_verbatim() {
    assert!(payload(r#"{"sent_by":{},"chat_id":"c"}"#).is_verbatim());
    assert!(!payload("{\"sent_by\":{}}\n").is_verbatim());
    assert!(!payload(&format!(r#"{{"sentBy":{USER}}}"#)).is_verbatim());
    assert!(payload("[]").is_verbatim());
    assert!(!payload("[ ]").is_verbatim());
}
