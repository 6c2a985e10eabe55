//! Text inside JSON strings: undoing escapes, and writing characters that CloudEvents forbids in attributes as `%XX`.

use std::borrow::Cow;

use memchr::memchr;

/// The text of a well-formed JSON string, given without its quotes; none if a surrogate stands alone.
pub(super) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let Some(first) = memchr(b'\\', raw.as_bytes()) else {
        return Some(Cow::Borrowed(raw));
    };
    let mut text = String::with_capacity(raw.len());
    text.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(escape) = rest.strip_prefix('\\') {
        let (character, after) = unescape(escape)?;
        text.push(character);
        let plain = memchr(b'\\', after.as_bytes()).unwrap_or(after.len());
        text.push_str(&after[..plain]);
        rest = &after[plain..];
    }
    Some(Cow::Owned(text))
}

/// What an escape stands for, given what follows its backslash, and what comes after it.
fn unescape(escape: &str) -> Option<(char, &str)> {
    let character = match escape.as_bytes().first()? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_utf16(&escape[1..]),
        same => char::from(*same),
    };
    Some((character, &escape[1..]))
}

fn unescape_utf16(digits: &str) -> Option<(char, &str)> {
    let (first, after) = unit(digits)?;
    if let Some(character) = char::from_u32(u32::from(first)) {
        return Some((character, after));
    }
    let (second, after) = unit(after.strip_prefix("\\u")?)?;
    let character = char::decode_utf16([first, second]).next()?.ok()?;
    Some((character, after))
}

fn unit(digits: &str) -> Option<(u16, &str)> {
    let (digits, after) = digits.split_at_checked(4)?;
    Some((u16::from_str_radix(digits, 16).ok()?, after))
}

/// The text with every character that a CloudEvents attribute may not hold as `%XX`, one for each of its UTF-8 bytes:
/// control characters (U+0000 to U+001F, U+007F to U+009F) and noncharacters (CloudEvents 1.0.2, "Type System").
/// Surrogates can't stand in a `str`.
#[must_use]
pub fn without_forbidden(text: Cow<'_, str>) -> Cow<'_, str> {
    // Most text is plain ASCII, and bytes are looked at faster than characters.
    let plain = |byte: &u8| matches!(byte, b' '..=b'~');
    if text.as_bytes().iter().all(plain) || !text.contains(is_forbidden) {
        return text;
    }
    let mut written = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_forbidden(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                const HEX: [char; 16] = [
                    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
                ];
                written.extend([
                    '%',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]);
            }
        } else {
            written.push(character);
        }
    }
    Cow::Owned(written)
}

/// Whether a CloudEvents attribute may not hold this character.
fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    // U+FDD0 to U+FDEF, and the last two of each plane (Unicode 17.0, section 23.7).
    let is_noncharacter = matches!(code, 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe;
    character.is_control() || is_noncharacter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_escapes_is_borrowed() {
        assert!(matches!(decode("plain é"), Some(Cow::Borrowed("plain é"))));
    }

    #[test]
    fn every_escape_is_undone() {
        let raw = r#"\"\\\/\b\f\n\r\t\u0041\u00e9\uD83D\ude00 end"#;
        assert_eq!(
            decode(raw).as_deref(),
            Some("\"\\/\u{8}\u{c}\n\r\tAé😀 end")
        );
    }

    #[test]
    fn a_surrogate_that_stands_alone_has_no_text() {
        for raw in [
            r"\ud800",
            r"\udc00",
            r"\ud800\ud800",
            r"\ud800x",
            r"\ud800\n",
            r"a\udfff\ud800",
            r"\ude00\ud83d",
        ] {
            assert_eq!(decode(raw), None, "{raw}");
        }
    }

    #[test]
    fn control_characters_are_written_byte_by_byte() {
        let written = without_forbidden(Cow::Borrowed("a\0\n\u{1f} \u{7f}\u{80}\u{9f}\u{a0}é%0A"));
        assert_eq!(written, "a%00%0A%1F %7F%C2%80%C2%9F\u{a0}é%0A");
        for (alone, expected) in [("\0", "%00"), ("\u{7f}", "%7F"), ("\u{85}", "%C2%85")] {
            assert_eq!(without_forbidden(Cow::Borrowed(alone)), expected);
        }
    }

    #[test]
    fn noncharacters_are_written_byte_by_byte() {
        for (alone, expected) in [
            ("\u{fdcf}", "\u{fdcf}"),
            ("\u{fdd0}", "%EF%B7%90"),
            ("\u{fdef}", "%EF%B7%AF"),
            ("\u{fdf0}", "\u{fdf0}"),
            ("\u{fffd}", "\u{fffd}"),
            ("\u{fffe}", "%EF%BF%BE"),
            ("a\u{ffff}b", "a%EF%BF%BFb"),
            ("\u{1fffe}", "%F0%9F%BF%BE"),
            ("\u{10ffff}", "%F4%8F%BF%BF"),
            ("\u{10fffd}\u{feff}\u{e000}", "\u{10fffd}\u{feff}\u{e000}"),
        ] {
            assert_eq!(without_forbidden(Cow::Borrowed(alone)), expected);
        }
    }

    #[test]
    fn text_without_forbidden_characters_is_borrowed() {
        assert!(matches!(
            without_forbidden(Cow::Borrowed("é😀")),
            Cow::Borrowed("é😀")
        ));
    }
}
