//! Any text as a configuration's file, variables and flags: it holds, or what is wrong is named. Nothing shows a secret.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use minchat_bridge::config::{Inputs, Loaded, load, to_yaml};
use tempfile::TempDir;

/// What stands between the file and the lines with variables and flags.
const DIVIDER: &[u8] = b"\n====\n";

/// Given where the input asks for it by a line `secrets`, and to be seen nowhere.
const SECRET: &str = "hunter2-5f3a";

static DIR: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = std::path::Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    dir.expect("there is room for a directory")
});

/// Loads what the input says, and loads again what came of it.
pub fn check(input: &[u8]) {
    let divider = input
        .windows(DIVIDER.len())
        .position(|bytes| bytes == DIVIDER);
    let (file, rest) = match divider {
        Some(at) => (&input[..at], &input[at + DIVIDER.len()..]),
        None => (input, &input[..0]),
    };
    let mut inputs = Inputs {
        file: Some(written("bridge.yaml", file)),
        ..Inputs::default()
    };
    for line in String::from_utf8_lossy(rest).lines() {
        say(&mut inputs, line);
    }
    let is_given = inputs.set.iter().any(|(_, value)| value == SECRET);
    if String::from_utf8_lossy(input).contains(SECRET) {
        return;
    }
    match load(&inputs) {
        Ok(loaded) => {
            shows_no_secret(is_given, || {
                format!("{loaded:?} {}", to_yaml(&loaded.effective))
            });
            loads_again(&loaded);
        }
        Err(problems) => {
            assert!(problems.iter().count() > 0, "refused, and nothing is named");
            for problem in problems.iter() {
                let said = [&problem.origin, &problem.wrong, &problem.right];
                assert!(said.iter().all(|text| !text.is_empty()), "{problem:?}");
            }
            shows_no_secret(is_given, || format!("{problems} {problems:?}"));
        }
    }
}

fn shows_no_secret(is_given: bool, shown: impl FnOnce() -> String) {
    assert!(!is_given || !shown().contains(SECRET), "a secret is shown");
}

/// `--set PATH=VALUE`, `NAME=VALUE`, or `secrets`.
fn say(inputs: &mut Inputs, line: &str) {
    let pair = |text: &str| {
        text.split_once('=')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    if line == "secrets" {
        for path in ["kafka.sasl.password", "amqp.password"] {
            inputs.set.push((path.to_owned(), SECRET.to_owned()));
        }
    } else if let Some(set) = line.strip_prefix("--set ") {
        inputs.set.extend(pair(set));
    } else {
        inputs.env.extend(pair(line));
    }
}

/// What is shown of a configuration is one: the same, but for its secrets, which are not shown.
fn loads_again(loaded: &Loaded) {
    let shown = to_yaml(&loaded.effective);
    if loaded
        .effective
        .iter()
        .any(|setting| setting.value.contains("\"***\""))
    {
        return;
    }
    let inputs = Inputs {
        file: Some(written("shown.yaml", shown.as_bytes())),
        ..Inputs::default()
    };
    let again = load(&inputs).unwrap_or_else(|problems| panic!("{problems}\n{shown}"));
    let settings = |loaded: &Loaded| {
        let settings = loaded.effective.iter();
        let settings = settings.map(|setting| (setting.path.to_string(), setting.value.clone()));
        settings.collect::<Vec<_>>()
    };
    assert_eq!(settings(&again), settings(loaded), "{shown}");
}

fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = DIR.path().join(name);
    fs::write(&path, bytes).expect("there is room for a small file");
    path
}
