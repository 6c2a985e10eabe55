use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use super::answer::{Posted, printable};
use crate::cli::target::Target;

/// The answers so far, and how long they took.
#[derive(Default)]
pub(super) struct Summary {
    /// How often each status came with each receipt or problem; no status: no answer.
    answers: BTreeMap<(Option<u16>, String), u64>,
    latencies: Vec<Duration>,
    /// The first few different problems, in words.
    problems: Vec<String>,
    verdict: Verdict,
}

/// What the answers come to, the worst of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// All were a 2xx.
    #[default]
    Good,
    /// There was no answer, or one that may be better later.
    Unavailable,
    /// The same post would be refused again.
    Refused,
}

impl Verdict {
    fn of(status: Option<u16>) -> Self {
        match status {
            Some(200..=299) => Self::Good,
            None | Some(408 | 429 | 500..=599) => Self::Unavailable,
            Some(_) => Self::Refused,
        }
    }
}

const SHOWN_PROBLEMS: usize = 5;

impl Summary {
    pub(super) fn add(&mut self, posted: &Posted) {
        let (status, said, problem) = match &posted.answer {
            Ok(answer) => {
                self.latencies.push(posted.took);
                let problem = answer.problem.as_ref();
                let problem = problem.map(|words| format!("{} {words}", answer.status));
                (Some(answer.status), answer.said.clone(), problem)
            }
            Err(reason) => {
                let problem = format!("no answer: {}", printable(reason));
                (None, "no answer".to_owned(), Some(problem))
            }
        };
        *self.answers.entry((status, said)).or_default() += 1;
        self.verdict = self.verdict.max(Verdict::of(status));
        if let Some(problem) = problem
            && self.problems.len() < SHOWN_PROBLEMS
            && !self.problems.contains(&problem)
        {
            self.problems.push(problem);
        }
    }

    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Writes the tables: what was posted, the answers, the latencies, the problems.
    pub(super) fn write(
        &mut self,
        out: &mut impl Write,
        url: &Target,
        wanted: u64,
        took: Duration,
    ) -> io::Result<()> {
        let posted: u64 = self.answers.values().sum();
        let all = if posted == wanted {
            posted.to_string()
        } else {
            format!("{posted} of {wanted}")
        };
        let rate = posted as f64 / took.as_secs_f64().max(f64::EPSILON);
        let took = Shown(took);
        writeln!(out, "Posted {all} to {url} in {took}, {rate:.1} a second")?;
        if posted == 0 {
            return Ok(());
        }
        self.write_answers(out)?;
        self.write_latencies(out)?;
        self.write_problems(out)
    }

    fn write_answers(&self, out: &mut impl Write) -> io::Result<()> {
        let width = self.answers.keys().map(|(_, said)| said.chars().count());
        let width = width.max().unwrap_or(0).max("receipt".len());
        writeln!(out, "\n  status  {:<width$}  {:>8}", "receipt", "count")?;
        for ((status, said), count) in &self.answers {
            let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            writeln!(out, "  {status:<6}  {said:<width$}  {count:>8}")?;
        }
        Ok(())
    }

    fn write_latencies(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.latencies.sort_unstable();
        let columns = [
            ("min", 0),
            ("p50", 50),
            ("p90", 90),
            ("p99", 99),
            ("max", 100),
        ];
        if self.latencies.is_empty() {
            return Ok(());
        }
        write!(out, "\n  latency ")?;
        for (name, _) in columns {
            write!(out, "{name:>10}")?;
        }
        write!(out, "\n          ")?;
        for (_, percent) in columns {
            let latency = percentile(&self.latencies, percent).unwrap_or_default();
            write!(out, "{:>10}", Shown(latency).to_string())?;
        }
        writeln!(out)
    }

    fn write_problems(&self, out: &mut impl Write) -> io::Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n  problems")?;
        for problem in &self.problems {
            writeln!(out, "  {problem}")?;
        }
        Ok(())
    }
}

/// The smallest value that so many percent of all are not above; the values rise.
fn percentile(rising: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (rising.len() * percent).div_ceil(100).max(1);
    rising.get(rank - 1).copied()
}

