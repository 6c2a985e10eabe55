//! Walks what was given against the table: every key is known, every value is of its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::OnceLock;

use config::{Value, ValueKind};

use super::files::{self, ReadFile};
use super::kinds::{Checked, Wrong, wrong};
use super::layers::Given;
use super::names;
use super::path::SettingPath;
use super::problem::Problem;
use super::shown::yaml_text;
use super::table::{self, Kind, OPTIONAL_SECTIONS, ROUTED, Setting};
use super::{secrets, unknown};

/// A value that holds.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Where the rooms' settings read it, and what they read. None for a switch, which is its section.
    pub typed: Option<(SettingPath, ValueKind)>,
    /// As YAML, secrets redacted.
    pub shown: String,
    pub origin: String,
    /// See [`fingerprint`].
    pub fingerprint: u64,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub leaves: BTreeMap<SettingPath, Leaf>,
    /// Those of the optional sections that are there, and where they were given.
    pub sections: BTreeMap<SettingPath, String>,
    /// What was refused: nothing that depends on it is judged.
    pub bad: BTreeSet<SettingPath>,
    pub problems: Vec<Problem>,
    /// The files that were named.
    pub files: Vec<ReadFile>,
    /// Whether there is a configuration file.
    pub has_file: bool,
}

/// Walks all of it.
pub(super) fn walk(given: &Given) -> Found {
    let mut found = Found {
        has_file: given.file.is_some(),
        ..Found::default()
    };
    for path in &given.nulls {
        found.refuse_null(path, given);
    }
    for (key, value) in &given.root {
        found.visit(&SettingPath::of([key.as_str()]), value, given);
    }
    found.refuse_secrets_given_twice();
    found
}

impl Found {
    /// Whether something at, above or below the path was refused.
    pub fn is_bad(&self, path: &SettingPath) -> bool {
        self.bad
            .iter()
            .any(|bad| bad.covers(path) || path.covers(bad))
    }

    /// Whether a section that means something by being there is there.
    pub fn has(&self, section: &str) -> bool {
        self.sections.contains_key(&SettingPath::dotted(section))
    }

    pub fn refuse(&mut self, path: SettingPath, origin: String, found: Wrong) {
        self.bad.insert(path.clone());
        self.problems.push(Problem {
            path,
            origin,
            wrong: found.wrong,
            right: found.right,
        });
    }

    /// A key without a value is never taken for one that is not there: it may be what is left of a file that was cut,
    /// or of a line that was commented out.
    fn refuse_null(&mut self, path: &SettingPath, given: &Given) {
        let origin = given.origin_of(path);
        let may_be_empty = || {
            table::MAY_BE_EMPTY
                .iter()
                .any(|section| path.is_like(section))
        };
        if !table::is_known(path) {
            self.bad.insert(path.clone());
            self.problems.push(unknown::key(path.clone(), origin));
        } else {
            let right = match may_be_empty() {
                true => format!(
                    "write {}: {{}} for its defaults, or drop the key",
                    path.name()
                ),
                false => "give it one, or drop the key".to_owned(),
            };
            self.refuse(path.clone(), origin, wrong("it has no value", right));
        }
    }

    fn visit(&mut self, path: &SettingPath, value: &Value, given: &Given) {
        let row = table::find(path);
        let is_section = table::is_section(path);
        let origin = given.origin(path, value);
        match (&value.kind, row) {
            (ValueKind::Table(entries), _) if is_section => {
                if let Some(found) = misplaced(path, value) {
                    self.refuse(path.clone(), origin, found);
                } else if self.enter(path, &origin) {
                    for (key, value) in entries {
                        self.visit(&path.child(key), value, given);
                    }
                }
            }
            // The reader turns an empty section, `{}`, into nil; a null never comes here.
            (ValueKind::Nil, _) if is_section => {
                self.enter(path, &origin);
            }
            (kind, Some((setting, is_file))) => self.leaf(path, setting, is_file, kind, origin),
            (_, None) if is_section => {
                let found = misplaced(path, value).unwrap_or_else(|| not_a_section(path));
                self.refuse(path.clone(), origin, found);
            }
            (_, None) => {
                self.bad.insert(path.clone());
                self.problems.push(unknown::key(path.clone(), origin));
            }
        }
    }

    /// Notes that a section is there. False if its name is refused, and with it what it holds.
    fn enter(&mut self, path: &SettingPath, origin: &str) -> bool {
        let name = path.name();
        let refused = if path.is_like("sources.*") && !(names::SOURCE.holds)(name) {
            Some(names::SOURCE.right.to_owned())
        } else if path.is_like("routes.*") && !ROUTED.contains(&name) {
            let meant = unknown::nearest(name, ROUTED).map(|kind| format!("did you mean {kind}? "));
            Some(format!(
                "{}the kinds are {}",
                meant.unwrap_or_default(),
                ROUTED.join(", ")
            ))
        } else {
            None
        };
        if let Some(right) = refused {
            self.refuse(
                path.clone(),
                origin.to_owned(),
                Wrong {
                    wrong: "the name will not do".into(),
                    right,
                },
            );
            return false;
        }
        if OPTIONAL_SECTIONS
            .iter()
            .any(|section| path.is_like(section))
        {
            self.sections.insert(path.clone(), origin.to_owned());
        }
        true
    }

