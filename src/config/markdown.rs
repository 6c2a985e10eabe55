//! The README's table of settings, made from the table that is checked against.

use std::fmt::Write;

use super::table::{Kind, Otherwise, SETTINGS};

/// One row a setting of this version, in Markdown.
pub fn markdown_table() -> String {
    let mut markdown =
        String::from("| setting | value | default | what for |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let name = setting.path.rsplit('.').next().unwrap_or_default();
        let also = if setting.kind.is_secret() {
            format!(" or `{name}_file`")
        } else {
            String::new()
        };
        let default = match setting.default {
            Otherwise::Is(text) => format!("`{text}`"),
            Otherwise::Derived(how) => how.to_owned(),
            Otherwise::Absent => String::new(),
            Otherwise::Needed => "needed with its section".to_owned(),
        };
        let _ = writeln!(
            markdown,
            "| `{}`{also} | {} | {default} | {} |",
            setting.path,
            value(&setting.kind),
            setting.doc
        );
    }
    markdown
}

/// What a value is, in a few words.
fn value(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "`true`, `false`".to_owned(),
        Kind::Switch => "`true`, `false`, or a section".to_owned(),
        Kind::Integer(least, most) => format!("{least} to {most}"),
        Kind::Size(least, most) => format!("size, {least} to {most}"),
        Kind::Duration(least, most) => format!("duration, {least} to {most}"),
        Kind::Percent => "share of the disk".to_owned(),
        Kind::Address => "IP address and port".to_owned(),
        Kind::Choice(known) => known
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Status(known) => known
            .iter()
            .map(|status| format!("`{status}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Text(_) => "text".to_owned(),
        Kind::Dir => "directory".to_owned(),
        Kind::File => "file".to_owned(),
        Kind::List(_) => "list of texts".to_owned(),
        Kind::Networks => "list of networks".to_owned(),
        Kind::Uri => "URI".to_owned(),
        Kind::Uris => "list of URIs".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Secrets(_) => "list of secrets".to_owned(),
    }
}
