//! The few parameters that a webhook's URL can carry.

use std::borrow::Cow;

/// The value of the first parameter of that name, its percent-encoding undone.
///
/// A plus stays one: what is read here are tokens, which are often base64, and never forms.
pub(super) fn value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| decoded(value.as_bytes()))
}

/// Undoes percent-encoding. A percent sign that encodes nothing stands for itself.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'%', text) else {
        return Cow::Borrowed(text);
    };
    let mut out = text[..first].to_vec();
    let mut rest = &text[first..];
    while let Some((byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

fn nibble(hex_digit: u8) -> u8 {
    match hex_digit {
        b'0'..=b'9' => hex_digit - b'0',
        _ => (hex_digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_where_there_is_some() {
        for (query, expected) in [
            ("a=b", "b"),
            ("x=1&a=b", "b"),
            ("a=b=c", "b=c"),
            ("a=%41%62+%2b", "Ab++"),
            ("a=%", "%"),
            ("a=%4", "%4"),
            ("a=%zz%41", "%zzA"),
            ("a=%%41", "%A"),
        ] {
            assert_eq!(
                value(query, "a").as_deref(),
                Some(expected.as_bytes()),
                "{query}"
            );
        }
        for query in ["", "a", "b=a", "aa=1", "&&="] {
            assert_eq!(value(query, "a"), None, "{query}");
        }
    }
}
