use super::*;

fn nested(levels: usize, innermost: &str) -> String {
    format!("{}{innermost}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn json_text_is_a_payload() {
    for json in [
        "0",
        "-0",
        "10",
        "-1.5e+3",
        "0.0E-0",
        "true",
        "false",
        "null",
        r#""""#,
        "[]",
        "{}",
        "[[],{}]",
        r#""\"\\\/\b\f\n\r\t\u0000\uFFFF\ud800""#,
        r#"{"":{"":[]}}"#,
        "\"\u{7f}\u{10ffff}\"",
        "[1,-2,\"a\",null]",
    ] {
        assert_eq!(data(json), json);
    }
}

#[test]
fn what_is_not_json_is_told_with_its_byte() {
    for (body, offset, what) in [
        ("", 0, "no value"),
        ("  ", 2, "no value"),
        ("\u{feff}", 3, "no value"),
        ("\u{feff}\u{feff}{}", 3, "no value"),
        (" \u{feff}{}", 1, "no value"),
        ("{}\u{feff}", 2, "more after the value"),
        ("\u{feff}[1,]", 6, "no value"),
        ("{} {}", 3, "more after the value"),
        ("{}\0", 2, "more after the value"),
        ("01", 1, "more after the value"),
        ("1.", 2, "no digit"),
        ("-", 1, "no digit"),
        (".5", 0, "no value"),
        ("+1", 0, "no value"),
        ("1e", 2, "no digit"),
        ("1e+", 3, "no digit"),
        ("1.e1", 2, "no digit"),
        ("nul", 0, "an unknown word"),
        ("True", 0, "no value"),
        ("NaN", 0, "no value"),
        ("'a'", 0, "no value"),
        ("\"a", 2, "a string without an end"),
        ("\"a\nb\"", 2, "a control character in a string"),
        ("\"0123456\u{1f}\"", 8, "a control character in a string"),
        ("\"01234567890\0\"", 12, "a control character in a string"),
        (r#""\x""#, 1, "an unknown escape"),
        (r#""\u12g4""#, 1, "an unknown escape"),
        (r#""\u+123""#, 1, "an unknown escape"),
        (r#""\u123"#, 1, "an unknown escape"),
        ("\"\\", 1, "an unknown escape"),
        ("[1,]", 3, "no value"),
        ("[,1]", 1, "no value"),
        ("[1 2]", 3, "neither a comma nor the closing bracket"),
        ("[1}", 2, "neither a comma nor the closing bracket"),
        ("[1", 2, "neither a comma nor the closing bracket"),
        ("[", 1, "no value"),
        ("]", 0, "no value"),
        ("{", 1, "no key"),
        ("{a:1}", 1, "no key"),
        ("{1:1}", 1, "no key"),
        (r#"{"a"}"#, 4, "no colon"),
        (r#"{"a":}"#, 5, "no value"),
        (r#"{"a":1,}"#, 7, "no key"),
        (r#"{"a":1]"#, 6, "neither a comma nor the closing bracket"),
        (
            "{\"a\":1 // note\n}",
            7,
            "neither a comma nor the closing bracket",
        ),
        ("[1,\u{a0}2]", 3, "no value"),
        ("[1\u{c}]", 2, "neither a comma nor the closing bracket"),
    ] {
        assert_eq!(
            refused(body),
            Malformed::NotJson { offset, what },
            "{body:?}"
        );
    }
}

#[test]
fn every_control_character_in_a_string_is_refused_wherever_it_stands() {
    let what = "a control character in a string";
    for control in 0..=0x1f {
        for before in 0..20 {
            for after in [0, 20] {
                let (before_it, after_it) = ("a".repeat(before), "b".repeat(after));
                let body = format!("\"{before_it}{}{after_it}\"", char::from(control));
                let offset = before + 1;
                assert_eq!(refused(&body), Malformed::NotJson { offset, what });
            }
        }
    }
}

#[test]
fn quotes_and_backslashes_are_found_wherever_they_stand() {
    for before in 0..20 {
        // Bytes just beside the ones that end a run, to provoke false hits.
        let plain: String = " !#[]\u{7f}\u{80}\u{a2}\u{dc}é"
            .chars()
            .cycle()
            .take(before)
            .collect();
        let json = format!(r#"["{plain}\\","{plain}\"","{plain}"]"#);
        assert_eq!(data(&json), json);
    }
}

#[test]
fn a_byte_order_mark_before_the_value_is_ignored() {
    for json in [
        "{}",
        " {} ",
        r#"{"sentBy":{},"chat_id":"c"}"#,
        "1",
        "\"\u{feff}\"",
    ] {
        let marked = format!("\u{feff}{json}");
        let (payload, plain) = (payload(&marked), payload(json));
        let data = |payload: &Payload<'_>| {
            let mut data = Vec::new();
            payload.write_data(&mut data);
            data
        };
        assert_eq!(data(&payload), data(&plain), "{json}");
        assert_eq!(payload.kind(), plain.kind());
        assert_eq!(payload.ordering_key(), plain.ordering_key());
        assert_eq!(payload.drift(), plain.drift());
        assert!(!payload.is_verbatim(), "the mark is no part of the data");
    }
    let deep = format!("\u{feff}{}", "[".repeat(61));
    assert_eq!(refused(deep), Malformed::TooDeep { offset: 63 });
    // UTF-16 in either order of bytes, and UTF-32, are no JSON text (RFC 8259, section 8.1).
    for body in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}", b"\xff\xfe\0\0"] {
        assert_eq!(refused(body), Malformed::NotUtf8 { offset: 0 });
    }
}

#[test]
fn what_is_not_utf8_is_told_with_its_byte() {
    assert_eq!(
        refused(b"{\"a\":\"\xff\"}"),
        Malformed::NotUtf8 { offset: 6 }
    );
    assert_eq!(refused(b"\xef\xbb"), Malformed::NotUtf8 { offset: 0 });
    assert_eq!(
        refused(b"\"\xed\xa0\x80\""),
        Malformed::NotUtf8 { offset: 1 }
    );
}

#[test]
fn sixty_levels_are_taken_and_sixty_one_refused() {
    for json in [
        nested(60, ""),
        nested(59, "1"),
        nested(59, "{}"),
        nested(59, r#""a""#),
    ] {
        assert_eq!(data(&json), json);
    }
    for innermost in ["1", "[]", "{}", r#""a""#, "null"] {
        assert_eq!(
            refused(nested(60, innermost)),
            Malformed::TooDeep { offset: 60 },
            "{innermost}"
        );
    }
    let objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    assert_eq!(data(&objects(59)), objects(59));
    assert_eq!(refused(objects(60)), Malformed::TooDeep { offset: 300 });
}

#[test]
fn levels_are_counted_wherever_the_rules_look() {
    for (before, levels, after) in [
        (r#"{"sent_by":{"a":"#, 58, "}}"),
        (r#"{"sent_to":[{"a":"#, 57, "}]}"),
        (r#"{"sent_by":{},"sent_to":["#, 58, "]}"),
        (r#"{"event":"e","fields":{"a":"#, 58, "}}"),
        (r#"{"metadata":["#, 58, "]}"),
        (r#"{"other":"#, 59, "}"),
    ] {
        let json = format!("{before}{}{after}", nested(levels, ""));
        payload(&json);
        let json = format!("{before}{}{after}", nested(levels + 1, ""));
        let offset = before.len() + levels;
        assert_eq!(refused(&json), Malformed::TooDeep { offset }, "{json}");
    }
}

#[test]
fn a_million_brackets_cost_no_stack() {
    assert_eq!(
        refused("[".repeat(1_000_000)),
        Malformed::TooDeep { offset: 60 }
    );
    assert_eq!(
        refused(r#"{"a":"#.repeat(1_000_000)),
        Malformed::TooDeep { offset: 300 }
    );
    let flat = format!("[{}1]", "[],".repeat(1_000_000));
    assert_eq!(payload(&flat).data_len(), flat.len());
}

#[test]
fn messages_say_what_and_where_and_nothing_of_the_payload() {
    assert_eq!(
        refused("[1 2]").to_string(),
        "not JSON: neither a comma nor the closing bracket at byte 3"
    );
    assert_eq!(
        refused(nested(61, "")).to_string(),
        "nested deeper than 60 levels at byte 60"
    );
    assert_eq!(refused(b"\xff").to_string(), "not UTF-8 at byte 0");
}
