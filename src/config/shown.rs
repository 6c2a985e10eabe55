//! How values are written: in messages, and as YAML.

/// A value in a message: on one line, cut at 80 characters.
pub(super) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    let more = if cut.len() < text.len() { ".." } else { "" };
    format!("{cut:?}{more}")
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
        serde_json::to_string(text).unwrap_or_default()
    }
}

/// A list of YAML on one line.
pub(super) fn yaml_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| yaml_text(item)).collect();
    format!("[{}]", items.join(", "))
}
