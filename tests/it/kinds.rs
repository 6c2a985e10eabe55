//! The contract's tables of kinds and of normalization, row by row, through the binary: what was posted, and the
//! line that came out.

use crate::client::Request;
use crate::process::{Process, await_some};

/// What was posted; the kind, the ordering key and the subject's first word that it gets; its `data`.
type Row = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
);

/// The `traceparent` and `tracestate` headers that are sent, and those that the envelope has.
type TraceRow<'a> = (
    &'a [&'a str],
    &'a [&'a str],
    Option<&'a str>,
    Option<&'a str>,
);

/// The last line of a kind's file, as it stands there.
fn last_line(bridge: &Process, kind: &str) -> String {
    let file = format!("data/events/minchat.{kind}.v1.ndjson");
    let text = std::fs::read_to_string(bridge.path().join(file)).expect("it was just written to");
    text.lines().last().expect("a line").to_owned()
}

fn check(rows: &[Row]) {
    let bridge = Process::start("{}\n");
    bridge.await_ready();
    for (payload, kind, key, data) in rows {
        let posted = bridge.post(payload);
        assert_eq!(
            (posted.status, posted.json["kind"].as_str()),
            (202, Some(*kind)),
            "{payload}"
        );
        let line = last_line(&bridge, kind);
        assert!(
            line.ends_with(&format!(",\"data\":{data}}}")),
            "{payload}\n{line}"
        );
        let word = match *kind {
            "user.daily-active" => "users",
            _ => "chats",
        };
        let subject = key.map(|key| format!(",\"subject\":\"{word}/{key}\",\"time\":"));
        let partition_key =
            key.map(|key| format!(",\"partitionkey\":\"{key}\",\"payloadsha256\":"));
        match (subject, partition_key) {
            (Some(subject), Some(key)) => {
                assert!(line.contains(&subject) && line.contains(&key), "{line}");
            }
            _ => assert!(
                !line.contains("\"subject\":") && !line.contains("\"partitionkey\":"),
                "{line}"
            ),
        }
    }
    bridge.assert_the_books_balance();
}

