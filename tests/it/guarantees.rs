//! What docs/guarantees.md promises is shown by tests that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const GUARANTEES: &str = include_str!("../../docs/guarantees.md");
const ROWS: &str = include_str!("../faults/rows.tsv");

/// Of the document's sections, the one whose sentences no test can show.
const UNSHOWN: &str = "What no test can show";

#[test]
fn every_test_that_the_guarantees_name_is_there() {
    let tests = tests();
    assert!(tests.len() > 300, "{} tests were found", tests.len());
    let named = named(GUARANTEES);
    assert!(named.len() > 50, "{} are named", named.len());
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| !is_there(name, &tests))
        .collect();
    assert!(missing.is_empty(), "there are no tests {missing:?}");
}

#[test]
fn every_sentence_of_the_guarantees_names_what_shows_it() {
    let sections = GUARANTEES.split("\n## ").skip(1);
    for section in sections.filter(|section| !section.starts_with(UNSHOWN)) {
        let items = section.split("\n- ").skip(1);
        // An item ends at an empty line, the last one of a list with what follows it.
        let items = items.filter_map(|item| item.split("\n\n").next());
        let rows = section
            .lines()
            .filter(|line| line.starts_with("| "))
            .skip(1);
        for said in items.chain(rows) {
            assert!(!named(said).is_empty(), "nothing shows: {said}");
        }
    }
}

/// The names of tests: `row_N`, or what has as many words as only tests do.
fn named(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_name = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    quoted
        .filter(|text| is_name(text))
        .filter(|text| row(text).is_some() || text.matches('_').count() > 3)
        .collect()
}

fn row(name: &str) -> Option<u32> {
    name.strip_prefix("row_")?.parse().ok()
}

/// Whether a test is called so, or begins so; and for a row, whether it has a test or names one.
fn is_there(name: &str, tests: &BTreeSet<String>) -> bool {
    let begins = match row(name) {
        Some(_) => format!("{name}_"),
        None => name.to_owned(),
    };
    let first = tests.range(begins.clone()..).next();
    let has_one = first.is_some_and(|test| test.starts_with(&begins));
    let is_mapped = |line: &str| {
        let mut cells = line.split('\t');
        let number = cells.next().and_then(|number| number.parse().ok());
        number == row(name) && cells.nth(1).is_some_and(|named| !named.is_empty())
    };
    has_one || (row(name).is_some() && ROWS.lines().any(is_mapped))
}

/// The names of all tests in the sources.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for dir in ["src", "tests"] {
        gather(&root.join(dir), &mut sources);
    }
    let mut tests = BTreeSet::new();
    for source in sources {
        let text = fs::read_to_string(source).expect("a source is text");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") {
                is_test |= line.contains("test]") || line.contains("test(");
            } else if let Some((_, rest)) = line.split_once("fn ") {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                tests.extend(is_test.then(|| name.to_owned()));
                is_test = false;
            }
        }
    }
    tests
}

fn gather(dir: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the directory is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}
