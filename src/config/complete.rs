//! Adds what was not said: the default source, the default broker, and every row's default.

use std::net::SocketAddr;
use std::thread;

use config::ValueKind;

use super::kinds::{Wrong, wrong};
use super::layers::Given;
use super::path::SettingPath;
use super::shown::yaml_text;
use super::table::{Kind, OPTIONAL_SECTIONS, Otherwise, SETTINGS, Setting};
use super::walk::Found;

/// The origin of what was not said.
pub(super) const DEFAULT: &str = "default";

/// The source that is there when none is given.
const DEFAULT_SOURCE: &str = "sources.minchat";

/// Completes what the walk found.
pub(super) fn complete(found: &mut Found, given: &Given) {
    complete_sources(found, given);
    let is_other_broker =
        |section: &str| found.has(section) || found.is_bad(&SettingPath::dotted(section));
    if !is_other_broker("kafka")
        && !is_other_broker("amqp")
        && !found.is_bad(&SettingPath::dotted("file"))
    {
        found
            .sections
            .entry(SettingPath::dotted("file"))
            .or_insert_with(|| DEFAULT.to_owned());
    }
    for setting in SETTINGS
        .iter()
        .filter(|setting| !setting.path.ends_with('*'))
    {
        for path in instances(setting, found) {
            complete_one(found, setting, &path);
        }
    }
}

/// Without a configuration file there is one source. A file has to name its sources: one that lost them, as a file that
/// was cut has, must not let in more than before.
fn complete_sources(found: &mut Found, given: &Given) {
    let sources = SettingPath::dotted("sources");
    if found.sections.keys().any(|path| path.is_like("sources.*")) || found.is_bad(&sources) {
        return;
    }
    if let Some(file) = &given.file {
        let origin = match given.origin_of(&sources) {
            origin if origin == DEFAULT => file.clone(),
            origin => origin,
        };
        let right = "name each and how it lets in, such as sources: {minchat: {auth: {tokens_file: ./tokens}}}";
        found.refuse(sources, origin, wrong("the file has no source", right));
    }
    found
        .sections
        .insert(SettingPath::dotted(DEFAULT_SOURCE), DEFAULT.to_owned());
}

/// The paths that a row has in what was given: one for each section that it can stand in.
fn instances(setting: &Setting, found: &Found) -> Vec<SettingPath> {
    let stands_in = OPTIONAL_SECTIONS
        .iter()
        .filter(|section| setting.path.starts_with(&format!("{section}.")))
        .max_by_key(|section| section.len());
    match stands_in {
        None => vec![SettingPath::dotted(setting.path)],
        Some(section) => {
            let there = found.sections.keys().filter(|path| path.is_like(section));
            there.map(|path| path.fill(setting.path)).collect()
        }
    }
}

fn complete_one(found: &mut Found, setting: &Setting, path: &SettingPath) {
    let file = path.sibling(format!("{}_file", path.name()));
    let is_said = |path: &SettingPath| found.leaves.contains_key(path);
    if is_said(path) || (setting.kind.is_secret() && is_said(&file) && !found.bad.contains(&file)) {
        return;
    }
    if matches!(setting.kind, Kind::Switch) && found.sections.contains_key(path) {
        return;
    }
    match setting.default {
        Otherwise::Is(text) => match setting.kind.check(&ValueKind::String(text.to_owned())) {
            Ok(checked) => found.insert(
                path,
                setting,
                checked.typed,
                checked.shown,
                DEFAULT.to_owned(),
            ),
            Err(wrong) => unreachable!("the default of {path} holds: {wrong:?}"),
        },
        Otherwise::Derived(_) => {
            if let Some((typed, shown)) = derive(found, path) {
                found.insert(path, setting, typed, shown, DEFAULT.to_owned());
            }
        }
        Otherwise::Absent => {}
        Otherwise::Needed => need(found, setting, path, &file),
    }
}

/// Tells that a setting is missing, unless it was refused, and puts something in its place.
fn need(found: &mut Found, setting: &Setting, path: &SettingPath, file: &SettingPath) {
    if !found.is_bad(path) && !found.is_bad(file) {
        let section = path.parent();
        let origin = found.sections.get(&section).cloned();
        let right = match setting.kind.is_secret() {
            true => format!("give it, or {file}"),
            false => format!("give it: {}", setting.doc),
        };
        let wrong = format!("it is needed, as the section {section} is there");
        let origin = origin.unwrap_or_else(|| DEFAULT.to_owned());
        found.refuse(path.clone(), origin, Wrong { wrong, right });
    }
    found.insert(
        path,
        setting,
        setting.kind.stand_in(),
        String::new(),
        DEFAULT.to_owned(),
    );
}

/// The defaults that the table does not know. None: there is none then.
fn derive(found: &Found, path: &SettingPath) -> Option<(ValueKind, String)> {
    let text = |text: String| {
        let shown = yaml_text(&text);
        Some((ValueKind::String(text), shown))
    };
    if path.is_like("http.workers") {
        let cores = thread::available_parallelism()
            .map_or(1, |cores| i64::try_from(cores.get()).unwrap_or(1));
        return Some((ValueKind::I64(cores), cores.to_string()));
    }
    let source = path.keys().get(1)?;
    if path.is_like("sources.*.uri") {
        return text(format!("/webhooks/{source}"));
    }
    if path.is_like("sources.*.prefix") {
        return text(format!("{source}."));
    }
    if path.is_like("sources.*.auth.none") {
        let none = is_open_by_default(found);
        return Some((ValueKind::Boolean(none), none.to_string()));
    }
    None
}

/// The default source lets everybody in while nobody but this machine can come. A configuration file never leads to it:
/// there, every source says how it lets in.
fn is_open_by_default(found: &Found) -> bool {
    let listen = found.leaves.get(&SettingPath::dotted("http.listen"));
    let address = listen.and_then(|leaf| match &leaf.typed {
        Some((_, ValueKind::String(text))) => text.parse::<SocketAddr>().ok(),
        _ => None,
    });
    !found.has_file && address.is_some_and(|address| address.ip().is_loopback())
}
