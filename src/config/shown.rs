//! How values are written: in messages, and as YAML.

use std::fmt::Write;

/// A value in a message: on one line, cut at 80 characters.
pub(super) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    let more = if cut.len() < text.len() { ".." } else { "" };
    format!("{cut:?}{more}")
}

/// A text in which nothing is hidden: control characters, and others that have no shape or change the direction of
/// writing, stand as escapes.
pub(super) fn visible(text: &str) -> String {
    let escaped = text
        .chars()
        .map(|one| match one.is_ascii() && !one.is_ascii_control() {
            true => one.to_string(),
            false => one.escape_debug().to_string(),
        });
    escaped.collect()
}

/// The same in a text of YAML that stands in double quotes.
fn visible_yaml(text: &str) -> String {
    let mut shown = String::new();
    for one in text.chars() {
        let _ = match u32::from(one) {
            _ if !one.is_control() && (one.is_ascii() || one.escape_debug().len() == 1) => {
                write!(shown, "{one}")
            }
            code @ ..=0xffff => write!(shown, "\\u{code:04x}"),
            code => write!(shown, "\\U{code:08x}"),
        };
    }
    shown
}

/// A scalar of YAML, plain where every reader takes it for a text or for what the table says.
pub(super) fn yaml_text(text: &str) -> String {
    let plain = text
        .starts_with(|first: char| first.is_ascii_alphanumeric() || "./_".contains(first))
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"./_:%+@-*".contains(&byte))
        && !text.ends_with(':')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        text.to_owned()
    } else {
        visible_yaml(&serde_json::to_string(text).unwrap_or_default())
    }
}

/// A list of YAML on one line.
pub(super) fn yaml_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| yaml_text(item)).collect();
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: [char; 8] = [
        '\u{200b}', '\u{200d}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{ad}', '\u{a0}', '\u{7f}',
    ];

    #[test]
    fn nothing_is_hidden_in_what_is_shown() {
        for hidden in HIDDEN {
            let text = format!("a{hidden}b");
            let escape = format!("a\\u{{{:x}}}b", u32::from(hidden));
            assert_eq!(visible(&text), escape);
            assert_eq!(visible(&visible(&text)), escape);
            assert_eq!(quoted(&text), format!("\"{escape}\""));
        }
        assert_eq!(visible("Grüße, 世界 \"\\"), "Grüße, 世界 \"\\");
    }

    #[test]
    fn yaml_that_is_shown_hides_nothing_and_is_read_back_as_it_was() {
        for one in HIDDEN.into_iter().chain(['é', '世', '"', '\n']) {
            let text = format!("a{one}b");
            let shown = yaml_text(&text);
            assert_eq!(visible(&shown), shown, "{one:?}");
            let read: String = serde_json::from_str(&shown).expect("a text of JSON");
            assert_eq!(read, text);
        }
        assert_eq!(yaml_text("a\u{e0001}"), "\"a\\U000e0001\"");
    }
}
