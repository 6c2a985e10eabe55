//! A YAML file as a tree of texts that know their lines.
//!
//! Guarantees: a scalar is kept as it is written, so that `007`, `1.10` and `yes` reach a text
//! setting unchanged; what it means is the table's matter. A key that is there twice, a second
//! document, an anchor and a tag other than `!!str` are errors, not guessed at. Depth is bounded. A
//! file that was cut inside a line is an error: the rest of the line could mean something else.
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
    /// The sections; scalars are strings, an empty section (`{}`) is nil.
    pub sections: Map<String, Value>,
    /// The keys without a value (null), which are not in `sections`.
    pub nulls: Vec<SettingPath>,
    /// Where each key stands: `config.yaml:12`.
    pub origins: BTreeMap<SettingPath, String>,
    /// What was wrong with it.
    pub problems: Vec<Problem>,
}

/// Reads `text`; `name` is what the file is called in origins.
pub(super) fn read(text: &str, name: &str) -> Document {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        name,
        stack: Vec::new(),
        document: Document::default(),
        documents: 0,
        cut_after: cut_after(text),
    };
    if let Some(problem) = reader.refuse_bytes(text) {
        reader.document.problems.push(problem);
        return reader.document;
    }
    let mut parser = Parser::new_from_str(text);
    loop {
        match parser.next_token() {
            Ok((Event::StreamEnd, mark)) => {
                if reader.cut_after.is_some() {
                    let problem = reader.broken(
                        mark,
                        "the file ends inside a line, as a file that was cut does".into(),
                        "end its last line with a line break",
                    );
                    reader.document.problems.push(problem);
                }
                return reader.document;
            }
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

/// The index of the last character of a text that ends inside a line, white space left out.
fn cut_after(text: &str) -> Option<usize> {
    let complete = text.is_empty() || text.ends_with('\n');
    (!complete).then(|| text.trim_end().chars().count().saturating_sub(1))
}

struct Reader<'a> {
    name: &'a str,
    stack: Vec<Open>,
    document: Document,
    documents: usize,
    /// Where the text ends inside a line. None once the bracket there has closed a section or a list: no more
    /// characters of that line could change what it says.
    cut_after: Option<usize>,
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
                self.refuse_extras(anchor, tag.as_ref().filter(|tag| !is_str(tag)), mark)?;
                self.scalar(text, style, tag.is_some(), mark)
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
            Event::MappingEnd | Event::SequenceEnd => {
                self.cut_after.take_if(|last| *last == mark.index());
                self.close(mark)
            }
            Event::Alias(_) => {
                Err(self.broken(mark, "an alias stands here".into(), "write the value out"))
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: String,
        style: TScalarStyle,
        is_tagged: bool,
        mark: Marker,
    ) -> Result<(), Problem> {
        let is_null = match style {
            TScalarStyle::Plain => {
                !is_tagged && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            // The lines of a block are missing where a file was cut behind its first line.
            TScalarStyle::Literal | TScalarStyle::Folded => text.trim().is_empty(),
            TScalarStyle::SingleQuoted | TScalarStyle::DoubleQuoted => false,
        };
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
                let (path, origin) = self.open(mark)?;
                let is_item = matches!(self.stack.last(), Some(Open::List { .. }));
                match (is_null, is_item) {
                    (false, _) => self.put(Value::new(Some(&origin), text), mark),
                    (true, true) => self.put(Value::new(Some(&origin), ValueKind::Nil), mark),
                    (true, false) => self.put_null(path, mark),
                }
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

    /// Notes that the key has no value. If the key is there twice, only that is a problem.
    fn put_null(&mut self, path: SettingPath, mark: Marker) -> Result<(), Problem> {
        let before = self.document.problems.len();
        self.put(Value::new(None, ValueKind::Nil), mark)?;
        if self.document.problems.len() > before {
            return Ok(());
        }
        if let Some(Open::Section { entries, .. }) = self.stack.last_mut() {
            entries.remove(path.name());
        }
        self.document.nulls.push(path);
        Ok(())
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
            Some(tag) => {
                let wrong = format!("the tag {}{} stands here", tag.handle, tag.suffix);
                Err(self.broken(
                    mark,
                    wrong,
                    "drop it: the setting says of what type its value is",
                ))
            }
            None => Ok(()),
        }
    }

    /// What of a text the parser would take for its end, or skip.
    fn refuse_bytes(&self, text: &str) -> Option<Problem> {
        let is_wrong = |one: char| one < ' ' && !"\t\n\r".contains(one);
        let (wrong, right) = if text.trim().is_empty() {
            (
                "the file is empty",
                "write a configuration into it, or name no file",
            )
        } else if text.contains(is_wrong) {
            (
                "the file has a NUL or another control character",
                "write it as text",
            )
        } else {
            return None;
        };
        Some(Problem {
            path: SettingPath::default(),
            origin: self.name.to_owned(),
            wrong: wrong.to_owned(),
            right: right.to_owned(),
        })
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

/// Whether it is the tag of a text, `!!str`.
fn is_str(tag: &Tag) -> bool {
    format!("{}{}", tag.handle, tag.suffix) == "tag:yaml.org,2002:str"
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
            "# c\nhttp:\n  a: 007\n  b: yes\n\n  c: 1.10\n  d: \"null\"\n  f: {}\n",
            "c.yaml",
        );
        assert!(document.problems.is_empty(), "{:?}", document.problems);
        let string = |text: &str| ValueKind::String(text.to_owned());
        assert_eq!(text(&document, "http", "a"), (&string("007"), "c.yaml:3"));
        assert_eq!(text(&document, "http", "b"), (&string("yes"), "c.yaml:4"));
        assert_eq!(text(&document, "http", "c"), (&string("1.10"), "c.yaml:6"));
        assert_eq!(text(&document, "http", "d"), (&string("null"), "c.yaml:7"));
        assert_eq!(text(&document, "http", "f"), (&ValueKind::Nil, "c.yaml:8"));
        assert_eq!(document.origins[&SettingPath::dotted("http.c")], "c.yaml:6");
    }

    fn told(text: &str) -> String {
        let problems = read(text, "c.yaml").problems;
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("\n")
    }

    #[test]
    fn a_file_without_a_key_has_no_sections_and_one_without_a_character_is_told() {
        for nothing in [
            "# only a comment\n",
            "---\n",
            "{}",
            "null\n",
            "\u{feff}{}\n",
        ] {
            let document = read(nothing, "c.yaml");
            assert!(
                document.problems.is_empty() && document.sections.is_empty(),
                "{nothing:?}: {document:?}"
            );
        }
        for empty in ["", "\n", " \r\n\t", "\u{feff}"] {
            assert!(
                told(empty).starts_with("c.yaml: the file is empty"),
                "{empty:?}: {}",
                told(empty)
            );
        }
    }

    #[test]
    fn a_key_without_a_value_is_told_apart_from_an_empty_section_and_an_empty_text() {
        for null in [
            "",
            " ~",
            " null",
            " Null",
            " NULL",
            " # a: b",
            " |",
            " >-\n",
            " ~ # none",
        ] {
            let document = read(&format!("http:\n  a:{null}\n  b: 1\n"), "c.yaml");
            assert_eq!(document.nulls, [SettingPath::dotted("http.a")], "{null:?}");
            assert_eq!(document.origins[&document.nulls[0]], "c.yaml:2", "{null:?}");
            assert_eq!(
                text(&document, "http", "b").0,
                &ValueKind::String("1".to_owned())
            );
        }
        for (value, kind) in [
            ("{}", ValueKind::Nil),
            ("''", ValueKind::String(String::new())),
            ("\"~\"", ValueKind::String("~".to_owned())),
            ("!!str null", ValueKind::String("null".to_owned())),
        ] {
            let document = read(&format!("http: {{a: {value}}}\n"), "c.yaml");
            assert!(
                document.nulls.is_empty() && document.problems.is_empty(),
                "{document:?}"
            );
            assert_eq!(text(&document, "http", "a").0, &kind);
        }
        let document = read("http: {a, b: }\n? c\nd:\n", "c.yaml");
        let nulls = ["http.a", "http.b", "c", "d"].map(SettingPath::dotted);
        assert_eq!(document.nulls, nulls);
    }

    #[test]
    fn a_file_that_ends_inside_a_line_is_told() {
        for cut in [
            "a: 1",
            "a: {b: 1} # c",
            "a:\n  - b]",
            "a: 'b'",
            "a:\n  b: c}",
            "# a",
            "a: 1\r",
            "a: [b]\nc:\n  - d",
            "a: 1\n...",
        ] {
            assert!(
                told(cut).contains("the file ends inside a line"),
                "{cut:?}: {}",
                told(cut)
            );
            assert_eq!(told(&format!("{cut}\n")), "", "{cut:?}");
        }
        for whole in [
            "a: {b: 1}",
            "a: [b, c]  ",
            "{a: {b: [é, ü]}}",
            "a:\n  b: {c: 1}",
            "é:\n  - [b]",
            "a: 1\r\n",
            "a: {b: [c: d]}\t",
        ] {
            assert_eq!(told(whole), "", "{whole:?}");
        }
    }

    #[test]
    fn only_the_tag_of_a_text_is_taken_and_only_at_a_text() {
        for text in [
            "a: !!str 1\n",
            "a: !<tag:yaml.org,2002:str> 1\n",
            "a: [!!str 1]\n",
            "!!str a: 1\n",
        ] {
            assert_eq!(told(text), "", "{text:?}");
        }
        for text in [
            "a: !!binary YS10b2tlbg==\n",
            "a: [!!binary YS10b2tlbg==]\n",
            "a: !!int 1\n",
            "a: !!null ''\n",
            "a: ! 1\n",
            "a: !env HOME\n",
            "a: !<tag:example.com,2000:x> 1\n",
            "a: !<!x> 1\n",
            "a: !!seq [1]\n",
            "a: !!str [1]\n",
            "a: ! [1]\n",
            "a: !!map {b: 1}\n",
            "a: !!str {b: 1}\n",
            "!!map {a: 1}\n",
            "!!binary YQ==: 1\n",
            "%TAG !! tag:example.com,2000:\n---\na: !!str 1\n",
            "%TAG !e! tag:yaml.org,2002:bin\n---\na: !e!ary YQ==\n",
        ] {
            assert!(
                told(text).contains(" stands here; drop it"),
                "{text:?}: {}",
                told(text)
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
            ("a: {<<: *x}\n", "c.yaml:1:"),
            ("a: !env HOME\n", "c.yaml:1:9: the tag !env"),
            ("a: 1\n\0b: 2\n", "c.yaml: the file has a NUL"),
            ("a: 1\n# \u{1b}[2J\n", "c.yaml: the file has a NUL"),
            ("? [a]\n: 1\n", "c.yaml:1:3: a key is no plain text"),
            (&format!("a: {deep}"), "c.yaml:1:"),
        ];
        for (text, told) in table {
            let shown = self::told(text);
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
