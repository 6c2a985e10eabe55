//! What to say of a key that no row of the table has.

use super::path::SettingPath;
use super::problem::Problem;
use super::table::{self, SETTINGS};

/// How much alike two names have to be, by Jaro's measure, so that one is taken for the other.
/// clap asks as much of its suggestions.
const ALIKE: f64 = 0.7;

/// How much alike names are that differ by one slip of a finger: Jaro finds little in short ones.
const ONE_SLIP: f64 = 0.95;

/// The problem, with the name that was probably meant.
pub(super) fn key(path: SettingPath, origin: String) -> Problem {
    let right = suggestion(&path);
    Problem {
        path,
        origin,
        wrong: "there is no such setting".into(),
        right,
    }
}

/// The name among `known` that looks most like `name`.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let alike = |candidate: &str| match strsim::damerau_levenshtein(&name, candidate) {
        0 | 1 if name.len() > 2 => ONE_SLIP,
        _ => strsim::jaro(&name, candidate),
    };
    let scored = known
        .into_iter()
        .map(|candidate| (alike(candidate), candidate));
    let best = scored
        .filter(|(score, _)| *score > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, candidate)| candidate)
}

fn suggestion(path: &SettingPath) -> String {
    // Of a path from a variable or a flag, an outer key may be the unknown one.
    let mut section = path.clone();
    let mut key = path.name().to_owned();
    while !section.keys().is_empty() {
        section = section.parent();
        if section.keys().is_empty() || table::is_section(&section) {
            break;
        }
        section.name().clone_into(&mut key);
    }
    let siblings = table::keys_of(&section);
    if let Some(name) = nearest(&key, siblings.iter().map(String::as_str)) {
        return format!("did you mean {}?", section.child(name));
    }
    let elsewhere: Vec<&str> = SETTINGS
        .iter()
        .map(|setting| setting.path)
        .filter(|known| known.rsplit('.').next() == Some(path.name()))
        .collect();
    if !elsewhere.is_empty() {
        return format!("did you mean {}?", elsewhere.join(" or "));
    }
    match section.keys() {
        [] => format!("the sections are {}", siblings.join(", ")),
        _ => format!("{section} has {}", siblings.join(", ")),
    }
}