    fn leaf(
        &mut self,
        path: &SettingPath,
        setting: &Setting,
        is_file: bool,
        value: &ValueKind,
        origin: String,
    ) {
        if let ValueKind::String(file) = value
            && (is_file || matches!(setting.kind, Kind::File))
        {
            self.files.push(ReadFile::about_to_read(file.as_ref()));
        }
        let checked = match value {
            ValueKind::String(file) if is_file => {
                secrets::from_file(&setting.kind, file).map(|checked| Checked {
                    shown: yaml_text(file),
                    ..checked
                })
            }
            _ if is_file => Err(wrong("it is not a text", "name a file")),
            _ => setting.kind.check(value),
        };
        match checked {
            Ok(Checked { typed, shown }) => self.insert(path, setting, typed, shown, origin),
            Err(found) => self.refuse(path.clone(), origin, found),
        }
    }

    /// Notes a value that holds.
    pub fn insert(
        &mut self,
        path: &SettingPath,
        setting: &Setting,
        typed: ValueKind,
        shown: String,
        origin: String,
    ) {
        let fingerprint = fingerprint(&setting.kind, &typed);
        let typed = match (&setting.kind, typed) {
            (Kind::Switch, ValueKind::Boolean(true)) => {
                self.sections.insert(path.clone(), origin.clone());
                None
            }
            (Kind::Switch, _) => None,
            (_, typed) => Some((path.fill(reads_at(setting.path)), typed)),
        };
        self.leaves.insert(
            path.clone(),
            Leaf {
                typed,
                shown,
                origin,
                fingerprint,
            },
        );
    }

    fn refuse_secrets_given_twice(&mut self) {
        let twice: Vec<SettingPath> = self
            .leaves
            .keys()
            .filter(|path| matches!(table::find(path), Some((_, true))))
            .filter(|path| self.leaves.contains_key(&secret_of(path)))
            .cloned()
            .collect();
        for path in twice {
            let secret = secret_of(&path);
            let origin = self.leaves[&path].origin.clone();
            let wrong = Wrong {
                wrong: format!("{secret} is given too"),
                right: "give one of them".into(),
            };
            self.bad.insert(secret);
            self.refuse(path, origin, wrong);
        }
    }
}

/// The secret that a `_file` holds.
fn secret_of(file: &SettingPath) -> SettingPath {
    file.sibling(file.name().trim_end_matches("_file"))
}

fn not_a_section(path: &SettingPath) -> Wrong {
    let keys = match table::keys_of(path) {
        _ if path.is_like("sources") => {
            "each source's name and what holds for it, such as sources: {minchat: {auth: {tokens_file: ./tokens}}}".to_owned()
        }
        _ if path.is_like("routes") => format!("any of {}", ROUTED.join(", ")),
        keys if keys.is_empty() => "names and their values".to_owned(),
        keys => keys.join(", "),
    };
    wrong("it is not a section", format!("give a section with {keys}"))
}

/// What to say of a setting of a source that stands beside the sources instead of in one of them. A source may have such
/// a name if it says what sources say.
fn misplaced(path: &SettingPath, value: &Value) -> Option<Wrong> {
    let any = SettingPath::dotted("sources.*");
    let keys = table::keys_of(&any);
    let is_source = match &value.kind {
        ValueKind::Table(entries) => {
            entries.is_empty() || entries.keys().any(|key| keys.contains(key))
        }
        _ => false,
    };
    if !path.is_like("sources.*") || is_source {
        return None;
    }
    let places = table::places_in(&any, path.name());
    let places: Vec<String> = places
        .iter()
        .map(|place| place.replace('*', "NAME"))
        .collect();
    (!places.is_empty()).then(|| {
        wrong(
            format!(
                "{} stands beside the sources, and not in one of them",
                path.name()
            ),
            format!(
                "write it as {}, where NAME is that of a source",
                places.join(" or ")
            ),
        )
    })
}

/// Differs where a value does, or what is in the file that it names. So it can be told that a secret has changed,
/// although no secret is kept to compare it with. It tells nothing of the value, as its key is random.
fn fingerprint(kind: &Kind, value: &ValueKind) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let content = match (kind, value) {
        (Kind::File, ValueKind::String(file)) => files::read(Path::new(file)).ok(),
        _ => None,
    };
    let key = KEY.get_or_init(RandomState::new);
    key.hash_one((format!("{value:?}"), content))
}

/// One URI is a list of one.
fn reads_at(pattern: &'static str) -> &'static str {
    if pattern == "amqp.uri" {
        "amqp.uris"
    } else {
        pattern
    }
}
