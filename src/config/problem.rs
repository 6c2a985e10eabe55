//! What is wrong with a configuration, told all at once.

use std::fmt;

use super::path::SettingPath;
use super::shown::visible;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting or section. The root: the file as a whole.
    pub path: SettingPath,
    /// Where its value was given: `config.yaml:12`, a variable's name, a flag, `default`.
    pub origin: String,
    /// What is wrong. Never the value of a secret.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = match self.path.keys() {
            [] => format!("{}: {}; {}", self.origin, self.wrong, self.right),
            _ => format!(
                "{} ({}): {}; {}",
                self.path, self.origin, self.wrong, self.right
            ),
        };
        f.write_str(&visible(&told))
    }
}

/// All that is wrong, in the order of the paths.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// In the order of the paths, each once.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| a.wrong.cmp(&b.wrong)));
        problems.dedup();
        Self(problems)
    }

    /// One by one; there is at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "the configuration has {count} {}",
            if count == 1 { "problem" } else { "problems" }
        )?;
        for (number, problem) in (1..).zip(&self.0) {
            write!(f, "\n{number:>3}. {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