/// A duration for people: three digits or so.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_secs_f64() * 1000.0;
        match milliseconds {
            ..10.0 => write!(f, "{milliseconds:.2} ms"),
            ..1000.0 => write!(f, "{milliseconds:.0} ms"),
            _ => write!(f, "{:.2} s", self.0.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Answer;
    use super::*;
    use crate::minchat::Kind;

    fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    fn answered(status: u16, body: &str, took: u64) -> Posted {
        Posted {
            kind: Kind::MessageSent,
            took: Duration::from_millis(took),
            answer: Ok(Answer::read(status, body.as_bytes())),
        }
    }

    fn unanswered() -> Posted {
        Posted {
            kind: Kind::MessageSent,
            took: Duration::from_secs(9),
            answer: Err("connection refused".to_owned()),
        }
    }

    fn summary(posted: &[Posted]) -> Summary {
        let mut summary = Summary::default();
        posted.iter().for_each(|posted| summary.add(posted));
        summary
    }

    fn written(posted: &[Posted], wanted: u64) -> String {
        let mut out = Vec::new();
        let url = "http://127.0.0.1:8080/webhooks/minchat?token=hunter2"
            .parse()
            .expect("it is a URL");
        summary(posted)
            .write(&mut out, &url, wanted, Duration::from_secs(2))
            .expect("memory takes everything");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let hundred = millis(1..=100);
        for (percent, value) in [(0, 1), (50, 50), (90, 90), (99, 99), (100, 100)] {
            let expected = Some(Duration::from_millis(value));
            assert_eq!(percentile(&hundred, percent), expected, "{percent}");
        }
        let three = millis([1, 2, 30]);
        assert_eq!(percentile(&three, 50), Some(Duration::from_millis(2)));
        assert_eq!(percentile(&three, 90), Some(Duration::from_millis(30)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_duration_is_shown_in_the_unit_that_fits() {
        let shown = |micros| Shown(Duration::from_micros(micros)).to_string();
        assert_eq!(shown(450), "0.45 ms");
        assert_eq!(shown(12_345), "12 ms");
        assert_eq!(shown(1_500_000), "1.50 s");
    }

    #[test]
    fn the_summary_is_a_table_of_answers_and_one_of_latencies() {
        let ok = r#"{"receipt":"published"}"#;
        let stopping = r#"{"type":"tag:minchat.io,2026:bridge:problem:stopping","title":"The bridge is stopping","detail":"try later"}"#;
        let posted = [
            answered(202, ok, 2),
            answered(503, stopping, 4),
            answered(202, ok, 3),
            answered(503, stopping, 4),
            unanswered(),
        ];
        let expected = "\
Posted 5 to http://127.0.0.1:8080/webhooks/minchat in 2.00 s, 2.5 a second

  status  receipt       count
  -       no answer         1
  202     published         2
  503     stopping          2

  latency        min       p50       p90       p99       max
             2.00 ms   3.00 ms   4.00 ms   4.00 ms   4.00 ms

  problems
  503 The bridge is stopping: try later
  no answer: connection refused
";
        assert_eq!(written(&posted, 5), expected);
    }

    #[test]
    fn a_run_that_was_cut_short_says_so() {
        let written = written(&[answered(202, "", 1)], 8);
        assert!(written.starts_with("Posted 1 of 8 to "), "{written}");
        assert!(super::tests::written(&[], 8).starts_with("Posted 0 of 8 to "));
    }

    #[test]
    fn of_many_problems_the_first_few_are_shown() {
        let posted: Vec<Posted> = (0..20)
            .map(|n| answered(400, &format!(r#"{{"title":"problem {n}"}}"#), 1))
            .collect();
        assert_eq!(summary(&posted).problems.len(), SHOWN_PROBLEMS);
    }

    #[test]
    fn the_verdict_is_that_of_the_worst_answer() {
        let verdict = |statuses: &[u16]| {
            let posted: Vec<_> = statuses.iter().map(|s| answered(*s, "", 1)).collect();
            summary(&posted).verdict()
        };
        assert_eq!(verdict(&[202, 200, 204]), Verdict::Good);
        for status in [408, 429, 500, 503] {
            assert_eq!(verdict(&[202, status, 202]), Verdict::Unavailable);
        }
        for status in [302, 400, 401, 404] {
            assert_eq!(verdict(&[503, status, 202]), Verdict::Refused);
        }
        assert_eq!(summary(&[unanswered()]).verdict(), Verdict::Unavailable);
    }
}
