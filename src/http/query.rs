//! Parses the query of a webhook's URL.

use std::borrow::Cow;

/// The values of one parameter of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parameter<'a> {
    Absent,
    /// The parameter is there once. Without an equals sign, its value is empty.
    Once(Cow<'a, [u8]>),
    /// The parameter is there more than once, so it is not clear which value counts.
    Repeated,
}

/// Finds a parameter. Names and values are percent-decoded; names are then compared byte for byte.
///
/// A plus sign is not decoded to a space: the values are tokens, which are often base64, and not form fields.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Parameter<'a> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*decoded(key.as_bytes()) == *name.as_bytes()).then_some(value)
    });
    match (values.next(), values.next()) {
        (None, _) => Parameter::Absent,
        (Some(value), None) => Parameter::Once(decoded(value.as_bytes())),
        (Some(_), Some(_)) => Parameter::Repeated,
    }
}

/// Returns the names of all parameters that look like these letters, in their order; see [`resembles`].
///
/// Use this for a parameter that must not be overlooked. It also finds names that are percent-encoded twice, or that
/// follow another separator than `&`.
pub(super) fn names_resembling(query: &str, letters: &str) -> Vec<Vec<u8>> {
    let once = decoded(query.as_bytes());
    let pieces = decoded(&once);
    let pieces = pieces.split(|byte| matches!(byte, b'&' | b';' | b'?' | b'#'));
    let names = pieces.map(|piece| piece.split(|byte| *byte == b'=').next().unwrap_or_default());
    let names = names.filter(|name| resembles(name, letters));
    names.map(<[u8]>::to_vec).collect()
}

/// Whether a name contains these letters in this order, ignoring case and everything that is not a letter; or whether
/// the letters of the name differ from them by one typing error.
pub(super) fn resembles(name: &[u8], letters: &str) -> bool {
    let is_missing = |letter: &u8| !name.iter().any(|byte| byte.eq_ignore_ascii_case(letter));
    if letters.bytes().filter(is_missing).count() > 1 {
        return false;
    }
    let name = name.iter().filter(|byte| byte.is_ascii_alphabetic());
    let name: String = name
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    name.contains(letters) || strsim::osa_distance(&name, letters) <= 1
}

/// Percent-decodes a text. A percent sign without two hexadecimal digits is left as it is.
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
            ("%61=b", "b"),
            ("a", ""),
            ("a=", ""),
            ("x&%61&y", ""),
        ] {
            let expected = Parameter::Once(expected.as_bytes().into());
            assert_eq!(parameter(query, "a"), expected, "{query}");
        }
        for query in ["", "b=a", "aa=1", "A=1", "&&=", "%2561=1", "b;a=1", "?a=1"] {
            assert_eq!(parameter(query, "a"), Parameter::Absent, "{query}");
        }
        for query in ["a&a", "a=1&a=1", "a=1&x&%61=2", "a=&a=1"] {
            assert_eq!(parameter(query, "a"), Parameter::Repeated, "{query}");
        }
    }

    #[test]
    fn what_resembles_a_name_is_found_wherever_it_stands() {
        for (query, count) in [
            ("", 0),
            ("dry_run", 1),
            ("dry_run=true", 1),
            ("DRY-RUN=1&dryRun&token=x", 2),
            ("x=1;dry_run=true", 1),
            ("?dry_run=true", 1),
            ("x=1?dry_run=true", 1),
            ("dry%5Frun=1", 1),
            ("dry%255Frun=1", 1),
            ("x=1%26dry_run%3D1", 1),
            ("+dry+run=1", 1),
            ("dry_run[0]=1", 1),
            ("dry_run%00=1", 1),
            ("no_dry_run=1&x_dry_run=1&dry_run_only", 3),
            ("dry_rum=1&dyr_run=1&dryrn=1&drry-run=1", 4),
            ("token=dry_run&run=1&dry=1&x=dry_run", 0),
        ] {
            assert_eq!(names_resembling(query, "dryrun").len(), count, "{query}");
        }
    }
}
