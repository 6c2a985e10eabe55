//! Flags, environment and file, laid over one another by the crate `config`.
//!
//! Every layer hands over texts; what they mean is the table's matter. Nothing is guessed by looks,
//! as `config`'s `try_parsing` would.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Map, Value, ValueKind};

use super::Inputs;
use super::path::SettingPath;
use super::problem::Problem;
use super::{files, table, unknown, yaml};

/// What a variable begins with that is ours. Kubernetes makes up others, such as
/// `MINCHAT_BRIDGE_PORT`, from the names of services.
const VARIABLE: &str = "MINCHAT_BRIDGE__";

/// All that was given, defaults not among it.
pub(super) struct Given {
    pub root: Map<String, Value>,
    /// The keys of the file that have no value, which are not in `root`.
    pub nulls: Vec<SettingPath>,
    /// The name of the configuration's file. None: no file is given.
    pub file: Option<String>,
    /// Where the keys of the file stand.
    origins: BTreeMap<SettingPath, String>,
    pub problems: Vec<Problem>,
    /// There was a file, and it could not be understood.
    pub unreadable: bool,
}

impl Given {
    /// Where a section or a value was given.
    pub fn origin(&self, path: &SettingPath, value: &Value) -> String {
        let stands = || self.origins.get(path).map(String::as_str);
        value
            .origin()
            .or_else(stands)
            .or_else(|| first_origin(value))
            .unwrap_or("default")
            .to_owned()
    }

    /// Where a section was given, whatever is in it.
    pub fn origin_of(&self, path: &SettingPath) -> String {
        self.origins
            .get(path)
            .cloned()
            .unwrap_or_else(|| "default".to_owned())
    }
}

/// A section that no file has comes from a variable or a flag in it.
fn first_origin(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::Table(entries) => entries
            .values()
            .filter_map(|entry| entry.origin().or_else(|| first_origin(entry)))
            .min(),
        _ => value.origin(),
    }
}

/// Reads all layers and lays them over one another.
pub(super) fn gather(inputs: &Inputs) -> Given {
    let mut problems = Vec::new();
    let document = inputs.file.as_deref().map(read_file).unwrap_or_default();
    let unreadable = document
        .problems
        .iter()
        .any(|problem| problem.path.keys().is_empty());
    problems.extend(document.problems);

    let mut variables = Layer::default();
    for (name, value) in &inputs.env {
        if let Some(path) = name.strip_prefix(VARIABLE) {
            let path = SettingPath::of(path.split("__").map(str::to_ascii_lowercase));
            variables.say(path, value, &format!("variable {name}"), &mut problems);
        }
    }
    let mut flags = Layer::default();
    for (path, value) in &inputs.set {
        flags.say(
            SettingPath::dotted(path),
            value,
            &format!("--set {path}"),
            &mut problems,
        );
    }

    let file = Layer {
        root: known_sections(document.sections, &document.origins, &mut problems),
    };
    let built = config::Config::builder()
        .add_source(file)
        .add_source(variables)
        .add_source(flags)
        .build();
    let root = match built.map(|merged| merged.cache.kind) {
        Ok(ValueKind::Table(root)) => root,
        _ => unreachable!("the layers are tables in memory"),
    };
    Given {
        root,
        nulls: document.nulls,
        file: inputs.file.as_ref().map(|file| file.display().to_string()),
        origins: document.origins,
        problems,
        unreadable,
    }
}

/// One layer, in the form that `config` merges.
#[derive(Clone, Debug, Default)]
struct Layer {
    root: Map<String, Value>,
}

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.root.clone())
    }
}

impl Layer {
    /// Puts `text` at `path`, unless no variable or flag may.
    fn say(&mut self, path: SettingPath, text: &str, origin: &str, problems: &mut Vec<Problem>) {
        let origin = origin.to_owned();
        if let Some(section) = table::FILE_ONLY
            .iter()
            .find(|section| path.begins_like(section))
        {
            let wrong =
                format!("{section} is set in the file only, as its keys are names of your own");
            problems.push(Problem {
                path,
                origin,
                wrong,
                right: "write it into the file, and drop this".into(),
            });
        } else if !table::is_known(&path) {
            problems.push(unknown::key(path, origin));
        } else if text.is_empty() {
            problems.push(Problem {
                path,
                origin,
                wrong: "it has no value".into(),
                right: "give it one, or drop this".into(),
            });
        } else {
            put(&mut self.root, path.keys(), Value::new(Some(&origin), text));
        }
    }
}

/// Puts `value` at `keys`, which are made sections where they are none.
pub(super) fn put(root: &mut Map<String, Value>, keys: &[String], value: Value) {
    let [key, rest @ ..] = keys else { return };
    if rest.is_empty() {
        root.insert(key.clone(), value);
        return;
    }
    let entry = root.entry(key.clone()).or_insert_with(empty_section);
    if !matches!(entry.kind, ValueKind::Table(_)) {
        *entry = empty_section();
    }
    if let ValueKind::Table(section) = &mut entry.kind {
        put(section, rest, value);
    }
}

fn empty_section() -> Value {
    Value::new(None, Map::<String, Value>::new())
}

/// Makes `keys` a section, whatever is or comes in it.
pub(super) fn put_section(root: &mut Map<String, Value>, keys: &[String]) {
    let [key, rest @ ..] = keys else { return };
    let entry = root.entry(key.clone()).or_insert_with(empty_section);
    if let ValueKind::Table(section) = &mut entry.kind {
        put_section(section, rest);
    }
}

/// Only sections that are known go into the merge: `config` takes the outermost keys of a layer for
/// expressions, in which dots and brackets mean something.
fn known_sections(
    sections: Map<String, Value>,
    origins: &BTreeMap<SettingPath, String>,
    problems: &mut Vec<Problem>,
) -> Map<String, Value> {
    let mut known = Map::new();
    for (key, value) in sections {
        let path = SettingPath::of([key.as_str()]);
        if table::is_section(&path) {
            known.insert(key, value);
        } else {
            let origin = origins.get(&path).cloned().unwrap_or_default();
            problems.push(unknown::key(path, origin));
        }
    }
    known
}

fn read_file(path: &Path) -> yaml::Document {
    let name = path.display().to_string();
    let (origin, wrong, right) = match files::read(path) {
        Ok(text) => return yaml::read(&text, &name),
        Err(_) if name.is_empty() => {
            let origin = "--config or MINCHAT_BRIDGE_CONFIG".to_owned();
            (
                origin,
                "the file's name is empty".to_owned(),
                "name a file, or drop this",
            )
        }
        Err(why) => (
            name,
            format!("the file {why}"),
            "name a file that the bridge may read",
        ),
    };
    yaml::Document {
        problems: vec![Problem {
            path: SettingPath::default(),
            origin,
            wrong,
            right: right.to_owned(),
        }],
        ..yaml::Document::default()
    }
}
