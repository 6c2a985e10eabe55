use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::minchat::Kind;

/// One webhook that was posted.
pub(super) struct Posted {
    pub(super) kind: Kind,
    pub(super) took: Duration,
    /// What the bridge answered, or why there was no answer.
    pub(super) answer: Result<Answer, String>,
}

/// What a bridge said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The receipt, or the slug of the problem; `-` if the answer has neither.
    pub(super) said: String,
    /// What the problem is, in words.
    pub(super) problem: Option<String>,
    /// Of a dry run: the envelope's attributes and the destinations, in the answer's order.
    attributes: Vec<(String, String)>,
}

/// The members of an answer that matter here, of a receipt and of a problem.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    receipt: Option<String>,
    #[serde(rename = "type")]
    problem_type: Option<String>,
    title: Option<String>,
    detail: Option<String>,
    envelope: Members,
    destinations: Vec<String>,
}

impl Answer {
    /// Reads an answer; what isn't as a bridge answers has a status and no more.
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let slug = body.problem_type.as_deref();
        let slug = slug.and_then(|name| name.rsplit(':').next());
        let said = body.receipt.as_deref().or(slug).unwrap_or("-");
        let words: Vec<String> = [body.title, body.detail].into_iter().flatten().collect();
        let mut attributes = body.envelope.0;
        if !body.destinations.is_empty() {
            attributes.push(("destinations".to_owned(), body.destinations.join(", ")));
        }
        Self {
            status,
            said: printable(said),
            problem: (!words.is_empty()).then(|| printable(&words.join(": "))),
            attributes,
        }
    }
}

impl Posted {
    /// Shows what a dry run told: the kind, then an attribute a line.
    pub(super) fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let Ok(answer) = &self.answer else {
            return Ok(());
        };
        if answer.attributes.is_empty() {
            return Ok(());
        }
        writeln!(out, "{}", self.kind.name())?;
        for (name, value) in &answer.attributes {
            writeln!(out, "  {:<16} {}", printable(name), printable(value))?;
        }
        writeln!(out)
    }
}

/// What a server said, fit for a terminal: without control characters, and not too long.
pub(super) fn printable(text: &str) -> String {
    let kept = text.chars().filter(|character| !character.is_control());
    kept.take(400).collect()
}

/// An object's members as text, in the order in which they came.
#[derive(Default)]
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            let text = serde_json::from_str(value.get()).unwrap_or_else(|_| value.to_string());
            members.push((name, text));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Answer {
        Answer::read(status, body.as_bytes())
    }

    #[test]
    fn a_receipt_is_told() {
        let answer = read(
            202,
            r#"{"id":"1","kind":"message.sent","receipt":"published"}"#,
        );
        assert_eq!((answer.status, answer.said.as_str()), (202, "published"));
        assert_eq!(answer.problem, None);
    }

    #[test]
    fn a_problem_is_told_by_its_slug_and_its_words() {
        let answer = read(
            401,
            r#"{"type":"tag:minchat.io,2026:bridge:problem:unauthorized","title":"No or wrong credentials","detail":"send a token"}"#,
        );
        assert_eq!(answer.said, "unauthorized");
        let problem = "No or wrong credentials: send a token";
        assert_eq!(answer.problem.as_deref(), Some(problem));
    }

    #[test]
    fn an_answer_of_something_else_has_a_status_and_no_more() {
        for body in ["", "<html>", "[1]", r#"{"receipt":7}"#, "{}"] {
            let answer = read(502, body);
            assert_eq!(
                (answer.said.as_str(), answer.problem),
                ("-", None),
                "{body}"
            );
        }
    }

    #[test]
    fn what_a_server_says_cannot_steer_the_terminal() {
        let answer = read(400, "{\"title\":\"\\u001b[2Jgone\\n\"}");
        assert_eq!(answer.problem.as_deref(), Some("[2Jgone"));
    }

    #[test]
    fn a_dry_run_shows_the_attributes_in_their_order() {
        let answer = read(
            200,
            r#"{"id":"1","receipt":"dry-run","envelope":{"specversion":"1.0","id":"1","datasize":7},"destinations":["kafka a","amqp b"]}"#,
        );
        let posted = Posted {
            kind: Kind::MessageSent,
            took: Duration::ZERO,
            answer: Ok(answer),
        };
        let mut shown = Vec::new();
        posted.show(&mut shown).expect("memory takes everything");
        let shown = String::from_utf8(shown).expect("it is text");
        let expected = "message.sent\n  specversion      1.0\n  id               1\n  datasize         7\n  destinations     kafka a, amqp b\n\n";
        assert_eq!(shown, expected);
    }
}
