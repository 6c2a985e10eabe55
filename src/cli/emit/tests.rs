//! The command against a server that answers as a bridge does.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Parser;

use super::super::tiny_server::TinyServer;
use super::*;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    emit: Args,
}

fn args(words: &[&str]) -> Result<Args, clap::Error> {
    let line = ["emit"].iter().chain(words);
    CommandLine::try_parse_from(line).map(|line| line.emit)
}

fn accepting() -> TinyServer {
    TinyServer::answering(|_| (202, r#"{"receipt":"published"}"#.to_owned()))
}

/// Emits to the server, and returns the verdict and what was written.
fn emit_to(server: &TinyServer, words: &[&str]) -> (Verdict, String) {
    let url = server.url("/webhooks/minchat");
    let words: Vec<&str> = ["--url", &url].iter().chain(words).copied().collect();
    let args = args(&words).expect("the arguments are right");
    let mut out = Vec::new();
    let verdict = emit(&args, &Stop::default(), ProgressBar::hidden(), &mut out);
    let out = String::from_utf8(out).expect("it is text");
    (verdict.expect("it was posted"), out)
}

#[test]
fn without_arguments_one_of_each_kind_is_posted_in_turn() {
    let server = accepting();
    let (verdict, out) = emit_to(&server, &[]);
    assert_eq!(verdict, Verdict::Good);
    assert!(out.contains("202     published         4"), "{out}");
    let requests = server.requests();
    let keys = ["sent_by", "participant_user_ids", "event", "username"];
    assert_eq!(requests.len(), keys.len());
    for (request, key) in requests.iter().zip(keys) {
        assert!(request.body.contains(&format!("\"{key}\"")), "{request:?}");
        assert_eq!(request.path, "/webhooks/minchat");
        assert_eq!(request.content_type.as_deref(), Some("application/json"));
        assert_eq!(request.authorization, None);
    }
}

#[test]
fn a_kind_is_posted_as_often_as_asked() {
    let server = accepting();
    emit_to(&server, &["user.daily-active", "--count", "7"]);
    let requests = server.requests();
    assert_eq!(requests.len(), 7);
    assert!(requests.iter().all(|post| post.body.contains("username")));
}

#[test]
fn one_after_the_other_goes_over_one_connection_and_many_at_once_over_many() {
    let connections = |concurrency: &str| {
        let server = TinyServer::answering(|_| {
            thread::sleep(Duration::from_millis(5));
            (202, String::new())
        });
        emit_to(&server, &["--count", "40", "--concurrency", concurrency]);
        let requests = server.requests();
        assert_eq!(requests.len(), 40);
        let connections: BTreeSet<_> = requests.iter().map(|post| post.connection).collect();
        connections.len()
    };
    assert_eq!(connections("1"), 1);
    assert_eq!(connections("8"), 8);
}

#[test]
fn a_rate_spreads_the_posts() {
    let server = accepting();
    let start = Instant::now();
    emit_to(&server, &["--count", "11", "--rate", "100"]);
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[test]
fn a_token_goes_out_as_a_bearer_from_the_argument_or_its_file() {
    let bearer = |words: &[&str]| {
        let server = accepting();
        emit_to(&server, words);
        server.requests()[0].authorization.clone()
    };
    assert_eq!(bearer(&["--token", "a"]).as_deref(), Some("Bearer a"));
    let file = tempfile::NamedTempFile::new().expect("there is a place for it");
    std::fs::write(file.path(), "b\nc\n").expect("it can be written");
    let path = file.path().to_str().expect("the path is text");
    let from_file = bearer(&["--token-file", path]);
    assert_eq!(from_file.as_deref(), Some("Bearer b"));
}

#[test]
fn a_token_that_cannot_be_sent_is_named_without_being_shown() {
    for token in ["", "with\nbreak"] {
        let args = args(&["--token", token]).expect("the arguments are right");
        let outcome = emit(
            &args,
            &Stop::default(),
            ProgressBar::hidden(),
            &mut Vec::new(),
        );
        let error = outcome.expect_err("it can't be a header");
        assert!(matches!(error, EmitError::Token));
        assert!(!error.to_string().contains("break"));
    }
    let missing = args(&["--token-file", "/nowhere"]).expect("the arguments are right");
    let outcome = emit(
        &missing,
        &Stop::default(),
        ProgressBar::hidden(),
        &mut Vec::new(),
    );
    assert!(matches!(outcome, Err(EmitError::TokenFile { .. })));
}

#[test]
fn a_dry_run_is_asked_for_and_its_attributes_are_shown() {
    let answer = r#"{"receipt":"dry-run","envelope":{"specversion":"1.0"},"destinations":["x"]}"#;
    let server = TinyServer::answering(move |_| (200, answer.to_owned()));
    let (verdict, out) = emit_to(&server, &["--dry-run", "message.sent"]);
    assert_eq!(verdict, Verdict::Good);
    assert_eq!(server.requests()[0].path, "/webhooks/minchat?dry_run=true");
    assert!(
        out.starts_with("message.sent\n  specversion      1.0\n"),
        "{out}"
    );
    assert!(out.contains("200     dry-run         1"), "{out}");
}

#[test]
fn a_refusal_and_a_redirect_are_answers() {
    let server = TinyServer::answering(|n| ([401, 302][n % 2], String::new()));
    let (verdict, out) = emit_to(&server, &["--count", "2"]);
    assert_eq!(verdict, Verdict::Refused);
    assert!(out.contains("401") && out.contains("302"), "{out}");
    assert_eq!(server.requests().len(), 2, "a redirect is not followed");
}

#[test]
fn a_bridge_that_is_not_there_is_unavailable() {
    let args = args(&["--url", "http://127.0.0.1:1/"]).expect("the arguments are right");
    let mut out = Vec::new();
    let verdict = emit(&args, &Stop::default(), ProgressBar::hidden(), &mut out);
    assert_eq!(verdict.expect("it was tried"), Verdict::Unavailable);
    let out = String::from_utf8(out).expect("it is text");
    assert!(out.contains("no answer: io: Connection refused"), "{out}");
    assert!(!out.contains("latency"), "{out}");
}

#[test]
fn a_stop_ends_with_the_summary_of_what_was_posted() {
    let stop = Arc::new(Stop::default());
    let stops = Arc::clone(&stop);
    let server = TinyServer::answering(move |n| {
        if n == 2 {
            stops.stop();
        }
        (202, String::new())
    });
    let url = server.url("/");
    let args = args(&["--url", &url, "--count", "1000000", "--rate", "1000"]);
    let args = args.expect("the arguments are right");
    let mut out = Vec::new();
    let verdict = emit(&args, &stop, ProgressBar::hidden(), &mut out);
    assert_eq!(verdict.expect("it was posted"), Verdict::Good);
    let out = String::from_utf8(out).expect("it is text");
    assert!(out.starts_with("Posted 3 of 1000000 to "), "{out}");
}

#[test]
fn a_stdout_that_is_gone_ends_a_dry_run() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = TinyServer::answering(|_| (200, r#"{"envelope":{"id":"1"}}"#.to_owned()));
    let url = server.url("/");
    let args = args(&["--url", &url, "--dry-run", "--count", "2000"]);
    let args = args.expect("the arguments are right");
    let outcome = emit(&args, &Stop::default(), ProgressBar::hidden(), &mut Gone);
    assert!(matches!(outcome, Err(EmitError::Output { .. })));
    assert!(server.requests().len() < 2000, "nobody sees the answers");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for words in [
        ["--count", "0"],
        ["--rate", "0"],
        ["--rate", "-1"],
        ["--rate", "NaN"],
        ["--rate", "inf"],
        ["--concurrency", "0"],
        ["--url", "bridge"],
        ["message.sent", "unrecognized"],
    ] {
        assert!(args(&words).is_err(), "{words:?}");
    }
}
