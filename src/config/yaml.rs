//! A YAML file as a tree of texts that know their lines.
//!
//! Guarantees: a scalar is kept as it is written, so that `007`, `1.10` and `yes` reach a text
//! setting unchanged; what it means is the table's matter. A key that is there twice, a second
//! document, an anchor, a tag of one's own are told, not guessed at. Depth is bounded.
//! `config`'s own reader types each scalar by its looks and knows no lines.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};
use yaml_rust2::parser::{Event, Parser, Tag};
use yaml_rust2::scanner::{Marker, TScalarStyle};

use super::path::SettingPath;
use super::problem::Problem;

/// Twice as deep as any setting stands.
const MAX_DEPTH: usize = 12;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// The sections; scalars are strings, an empty section is nil.
    pub sections: Map<String, Value>,
    /// Where each key stands: `config.yaml:12`.
    pub origins: BTreeMap<SettingPath, String>,
    /// What was wrong with it.
    pub problems: Vec<Problem>,
}

/// Reads `text`; `name` is what the file is called in origins.
pub(super) fn read(text: &str, name: &str) -> Document {
    let mut reader = Reader {
        name,
        stack: Vec::new(),
        document: Document::default(),
        documents: 0,
    };
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    loop {
        match parser.next_token() {
            Ok((Event::StreamEnd, _)) => return reader.document,
            Ok((event, mark)) => {
                if let Err(problem) = reader.take(event, mark) {
                    reader.document.problems.push(problem);
                    return reader.document;
                }
            }
            Err(error) => {
                let what = format!("it is not YAML: {}", error.info());
                let problem =
                    reader.broken(*error.marker(), what, "mend the line, or the one above it");
                reader.document.problems.push(problem);
                return reader.document;
            }
        }
    }
}

struct Reader<'a> {
    name: &'a str,
    stack: Vec<Open>,
    document: Document,
    documents: usize,
}

/// A section or a list whose end has not come yet.
enum Open {
    Section {
        path: SettingPath,
        origin: String,
        entries: Map<String, Value>,
        key: Option<(String, usize)>,
    },
    List {
        path: SettingPath,
        origin: String,
        items: Vec<Value>,
    },
}

