//! The request's trace context, taken over only when it is valid.
//!
//! Source of the rules: W3C Trace Context, sections 3.2 (`traceparent`) and 3.3 (`tracestate`).

/// Longest `tracestate` that is carried, in bytes: what the recommendation asks to propagate at least.
const MAX_TRACESTATE: usize = 512;
/// Most list members of a `tracestate` (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// The valid part of a request's trace context.
pub(super) fn valid<'a>(
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
) -> Option<(&'a str, Option<&'a str>)> {
    let traceparent = traceparent.map(str::trim).filter(|t| is_traceparent(t))?;
    let tracestate = tracestate.map(str::trim).filter(|t| is_tracestate(t));
    Some((traceparent, tracestate))
}

fn is_traceparent(text: &str) -> bool {
    let mut fields = text.split('-');
    let (Some(version), Some(trace), Some(parent), Some(flags)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    let more = fields.next().is_some();
    is_hex(version, 2)
        && version != "ff"
        && !(version == "00" && more)
        && is_hex(trace, 32)
        && trace.bytes().any(|b| b != b'0')
        && is_hex(parent, 16)
        && parent.bytes().any(|b| b != b'0')
        && is_hex(flags, 2)
        && text.len() <= MAX_TRACESTATE
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tracestate(text: &str) -> bool {
    let members = || text.split(',').map(str::trim).filter(|m| !m.is_empty());
    text.len() <= MAX_TRACESTATE
        && (1..=MAX_MEMBERS).contains(&members().count())
        && members().all(is_member)
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else {
        return false;
    };
    let key_byte =
        |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    (1..=256).contains(&key.len())
        && key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && key.bytes().all(key_byte)
        && (1..=256).contains(&value.len())
        && value.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_taken_over_only_when_it_is_valid() {
        for (text, good) in [
            (GOOD, true),
            (
                " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00 ",
                true,
            ),
            (
                "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later",
                true,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later",
                false,
            ),
            (
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                false,
            ),
            (
                "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-\"",
                false,
            ),
            ("", false),
        ] {
            assert_eq!(valid(Some(text), None).is_some(), good, "{text}");
        }
    }

    #[test]
    fn a_tracestate_is_carried_only_with_a_traceparent_and_only_when_it_is_valid() {
        for (text, good) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true),
            ("tenant@vendor=a b", true),
            ("1tenant@1vendor=1", true),
            ("a=1,,b=2, c=3 ,", true),
            ("a=1, ,b", false),
            ("a=,b=2", false),
            ("=1", false),
            ("@vendor=1", false),
            ("_a=1", false),
            (",", false),
            ("a=\t", false),
            ("rojo", false),
            ("Rojo=1", false),
            ("a=b=c", false),
            ("", false),
            ("a=\u{e4}", false),
        ] {
            let carried = valid(Some(GOOD), Some(text)).and_then(|(_, state)| state);
            assert_eq!(carried.is_some(), good, "{text}");
            assert_eq!(valid(None, Some(text)), None);
        }
        let long = (0..33)
            .map(|n| format!("a{n}=1"))
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(valid(Some(GOOD), Some(&long)), Some((GOOD, None)));
    }
}
