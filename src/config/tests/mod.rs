//! The configuration as a whole: what goes in, what comes out, what is told.

mod cut;
mod problems;
mod values;

use std::fs;

use super::{Inputs, Loaded, load};

/// A configuration in a directory of its own.
pub(super) struct Given {
    dir: tempfile::TempDir,
    inputs: Inputs,
}

impl Given {
    /// With this file. If it says nothing of sources, there is one that lets everybody in.
    pub fn yaml(text: &str) -> Self {
        match text.contains("sources:") {
            true => Self::text(&format!("{text}\n")),
            false => Self::text(&format!(
                "{text}\nsources: {{minchat: {{auth: {{none: true}}}}}}\n"
            )),
        }
    }

    /// With a file of this text and no other.
    pub fn text(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let file = dir.path().join("config.yaml");
        let given = Self {
            inputs: Inputs {
                file: Some(file),
                ..Inputs::default()
            },
            dir,
        };
        let text = text.replace("$DIR", &given.dir());
        let (cert, key) = certificate();
        given
            .file("config.yaml", &text)
            .file("secret", "a-secret-that-is-long-enough")
            .file("ca.pem", cert)
            .file("cert.pem", cert)
            .file("key.pem", key)
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.dir.path().join(name), text).expect("it can be written");
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.inputs.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn flag(mut self, path: &str, value: &str) -> Self {
        self.inputs.set.push((path.to_owned(), value.to_owned()));
        self
    }

    pub fn load(&self) -> Loaded {
        load(&self.inputs).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// What is wrong, one line a problem, without the directory's name.
    pub fn problems(&self) -> Vec<String> {
        let dir = format!("{}/", self.dir());
        match load(&self.inputs) {
            Ok(_) => Vec::new(),
            Err(problems) => problems
                .iter()
                .map(|one| one.to_string().replace(&dir, ""))
                .collect(),
        }
    }

    pub fn dir(&self) -> String {
        self.dir.path().display().to_string()
    }
}

/// A certificate that vouches for itself, and its key.
pub(super) fn certificate() -> (&'static str, &'static str) {
    static PEM: std::sync::OnceLock<(String, String)> = std::sync::OnceLock::new();
    let (cert, key) = PEM.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a name is all that it takes");
        (made.cert.pem(), made.signing_key.serialize_pem())
    });
    (cert, key)
}

/// Value and origin of one setting, the directory's name left out.
pub(super) fn effective(given: &Given, path: &str) -> (String, String) {
    let loaded = given.load();
    let found = loaded
        .effective
        .iter()
        .find(|one| one.path.to_string() == path);
    let found = found.unwrap_or_else(|| panic!("{path} is not there"));
    (
        found.value.clone(),
        found.origin.replace(&format!("{}/", given.dir()), ""),
    )
}