impl Reader<'_> {
    fn take(&mut self, event: Event, mark: Marker) -> Result<(), Problem> {
        match event {
            Event::DocumentStart => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.broken(
                        mark,
                        "a second document begins here".into(),
                        "keep one",
                    ));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(anchor, tag.as_ref(), mark)?;
                self.scalar(text, style, mark)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.as_ref(), mark)?;
                let (path, origin) = self.open(mark)?;
                self.stack.push(Open::Section {
                    path,
                    origin,
                    entries: Map::new(),
                    key: None,
                });
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.as_ref(), mark)?;
                if self.stack.is_empty() {
                    return Err(self.not_a_section(mark));
                }
                let (path, origin) = self.open(mark)?;
                self.stack.push(Open::List {
                    path,
                    origin,
                    items: Vec::new(),
                });
                Ok(())
            }
            Event::MappingEnd | Event::SequenceEnd => self.close(mark),
            Event::Alias(_) => {
                Err(self.broken(mark, "an alias stands here".into(), "write the value out"))
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn scalar(&mut self, text: String, style: TScalarStyle, mark: Marker) -> Result<(), Problem> {
        let is_null = style == TScalarStyle::Plain
            && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        match self.stack.last_mut() {
            None if is_null => Ok(()),
            None => Err(self.not_a_section(mark)),
            Some(Open::Section {
                key: key @ None, ..
            }) => {
                *key = Some((text, mark.line()));
                Ok(())
            }
            Some(_) => {
                let (_, origin) = self.open(mark)?;
                let kind = if is_null {
                    ValueKind::Nil
                } else {
                    ValueKind::String(text)
                };
                self.put(Value::new(Some(&origin), kind), mark)
            }
        }
    }

    /// Path and origin of the value that begins here.
    fn open(&mut self, mark: Marker) -> Result<(SettingPath, String), Problem> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.broken(
                mark,
                "it is nested too deep".into(),
                "no setting is that deep",
            ));
        }
        match self.stack.last() {
            None => Ok((SettingPath::default(), self.origin(mark.line()))),
            Some(Open::Section {
                path,
                key: Some((key, line)),
                ..
            }) => Ok((path.child(key), self.origin(*line))),
            Some(Open::List { path, .. }) => Ok((path.clone(), self.origin(mark.line()))),
            Some(Open::Section { key: None, .. }) => {
                Err(self.broken(mark, "a key is no plain text".into(), "a key is one word"))
            }
        }
    }

    fn close(&mut self, mark: Marker) -> Result<(), Problem> {
        let value = match self.stack.pop() {
            Some(Open::Section { entries, .. }) if self.stack.is_empty() => {
                self.document.sections = entries;
                return Ok(());
            }
            // Merging drops the origin of a table, and with it that an empty one was there.
            Some(Open::Section {
                origin, entries, ..
            }) if entries.is_empty() => Value::new(Some(&origin), ValueKind::Nil),
            Some(Open::Section {
                origin, entries, ..
            }) => Value::new(Some(&origin), entries),
            Some(Open::List { origin, items, .. }) => Value::new(Some(&origin), items),
            None => return Ok(()),
        };
        self.put(value, mark)
    }

    fn put(&mut self, value: Value, mark: Marker) -> Result<(), Problem> {
        let name = self.name;
        match self.stack.last_mut() {
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Section {
                path, entries, key, ..
            }) => {
                let Some((key, line)) = key.take() else {
                    return Err(self.broken(
                        mark,
                        "a key is no plain text".into(),
                        "a key is one word",
                    ));
                };
                let (path, origin) = (path.child(&key), format!("{name}:{line}"));
                if let Some(first) = self.document.origins.get(&path) {
                    let wrong = format!("it is there twice, first at {first}");
                    self.document.problems.push(Problem {
                        path,
                        origin,
                        wrong,
                        right: "keep one".into(),
                    });
                } else {
                    self.document.origins.insert(path, origin);
                    entries.insert(key, value);
                }
            }
            None => {}
        }
        Ok(())
    }

    fn refuse_extras(&self, anchor: usize, tag: Option<&Tag>, mark: Marker) -> Result<(), Problem> {
        if anchor > 0 {
            return Err(self.broken(
                mark,
                "an anchor stands here".into(),
                "write the value out where it is needed",
            ));
        }
        match tag {
            Some(tag) if tag.handle != "tag:yaml.org,2002:" => {
                let wrong = format!("the tag {}{} is not known", tag.handle, tag.suffix);
                Err(self.broken(mark, wrong, "write the value itself"))
            }
            _ => Ok(()),
        }
    }

    fn not_a_section(&self, mark: Marker) -> Problem {
        self.broken(
            mark,
            "it does not begin with a section".into(),
            "begin with a line such as 'http:'",
        )
    }

    fn broken(&self, mark: Marker, wrong: String, right: &str) -> Problem {
        let origin = format!("{}:{}:{}", self.name, mark.line(), mark.col() + 1);
        Problem {
            path: SettingPath::default(),
            origin,
            wrong,
            right: right.into(),
        }
    }

    fn origin(&self, line: usize) -> String {
        format!("{}:{line}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(document: &'a Document, section: &str, key: &str) -> (&'a ValueKind, &'a str) {
        let ValueKind::Table(section) = &document.sections[section].kind else {
            panic!("no section {section}")
        };
        (
            &section[key].kind,
            section[key].origin().unwrap_or_default(),
        )
    }

    #[test]
    fn scalars_stay_as_they_are_written_and_know_their_lines() {
        let document = read(
            "# c\nhttp:\n  a: 007\n  b: yes\n\n  c: 1.10\n  d: \"null\"\n  e: ~\n  f: {}\n",
            "c.yaml",
        );
        assert!(document.problems.is_empty(), "{:?}", document.problems);
        let string = |text: &str| ValueKind::String(text.to_owned());
        assert_eq!(text(&document, "http", "a"), (&string("007"), "c.yaml:3"));
        assert_eq!(text(&document, "http", "b"), (&string("yes"), "c.yaml:4"));
        assert_eq!(text(&document, "http", "c"), (&string("1.10"), "c.yaml:6"));
        assert_eq!(text(&document, "http", "d"), (&string("null"), "c.yaml:7"));
        assert_eq!(text(&document, "http", "e"), (&ValueKind::Nil, "c.yaml:8"));
        assert_eq!(text(&document, "http", "f"), (&ValueKind::Nil, "c.yaml:9"));
        assert_eq!(document.origins[&SettingPath::dotted("http.c")], "c.yaml:6");
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for empty in [
            "",
            "\n",
            "# only a comment\n",
            "---\n",
            "{}",
            "null",
            "\u{feff}",
        ] {
            let document = read(empty, "c.yaml");
            assert!(
                document.problems.is_empty() && document.sections.is_empty(),
                "{empty:?}: {document:?}"
            );
        }
    }

    #[test]
    fn what_is_no_configuration_is_told_with_line_and_column() {
        let deep = "[".repeat(100_000);
        let table = [
            ("http: [", "c.yaml:2:1: it is not YAML: "),
            ("http:\n  a: b: c\n", "c.yaml:2:"),
            ("http:\n\ta: 1\n", "c.yaml:2:"),
            ("- a\n", "c.yaml:1:1: it does not begin with a section"),
            ("text\n", "c.yaml:1:1: it does not begin with a section"),
            ("a: 1\n---\nb: 2\n", "c.yaml:2:1: a second document"),
            ("a: &x 1\n", "c.yaml:1:"),
            ("a: *x\n", "c.yaml:1:"),
            ("a: !env HOME\n", "c.yaml:1:9: the tag !env"),
            ("? [a]\n: 1\n", "c.yaml:1:3: a key is no plain text"),
            (&format!("a: {deep}"), "c.yaml:1:"),
        ];
        for (text, told) in table {
            let problems = read(text, "c.yaml").problems;
            let shown = problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n");
            assert!(shown.starts_with(told), "{:.40}: {shown}", text);
        }
    }

    #[test]
    fn each_key_that_is_there_twice_is_told() {
        let document = read("http:\n  a: 1\n  b: 2\n  a: 3\nhttp: {}\n", "c.yaml");
        let shown: Vec<String> = document.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "http.a (c.yaml:4): it is there twice, first at c.yaml:2; keep one",
                "http (c.yaml:5): it is there twice, first at c.yaml:1; keep one",
            ]
        );
    }
}
