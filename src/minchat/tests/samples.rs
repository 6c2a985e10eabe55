use super::super::SAMPLES;
use super::*;

/// A sample, its `data`, its ordering key, and how it departs from today's shape.
type Row = (&'static str, &'static str, &'static str, &'static [Drift]);

const EXPECTED: &[Row] = &[
    (
        "message-sent.current",
        r#"{"sent_by":{"id":"639575b2c280a7001e892906","name":"Samantha Smith","username":"samantha","avatar":"urltoavatar.com/mercyavatar.jpg"},"sent_to":[{"id":"289575b9b280a7001e892956","name":"Jackie","username":"jackie_01","avatar":"urltoavatar.com/mercyavatar.jpg"}],"chat_id":"63d3e12d669fc928b3d78f80","text":"Hello guys!","file":{"type":"image","url":"https://urltofile.com/image.jpeg","name":"Assignment Project","size":"2 MB"},"metadata":{},"chat_metadata":{}}"#,
        "63d3e12d669fc928b3d78f80",
        &[],
    ),
    (
        "message-sent.generation-2",
        r#"{"sent_by":{"id":"639575b2c280a7001e892906","name":"Samantha Smith","username":"samantha","avatar":"urltoavatar.com/mercyavatar.jpg"},"sent_to":[{"id":"289575b9b280a7001e892956","name":"Jackie","username":"jackie_01","avatar":"urltoavatar.com/mercyavatar.jpg"}],"chat_id":"63d3e12d669fc928b3d78f80","text":"Hello guys!","file":{"type":"image","url":"https://urltofile.com/image.jpeg","name":"Assignment Project","size":"2 MB"}}"#,
        "63d3e12d669fc928b3d78f80",
        &[],
    ),
    (
        "message-sent.generation-1",
        r#"{"sent_by":{"id":"639575b2c280a7001e892906","name":"Samantha Smith","avatar":"urltoavatar.com/mercyavatar.jpg"},"sent_to":[{"id":"639575b2c280a7001e892906","name":"Jackie","avatar":"urltoavatar.com/mercyavatar.jpg"}],"text":"Hello guys!","chat_id":"63d3e12d669fc928b3d78f80"}"#,
        "63d3e12d669fc928b3d78f80",
        &[Drift::LegacyKey],
    ),
    (
        "conversation-created.current",
        r#"{"id":"cmd5vwylc0006qfe97knky6vt","title":"Group Chat","participant_user_ids":["cmd5vwyjr0003qfe9zuhmmvoz","cmcjal25k0001lu9dj45zq4jy"],"avatar":"https://urltofile.com/image.jpeg","metadata":{},"created_at":"2025-07-16T11:35:17.280Z"}"#,
        "cmd5vwylc0006qfe97knky6vt",
        &[],
    ),
    (
        "ai-agent-action.current",
        r#"{"event":"ai_handoff","ai_agent_username":"sample_bot","chat_id":"cmc34d3oh0008cy7urxr0f5zn","fields":[{"fieldName":"email_address","fieldValue":"example@gmail.com"},{"fieldName":"newsletter_title","fieldValue":"The levelup podcast"}]}"#,
        "cmc34d3oh0008cy7urxr0f5zn",
        &[],
    ),
    (
        "ai-agent-action.documented-table",
        r#"{"event":"ai_handoff","ai_agent_username":"sample_bot","chat_id":"cmc34d3oh0008cy7urxr0f5zn","fields":[{"fieldName":"email_address","fieldValue":"example@gmail.com"},{"fieldName":"newsletter_title","fieldValue":"The levelup podcast"}]}"#,
        "cmc34d3oh0008cy7urxr0f5zn",
        &[Drift::LegacyKey],
    ),
    (
        "ai-agent-action.generation-1",
        r#"{"event":"ai_handoff","ai_agent_username":"sample_bot","chat_id":"cmc34d3oh0008cy7urxr0f5zn"}"#,
        "cmc34d3oh0008cy7urxr0f5zn",
        &[],
    ),
    (
        "user-daily-active.current",
        r#"{"id":"639575b2c280a7001e892906","name":"Samantha Smith","username":"samantha","avatar":"urltoavatar.com/mercyavatar.jpg"}"#,
        "639575b2c280a7001e892906",
        &[],
    ),
    (
        "user-daily-active.user-reference",
        r#"{"id":"639575b2c280a7001e892906","name":"Mercy Wells","username":"mercy","avatar":null,"metadata":{"email":"mercy@example.com","age":31,"beta":true},"last_active":"2025-07-16T11:35:17.280Z"}"#,
        "639575b2c280a7001e892906",
        &[Drift::LegacyKey],
    ),
];

#[test]
fn every_sample_comes_out_in_todays_shape() {
    assert_eq!(SAMPLES.len(), EXPECTED.len());
    for (sample, (name, expected, key, departures)) in SAMPLES.iter().zip(EXPECTED) {
        assert_eq!(sample.name, *name);
        assert_eq!(kind(sample.json), sample.kind, "{name}");
        assert_eq!(data(sample.json), *expected, "{name}");
        assert_eq!(payload(sample.json).ordering_key(), Some(*key), "{name}");
        assert_eq!(drift(sample.json), *departures, "{name}");
        assert_eq!(payload(sample.json).unknown_keys().next(), None, "{name}");
    }
}

#[test]
fn what_came_out_is_left_as_it_is() {
    for (name, expected, _, _) in EXPECTED {
        assert!(payload(expected).is_verbatim(), "{name}");
        assert!(payload(expected).drift().is_empty(), "{name}");
        assert_eq!(data(expected), *expected, "{name}");
    }
}
