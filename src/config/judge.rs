//! What the checks across settings are given, and how they say what does not hold.

use super::complete::DEFAULT;
use super::layers::Given;
use super::path::SettingPath;
use super::problem::Problem;
use super::walk::Found;
use super::{Config, certificates, directories, listeners, properties, routes, security, timing};

/// Checks what the settings say together. Finds problems in `found`, gives warnings.
pub(super) fn judge(config: &Config, given: &Given, found: &mut Found) -> Vec<String> {
    let mut judge = Judge {
        config,
        given,
        found,
        warnings: Vec::new(),
    };
    timing::check(&mut judge);
    listeners::check(&mut judge);
    security::check(&mut judge);
    certificates::check(&mut judge);
    properties::check(&mut judge);
    routes::check(&mut judge);
    directories::check(&mut judge);
    judge.warnings
}

/// The settings, and what was found.
pub(super) struct Judge<'a> {
    pub config: &'a Config,
    given: &'a Given,
    found: &'a mut Found,
    pub warnings: Vec<String>,
}

impl Judge<'_> {
    /// The settings at `paths` contradict one another. Told at the first of them that was given; not told
    /// if one of them was refused by itself.
    pub fn refuse(
        &mut self,
        paths: &[SettingPath],
        wrong: impl Into<String>,
        right: impl Into<String>,
    ) {
        if paths.iter().any(|path| self.found.is_bad(path)) {
            return;
        }
        let said = paths.iter().find(|path| self.origin(path) != DEFAULT);
        if let Some(path) = said.or(paths.first()) {
            let origin = self.origin(path);
            let problem = Problem {
                path: path.clone(),
                origin,
                wrong: wrong.into(),
                right: right.into(),
            };
            self.found.problems.push(problem);
        }
    }

    /// Whether the setting or section was given, not defaulted.
    pub fn is_given(&self, path: &SettingPath) -> bool {
        self.found
            .leaves
            .get(path)
            .is_some_and(|leaf| leaf.origin != DEFAULT)
            || self
                .found
                .sections
                .get(path)
                .is_some_and(|origin| origin != DEFAULT)
    }

    /// Whether there is a configuration file.
    pub fn has_file(&self) -> bool {
        self.found.has_file
    }

    /// It holds, but is probably not meant.
    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    fn origin(&self, path: &SettingPath) -> String {
        let leaf = self.found.leaves.get(path).map(|leaf| &leaf.origin);
        let file = path.sibling(format!("{}_file", path.name()));
        let file = self.found.leaves.get(&file).map(|leaf| &leaf.origin);
        let section = self.found.sections.get(path);
        leaf.or(file)
            .or(section)
            .cloned()
            .unwrap_or_else(|| self.given.origin_of(path))
    }
}

/// The path of a setting whose keys have no dots.
pub(super) fn at(dotted: &str) -> SettingPath {
    SettingPath::dotted(dotted)
}
