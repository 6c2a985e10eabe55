//! The imports of the modules that deliver events, file by file, have no circle.
//!
//! A file imports from another if it names something there by a path that begins with `crate`, `super`, `self` or one of
//! its own children. Declaring a module imports nothing. Code for tests does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const MODULES: [&str; 4] = ["delivery", "metrics", "publish", "spool"];

/// By the module's path without `crate`, such as `spool::disk`: the code of its file.
type Files = BTreeMap<String, String>;

/// Reads a module's file and those of its children, without comments and tests.
fn read(module: &str, files: &mut Files) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let base = src.join(module.replace("::", "/"));
    let text = std::fs::read_to_string(base.with_extension("rs"))
        .or_else(|_| std::fs::read_to_string(base.join("mod.rs")));
    let Ok(text) = text else { return };
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    let mut code: Vec<&str> = Vec::new();
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        match line.starts_with("#[cfg(test)]") {
            // The tests in a file stand at its end; those with a file of their own are declared in one line.
            true if lines.peek().is_some_and(|next| next.ends_with('{')) => break,
            true => drop(lines.next()),
            // In a module within the file, this leads to the file itself.
            false if line == "    use super::*;" => {}
            false => code.push(line),
        }
    }
    let code = code.join("\n");
    for child in children(&code) {
        read(&format!("{module}::{child}"), files);
    }
    files.insert(module.to_owned(), code);
}

/// The modules that a file declares.
fn children(code: &str) -> impl Iterator<Item = &str> {
    let declared = code.lines().filter_map(|line| line.strip_suffix(';'));
    declared.filter_map(|line| match line.split_once("mod ") {
        Some((before, name)) if before.is_empty() || before.starts_with("pub") => Some(name),
        _ => None,
    })
}

/// Takes a tree of `use` apart into paths.
fn expand(prefix: &str, tree: &str, paths: &mut BTreeSet<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        paths.insert(format!("{prefix}{}", tree.trim()));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let rest = rest.trim_end().trim_end_matches('}');
    let (mut depth, mut from) = (0, 0);
    for (at, c) in rest.char_indices().chain([(rest.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &rest[from..at], paths);
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// Every path that a file names.
fn paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (at, _) in code.match_indices("use ") {
        let is_statement = code[..at].ends_with([' ', '\n']) || at == 0;
        if let Some((tree, _)) = code[at + 4..].split_once(';').filter(|_| is_statement) {
            expand("", tree, &mut paths);
        }
    }
    let is_of_a_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let named = code.split(|c| !is_of_a_path(c));
    let whole = named.filter(|path| path.contains("::") && !path.ends_with("::"));
    paths.extend(whole.map(str::to_owned));
    paths
}

/// The module whose file a path leads to from another module's.
fn target(module: &str, path: &str, files: &Files) -> Option<String> {
    let mut at: Vec<&str> = module.split("::").collect();
    let mut words = path.split("::").peekable();
    match *words.peek()? {
        "crate" => at.clear(),
        "super" | "self" => {}
        child if files.contains_key(&format!("{module}::{child}")) => {}
        _ => return None,
    }
    for word in words {
        match word {
            "crate" | "self" => {}
            "super" => drop(at.pop()),
            word if files.contains_key([&at[..], &[word]].concat().join("::").as_str()) => {
                at.push(word)
            }
            _ => break,
        }
    }
    let found = at.join("::");
    (found != module && files.contains_key(&found)).then_some(found)
}

#[test]
fn the_imports_of_the_modules_that_deliver_events_have_no_circle() {
    let mut files = Files::new();
    for module in MODULES {
        read(module, &mut files);
    }
    let mut imports: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in &files {
        let paths = paths(code);
        let targets = paths.iter().filter_map(|path| target(module, path, &files));
        imports.insert(module, targets.collect());
    }
    let reached = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from.to_owned()];
        while let Some(module) = next.pop() {
            let new = imports[module.as_str()]
                .iter()
                .filter(|new| reached.insert((*new).clone()));
            next.extend(new.cloned());
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<String>> = files
        .keys()
        .map(|file| (file.as_str(), reached(file)))
        .collect();
    let is_in_circle = |file: &&str| reached[*file].contains(*file);
    let mut circles: BTreeSet<Vec<&str>> = BTreeSet::new();
    for file in files.keys().map(String::as_str).filter(is_in_circle) {
        let both = |other: &&str| reached[file].contains(*other) && reached[*other].contains(file);
        circles.insert(files.keys().map(String::as_str).filter(both).collect());
    }
    assert!(
        circles.is_empty(),
        "files that import each other: {circles:#?}"
    );
    assert!(files.len() > 50, "{} files were read", files.len());
}