#[test]
#[rustfmt::skip]
fn a_kind_is_told_by_the_first_row_that_fits() {
    check(&[
        (r#"{"event":"e","ai_agent_username":null,"chat_id":"c"}"#, "ai-agent.action", Some("c"), r#"{"event":"e","ai_agent_username":null,"chat_id":"c"}"#),
        (r#"{"event":"e","fields":null,"sent_by":{}}"#, "ai-agent.action", None, r#"{"event":"e","fields":null,"sent_by":{}}"#),
        (r#"{"event":1,"fields":[],"sent_by":{},"chat_id":"c"}"#, "message.sent", Some("c"), r#"{"event":1,"fields":[],"sent_by":{},"chat_id":"c"}"#),
        (r#"{"sent_by":{},"participant_user_ids":[],"id":"i"}"#, "message.sent", None, r#"{"sent_by":{},"participant_user_ids":[],"id":"i"}"#),
        (r#"{"sent_by":"x","participant_user_ids":[],"id":"i","name":"n"}"#, "conversation.created", Some("i"), r#"{"sent_by":"x","participant_user_ids":[],"id":"i","name":"n"}"#),
        (r#"{"id":"u","username":"n"}"#, "user.daily-active", Some("u"), r#"{"id":"u","username":"n"}"#),
        (r#"{"id":"u","name":"n","participant_user_ids2":1}"#, "user.daily-active", Some("u"), r#"{"id":"u","name":"n","participant_user_ids2":1}"#),
        (r#"{"id":1,"name":"n"}"#, "unrecognized", None, r#"{"id":1,"name":"n"}"#),
        ("null", "unrecognized", None, "null"),
        (" \"text\"\n", "unrecognized", None, "\"text\""),
    ]);
}

#[test]
#[rustfmt::skip]
fn data_has_todays_shape_whichever_came_in() {
    check(&[
        // The rows of the table.
        (r#"{"sentBy":{"lastActive":1,"createdAt":2},"sentTo":[{"lastActive":3},{"createdAt":4}],"chatId":"c","chatMetadata":{}}"#, "message.sent", Some("c"),
         r#"{"sent_by":{"last_active":1,"created_at":2},"sent_to":[{"last_active":3},{"created_at":4}],"chat_id":"c","chat_metadata":{}}"#),
        (r#"{"sent_by":{},"channelId":"c"}"#, "message.sent", Some("c"), r#"{"sent_by":{},"chat_id":"c"}"#),
        (r#"{"id":"u","name":"n","lastActive":1,"createdAt":2}"#, "user.daily-active", Some("u"), r#"{"id":"u","name":"n","last_active":1,"created_at":2}"#),
        (r#"{"id":"i","participantUserIds":["a"],"createdAt":2}"#, "conversation.created", Some("i"), r#"{"id":"i","participant_user_ids":["a"],"created_at":2}"#),
        (r#"{"id":"i","participant_user_ids":"a"}"#, "conversation.created", Some("i"), r#"{"id":"i","participant_user_ids":["a"]}"#),
        (r#"{"event":"e","chatbot_username":"a","chatId":"c"}"#, "ai-agent.action", Some("c"), r#"{"event":"e","ai_agent_username":"a","chat_id":"c"}"#),
        (r#"{"event":"e","chatbotUsername":"a","channelId":"c"}"#, "ai-agent.action", Some("c"), r#"{"event":"e","ai_agent_username":"a","chat_id":"c"}"#),
        (r#"{"event":"e","aiAgentUsername":"a"}"#, "ai-agent.action", None, r#"{"event":"e","ai_agent_username":"a"}"#),
        (r#"{"event":"e","fields":{"b":1,"a":{"x":2}}}"#, "ai-agent.action", None, r#"{"event":"e","fields":[{"fieldName":"b","fieldValue":1},{"fieldName":"a","fieldValue":{"x":2}}]}"#),
        // The leftmost of several old spellings; today's wins; of a doubled key the last.
        (r#"{"sent_by":{},"channelId":"2","chatId":"1"}"#, "message.sent", Some("1"), r#"{"sent_by":{},"channelId":"2","chat_id":"1"}"#),
        (r#"{"sent_by":{},"chat_id":"0","chatId":"1"}"#, "message.sent", Some("0"), r#"{"sent_by":{},"chat_id":"0","chatId":"1"}"#),
        (r#"{"sent_by":{},"chatId":"1","chat\u0049d":"2"}"#, "message.sent", Some("2"), r#"{"sent_by":{},"chatId":"1","chat_id":"2"}"#),
        // Nothing else is touched: numbers, escapes, order, what applications put there.
        ("{ \"sent_by\" : { \"metadata\" : { \"createdAt\" : 1.10 } } ,\n\t\"n\" : [ 12345678901234567890 , 1e400 , -0.0 ] , \"s\" : \"\\u00e9 \\/\" }", "message.sent", None,
         "{\"sent_by\":{\"metadata\":{\"createdAt\":1.10}},\"n\":[12345678901234567890,1e400,-0.0],\"s\":\"\\u00e9 \\/\"}"),
        (r#"{"chatId":"c","sentTo":[{"createdAt":1}],"fields":{"a":1}}"#, "unrecognized", None, r#"{"chatId":"c","sentTo":[{"createdAt":1}],"fields":{"a":1}}"#),
    ]);
}

#[test]
#[rustfmt::skip]
fn what_can_be_no_ordering_key_is_none() {
    check(&[
        (r#"{"sent_by":{},"chat_id":"a\nb\u007f%"}"#, "message.sent", Some("a%0Ab%7F%"), r#"{"sent_by":{},"chat_id":"a\nb\u007f%"}"#),
        (r#"{"sent_by":{},"chat_id":"\u0063"}"#, "message.sent", Some("c"), r#"{"sent_by":{},"chat_id":"\u0063"}"#),
        (r#"{"sent_by":{},"chat_id":"\ud800"}"#, "message.sent", None, r#"{"sent_by":{},"chat_id":"\ud800"}"#),
        (r#"{"sent_by":{},"chat_id":""}"#, "message.sent", None, r#"{"sent_by":{},"chat_id":""}"#),
        (r#"{"sent_by":{},"chat_id":7}"#, "message.sent", None, r#"{"sent_by":{},"chat_id":7}"#),
    ]);
}

#[test]
fn an_envelope_has_its_members_in_their_order_and_nothing_else() {
    let bridge = Process::start("envelope: {schema_base: 'https://schemas.test/'}\n");
    bridge.await_ready();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request::post("/webhooks/minchat", r#"{"sent_by":{},"chat_id":"c"}"#)
        .with("traceparent", parent)
        .with("tracestate", "rojo=1");
    let id = bridge.send(&request).json["id"]
        .as_str()
        .expect("a 202 has an id")
        .to_owned();
    let line = last_line(&bridge, "message.sent");
    let time = line
        .split("\"time\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a time");
    assert_eq!((time.len(), &time[10..11], &time[26..]), (27, "T", "Z"));
    let expected = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/webhooks/minchat\",\
         \"type\":\"io.minchat.message.sent.v1\",\"subject\":\"chats/c\",\"time\":\"{time}\",\
         \"datacontenttype\":\"application/json\",\
         \"dataschema\":\"https://schemas.test/message.sent/1.0.json\",\"partitionkey\":\"c\",\
         \"payloadsha256\":\"8395fc7ec88d227523addeb0d0b88ea8049295215ecc777d96f33d352672bff1\",\
         \"traceparent\":\"{parent}\",\"tracestate\":\"rojo=1\",\
         \"data\":{{\"sent_by\":{{}},\"chat_id\":\"c\"}}}}"
    );
    assert_eq!(line, expected);
}

#[test]
fn each_sort_of_drift_is_counted_and_a_new_key_is_told_once_by_number() {
    let bridge = Process::start("{}\n");
    bridge.await_ready();
    let whole = r#"{"sent_by":{},"sent_to":[],"chat_id":"c"}"#;
    assert_eq!(bridge.post(whole).status, 202);
    assert_eq!(bridge.metric(&["payload_drift_total"]), 0.0);
    let stranger = r#"{"sent_by":{},"sent_to":[],"chat_id":"c","mo\nod":1}"#;
    let typed = |value: &str| Request::post("/webhooks/minchat", whole).with("content-type", value);
    for (drift, request) in [
        (
            "legacy_key",
            Request::post("/webhooks/minchat", whole.replace("sent_by", "sentBy")),
        ),
        ("unknown_key", Request::post("/webhooks/minchat", stranger)),
        (
            "missing_key",
            Request::post("/webhooks/minchat", r#"{"sent_by":{},"chat_id":"c"}"#),
        ),
        (
            "wrong_type",
            Request::post("/webhooks/minchat", whole.replace("\"c\"", "7")),
        ),
        (
            "kind_mismatch",
            Request::post("/webhooks/minchat/user.daily-active", whole),
        ),
        ("content_type", typed("text/plain")),
    ] {
        assert_eq!(bridge.send(&request).status, 202, "{drift}");
        let counted = ["payload_drift_total", drift, "message.sent"];
        bridge.await_metric(&counted, 1.0);
    }
    assert_eq!(bridge.metric(&["payload_drift_total"]), 6.0);
    for json in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/cloudevents+json",
    ] {
        assert_eq!(bridge.send(&typed(json)).status, 202);
    }
    assert_eq!(bridge.metric(&["payload_drift_total", "content_type"]), 1.0);
    bridge.post(stranger);
    let told = || {
        bridge
            .log()
            .matches("keys that this kind of payload had not before")
            .count()
    };
    await_some("a line about the new key", || (told() > 0).then_some(()));
    bridge.await_log(&["INFO", "message.sent", "\"keys\":1"]);
    assert_eq!(told(), 1);
    assert!(!bridge.log().contains("mo%0Aod"), "names can be personal");
}

#[test]
fn names_of_new_keys_are_logged_at_debug_alone_and_only_so_many() {
    let stranger =
        |names: &str| format!(r#"{{"sent_by":{{}},"sent_to":[],"chat_id":"c",{names}}}"#);
    let mary = stranger(r#""mary@example.com":1,"+49 30 1234567":2"#);
    let bridge = Process::start("log: {level: debug}\n");
    assert_eq!(bridge.post(&mary).status, 202);
    bridge.await_log(&["DEBUG", "mary@example.com"]);
    bridge.await_log(&["INFO", "\"keys\":2"]);
    for line in bridge.log().lines().filter(|line| !line.contains("DEBUG")) {
        assert!(
            !line.contains("mary") && !line.contains("1234567"),
            "{line}"
        );
    }

    let bridge = Process::start("{}\n");
    assert_eq!(bridge.post(&mary).status, 202);
    for number in 0..200 {
        let made_up = stranger(&format!("\"made-up-{number}\":1"));
        assert_eq!(bridge.post(&made_up).status, 202);
    }
    bridge.signal("TERM");
    bridge.await_log(&["stopped"]);
    let log = bridge.log();
    assert!(!log.contains("mary") && !log.contains("made-up-"), "{log}");
    assert_eq!(
        log.matches("keys that this kind of payload had not before")
            .count(),
        99
    );
}

#[test]
fn of_two_trace_parents_none_counts_and_trace_states_are_one_list() {
    let bridge = Process::start("{}\n");
    bridge.await_ready();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let other = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let long = format!("c={}", "x".repeat(250));
    let many = (0..17)
        .map(|n| format!("k{n}=1"))
        .collect::<Vec<_>>()
        .join(",");
    let rows: &[TraceRow<'_>] = &[
        (&[parent], &[], Some(parent), None),
        (&[parent], &["a=1"], Some(parent), Some("a=1")),
        (&[parent], &["a=1", "b=2"], Some(parent), Some("a=1,b=2")),
        (
            &[parent],
            &["b=2,c=3", "a=1"],
            Some(parent),
            Some("b=2,c=3,a=1"),
        ),
        (
            &[parent],
            &["a=1", "", "b=2"],
            Some(parent),
            Some("a=1,,b=2"),
        ),
        (&[parent], &["a=1", "nonsense"], Some(parent), None),
        (&[parent], &["a=1", "B=2"], Some(parent), None),
        (&[parent], &[&long, &long, &long], Some(parent), None),
        (&[parent], &[&many, &many], Some(parent), None),
        (&[parent, parent], &["a=1"], None, None),
        (&[parent, other], &[], None, None),
        (&[parent, "nonsense"], &["a=1"], None, None),
        (&["nonsense", parent], &["a=1"], None, None),
        (&["nonsense"], &["a=1"], None, None),
        (&[], &["a=1"], None, None),
    ];
    for (parents, states, expected_parent, expected_state) in rows {
        let mut request = Request::post("/webhooks/minchat", r#"{"sent_by":{},"chat_id":"c"}"#);
        for parent in *parents {
            request = request.with("traceparent", parent);
        }
        for state in *states {
            request = request.with("tracestate", state);
        }
        assert_eq!(bridge.send(&request).status, 202);
        let line = last_line(&bridge, "message.sent");
        let envelope: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(
            (
                envelope["traceparent"].as_str(),
                envelope["tracestate"].as_str()
            ),
            (*expected_parent, *expected_state),
            "{parents:?} {states:?}"
        );
    }
}
