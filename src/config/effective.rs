//! What holds, and why: each setting with where it comes from.

use std::fmt::Write;

use super::path::SettingPath;
use super::shown::yaml_text;
use super::table::{self, SETTINGS};
use super::walk::Found;

/// A setting that holds, or an empty section that means something by being there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its keys.
    pub path: SettingPath,
    /// Its value as YAML on one line, secrets redacted.
    pub value: String,
    /// `config.yaml:12`, `variable MINCHAT_BRIDGE__A__B`, `--set a.b`, `default`.
    pub origin: String,
    /// Differs where the value does, the contents of a secret or of a file included.
    pub(super) fingerprint: u64,
}

/// All that holds, in the order of the table.
pub(super) fn list(found: &Found) -> Vec<Effective> {
    let is_empty = |section: &SettingPath| !found.leaves.keys().any(|path| section.covers(path));
    let sections = found.sections.iter().filter(|(path, _)| is_empty(path));
    let sections = sections.map(|(path, origin)| (path, "{}".to_owned(), origin, 0));
    let leaves = found
        .leaves
        .iter()
        .map(|(path, leaf)| (path, leaf.shown.clone(), &leaf.origin, leaf.fingerprint));
    let mut list: Vec<Effective> = leaves
        .chain(sections)
        .map(|(path, value, origin, fingerprint)| Effective {
            path: path.clone(),
            value,
            origin: origin.clone(),
            fingerprint,
        })
        .collect();
    list.sort_by_cached_key(|effective| rank(&effective.path));
    list
}

/// As a file that could be loaded again, each value with its origin behind it.
pub fn to_yaml(list: &[Effective]) -> String {
    let mut yaml = String::new();
    let mut open: &[String] = &[];
    for effective in list {
        let (name, sections) = match effective.path.keys() {
            [sections @ .., name] => (name, sections),
            [] => continue,
        };
        let shared = open
            .iter()
            .zip(sections)
            .take_while(|(a, b)| a == b)
            .count();
        for (depth, key) in sections.iter().enumerate().skip(shared) {
            let _ = writeln!(
                yaml,
                "{:indent$}{}:",
                "",
                yaml_text(key),
                indent = depth * 2
            );
        }
        let name = yaml_text(name);
        let line = format!(
            "{:indent$}{name}: {}",
            "",
            effective.value,
            indent = sections.len() * 2
        );
        let _ = writeln!(yaml, "{line:<40} # {}", one_line(&effective.origin));
        open = sections;
    }
    yaml
}

/// The name of a file can hold anything.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Settings stand in the order of the table, and the keys of one section together.
fn rank(path: &SettingPath) -> Vec<(usize, String)> {
    let keys = path.keys();
    (1..=keys.len())
        .map(|depth| {
            let part = SettingPath::of(keys[..depth].iter().cloned());
            // A `_file` ranks as its secret does.
            let row = match table::find(&part) {
                Some((found, _)) => SETTINGS
                    .iter()
                    .position(|setting| setting.path == found.path),
                None => SETTINGS
                    .iter()
                    .position(|setting| part.is_above(setting.path)),
            };
            (row.unwrap_or(SETTINGS.len()), keys[depth - 1].clone())
        })
        .collect()
}
