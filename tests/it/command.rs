//! A command of the program, run to its end beside a bridge.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::process::with_sources;

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Each line of stdout, as JSON.
    pub fn json(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }

    /// Asserts how it ended.
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that each of these stands on stdout or stderr.
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            let said = self.stdout.contains(part) || self.stderr.contains(part);
            assert!(said, "{part:?}: {}\n{}", self.stdout, self.stderr);
        }
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran {
            code: output.status.code().expect("it exits"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// A command in the directory of a bridge, by the bridge's `config.yaml`. There is no terminal.
pub fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"));
    command
        .args(words)
        .args(["--config", "config.yaml"])
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

/// Runs it.
pub fn run(dir: &Path, words: &[&str]) -> Ran {
    let output = command(dir, words).output();
    output.expect("the program can be run").into()
}

/// Gives the bridge's directory another configuration, [`with_sources`].
pub fn configure(dir: &Path, yaml: &str) {
    std::fs::write(dir.join("config.yaml"), with_sources(yaml))
        .expect("the configuration can be written");
}
