//! Nothing that a configuration leaves out, or says by nothing, lets anybody in.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::PAYLOAD;
use crate::client::Request;
use crate::process::{Process, await_some, program};
use crate::readme::explained;

const TOKEN: &str = "the-token-that-lets-in-of-this-test";
const STAYS: &str = "the configuration was not reloaded; the old one stays";
const RELOADED: &str = "reloaded the configuration";

/// A source with tokens, and one that takes webhooks from a network in which no test is.
const GUARDED: &str = "\
# Who gets in.
sources:
  minchat:
    auth:
      tokens:
        - the-token-that-lets-in-of-this-test
  far:
    auth:
      tokens_file: tokens
    allow_from:
      - 192.0.2.0/24
      - 198.51.100.0/25
  proxied:
    allow_from: [127.0.0.2, 198.51.100.7]
    trusted_proxies:
      - 127.0.0.1
      - 127.0.0.2
    auth:
      none: true
log:
  level: info
";

fn write(bridge: &Process, name: &str, text: &str) {
    fs::write(bridge.path().join(name), text).expect("it can be written");
}

fn guarded() -> Process {
    let dir = Arc::new(TempDir::new().expect("a directory can be made"));
    fs::write(dir.path().join("tokens"), format!("{TOKEN}\n")).expect("it can be written");
    Process::start_in(dir, GUARDED)
}

/// Has the configuration read again. Whether it was taken.
fn reload(bridge: &Process) -> bool {
    let count = |what: &str| bridge.log().matches(what).count();
    let (taken, stays) = (count(RELOADED), count(STAYS));
    bridge.signal("HUP");
    await_some("an answer to SIGHUP", || {
        let more = (count(RELOADED) > taken, count(STAYS) > stays);
        (more != (false, false)).then_some(more.0)
    })
}

/// Asserts that what the configuration above refuses is refused.
fn assert_closed(bridge: &Process, what: &str) {
    let post = |source: &str| Request::post(&format!("/webhooks/{source}"), PAYLOAD);
    let bearer =
        |request: Request, token: &str| request.with("authorization", &format!("Bearer {token}"));
    for request in [
        post("minchat"),
        bearer(post("minchat"), &TOKEN[..30]),
        post("far"),
        bearer(post("far"), TOKEN),
        post("proxied"),
        post("proxied").with("x-forwarded-for", "203.0.113.9, 127.0.0.2"),
    ] {
        let status = bridge.send(&request).status;
        assert!(
            (400..500).contains(&status),
            "{status} after {what}: {}",
            request.target
        );
    }
}

/// The status of a webhook with the token.
fn status(bridge: &Process) -> u16 {
    let request = Request::post("/webhooks/minchat", PAYLOAD);
    let request = request.with("authorization", &format!("Bearer {TOKEN}"));
    bridge.send(&request).status
}

#[test]
fn a_running_bridge_takes_no_configuration_that_says_who_gets_in_by_nothing() {
    let bridge = guarded();
    assert_closed(&bridge, "the start");
    let until = |end: &str| {
        let (before, _) = GUARDED.split_once(end).expect("it has that");
        format!("{before}{end}")
    };
    let auth = |auth: &str| format!("sources: {{minchat: {{auth: {auth}}}}}\n");
    for (yaml, told) in [
        (String::new(), "the file is empty"),
        ("\n\n".to_owned(), "the file is empty"),
        (until("auth:"), "ends inside a line"),
        (until("auth:\n"), "config.yaml:4): it has no value"),
        (until("minchat:\n"), "config.yaml:3): it has no value"),
        (until("sources:\n"), "config.yaml:2): it has no value"),
        (
            until("# Who gets in.\n"),
            "config.yaml): the file has no source",
        ),
        (until("192.0.2.0/2"), "ends inside a line"),
        (until("allow_from:\n"), "config.yaml:10): it has no value"),
        (
            until("tokens_file: tokens\n"),
            "sources.far.allow_from was given and is left out",
        ),
        (
            GUARDED.replace("      - 127.0.0.2\n", ""),
            "sources.proxied.trusted_proxies was given and is left out",
        ),
        ("log: {level: info}\n".to_owned(), "the file has no source"),
        ("{}\n".to_owned(), "the file has no source"),
        (
            "sources: {}\n".to_owned(),
            "config.yaml:1): the file has no source",
        ),
        (auth("{}"), "has no credentials"),
        (auth("{tokens: []}"), "there is no token in it"),
        (auth("{tokens: ~}"), "config.yaml:1): it has no value"),
        (
            auth("{tokens: null, none: }"),
            "config.yaml:1): it has no value",
        ),
        (
            auth("\n  tokens_file: # TODO\n")
                .replace("{minchat: {", "\n minchat:\n  ")
                .replace("}}", ""),
            "config.yaml:4): it has no value",
        ),
        (
            auth("{tokens: [!!binary YS10b2tlbi10aGF0LWlzLWxvbmctZW5vdWdo]}"),
            "the tag tag:yaml.org,2002:binary",
        ),
        (auth("{tokens: [hunter2]}"), "weaker than 128 bits"),
        (
            auth("{none: true}, allow_from: ['::ffff:127.0.0.0/104']"),
            "never matches",
        ),
        (
            format!("{}\0{}", auth("{none: true}"), auth("{none: true}")),
            "a NUL",
        ),
    ] {
        write(&bridge, "config.yaml", &yaml);
        assert!(!reload(&bridge), "{yaml}");
        bridge.await_log(&["ERROR", explained(STAYS), told]);
        assert_closed(&bridge, &yaml);
        assert_eq!(status(&bridge), 202, "what was let in still is");
        assert_eq!(
            bridge.metric(&["config_last_reload_successful "]),
            0.0,
            "{yaml}"
        );
    }
    assert!(!bridge.log().contains(RELOADED), "{}", bridge.log());
    write(&bridge, "config.yaml", GUARDED);
    assert!(reload(&bridge));
    assert_eq!(bridge.metric(&["config_last_reload_successful "]), 1.0);
    write(&bridge, "config.yaml", &auth("{none: true}"));
    assert!(reload(&bridge), "it is written there");
    assert_eq!(bridge.post(PAYLOAD).status, 202);
}

#[test]
fn a_configuration_that_is_cut_while_the_bridge_runs_lets_in_nothing_that_was_refused() {
    let bridge = guarded();
    let mut taken = 0;
    for (end, character) in GUARDED.char_indices() {
        // Each line, its last character less, and its beginning.
        let after = &GUARDED[end + 1..];
        if character == '\n' || after.starts_with('\n') || character == ':' {
            write(&bridge, "config.yaml", &GUARDED[..=end]);
            taken += usize::from(reload(&bridge));
            assert_closed(&bridge, &GUARDED[..=end]);
        }
    }
    assert!(
        taken > 2,
        "{taken}: without `far` and `proxied`, with one of them, and as a whole"
    );
    assert_eq!(status(&bridge), 202);
    assert_eq!(bridge.metric(&["config_last_reload_successful "]), 1.0);
}

#[test]
fn a_file_of_credentials_that_is_no_such_file_any_more_changes_nothing_and_stops_nothing() {
    let bridge = guarded();
    let tokens = bridge.path().join("tokens");
    let make_fifo = |path: &Path| {
        let made = Command::new("mkfifo").arg(path).status();
        assert!(made.expect("mkfifo can be run").success());
    };
    let changes: [(&dyn Fn(), &str); 6] = [
        (
            &|| fs::write(&tokens, "").expect("it can be written"),
            "is empty",
        ),
        (
            &|| fs::write(&tokens, "\n \n").expect("it can be written"),
            "is empty",
        ),
        (
            &|| fs::write(&tokens, "# none at the moment\n").expect("it can be written"),
            "begins with #",
        ),
        (
            &|| fs::remove_file(&tokens).expect("it is there"),
            "can't be read: No such file",
        ),
        (
            &|| make_fifo(&tokens),
            "can't be read: it is not a regular file",
        ),
        (
            &|| {
                fs::remove_file(&tokens).expect("it is there");
                fs::create_dir(&tokens).expect("it can be made");
            },
            "can't be read: it is not a regular file",
        ),
    ];
    for (change, told) in changes {
        change();
        assert!(!reload(&bridge), "{told}");
        bridge.await_log(&["ERROR", STAYS, "sources.far.auth.tokens_file", told]);
        assert_closed(&bridge, told);
        assert_eq!(status(&bridge), 202);
    }
    fs::remove_dir(&tokens).expect("it is there");
    fs::write(&tokens, "another-token-that-is-long-enough\n").expect("it can be written");
    assert!(reload(&bridge));
}

#[test]
fn a_source_that_is_gone_and_comes_back_is_not_wider_than_it_was() {
    let bridge = guarded();
    let without = "sources: {other: {auth: {none: true}}}\n";
    write(&bridge, "config.yaml", without);
    assert!(reload(&bridge), "a source can be taken out");
    let wider = format!("sources: {{far: {{auth: {{tokens: [{TOKEN}]}}}}}}\n");
    write(&bridge, "config.yaml", &wider);
    assert!(!reload(&bridge));
    bridge.await_log(&["ERROR", "sources.far.allow_from was given and is left out"]);
    write(
        &bridge,
        "config.yaml",
        &wider.replace("}}}", "}, allow_from: [0.0.0.0/0]}}"),
    );
    assert!(reload(&bridge), "it is written there");
    let request = Request::post("/webhooks/far", PAYLOAD);
    let request = request.with("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(bridge.send(&request).status, 202);
}

#[test]
fn every_source_of_a_file_says_how_it_lets_in_and_without_a_file_loopback_is_open() {
    let dir = TempDir::new().expect("a directory can be made");
    let file = dir.path().join("config.yaml").display().to_string();
    for yaml in [
        "",
        "# nothing\n",
        "log: {level: info}\n",
        "sources:\n",
        "sources: {minchat: {}}\n",
        "sources: {minchat: {auth: {}}}\n",
        "sources:\n  minchat:\n    auth:\n      tokens_file: # TODO\n",
        "sources: {a: {auth: {none: true}}, b: {}}\n",
    ] {
        fs::write(&file, yaml).expect("it can be written");
        for command in ["check", "serve"] {
            let (code, text) = program(&[command, "--config"], &[&file]);
            assert_eq!(code, 78, "{yaml}: {text}");
            assert!(!text.contains("lets everybody in"), "{yaml}: {text}");
        }
    }
    for value in ["", " "] {
        let (code, text) = program(&["check", "--set"], &[&format!("log.level={value}")]);
        assert_eq!(code, 78, "{text}");
    }
    for (name, value) in [
        ("MINCHAT_BRIDGE__KAFKA__BOOTSTRAP_SERVERS", ""),
        ("MINCHAT_BRIDGE_CONFIG", ""),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
            .arg("check")
            .env(name, value)
            .output()
            .expect("the program can be run");
        assert_eq!(output.status.code(), Some(78), "{name}");
    }
    let (code, text) = program(&["check"], &[]);
    assert!(
        code == 0 && text.contains("/webhooks/minchat (lets everybody in)"),
        "{text}"
    );
}

#[test]
fn check_says_how_each_source_lets_in_from_where_and_what_can_be_replayed() {
    let dir = TempDir::new().expect("a directory can be made");
    let file = dir.path().join("config.yaml").display().to_string();
    let yaml = "\
sources:
  a: {auth: {tokens: [the-token-that-lets-in-of-this-test]}, allow_from: [192.0.2.0/24, '2001:db8::/32']}
  b: {auth: {none: true}, allow_from: [192.0.2.1]}
  c: {auth: {hmac: {secrets: [the-secret-of-this-test-alone]}}}
  d: {auth: {hmac: {secrets: [the-secret-of-this-test-alone], timestamp_header: x-timestamp}}}
";
    fs::write(&file, yaml).expect("it can be written");
    let (code, text) = program(&["check", "--config"], &[&file]);
    assert_eq!(code, 0, "{text}");
    for line in [
        "/webhooks/a (by 1 token, from 192.0.2.0/24, 2001:db8::/32)",
        "/webhooks/b (lets everybody in from 192.0.2.1/32)",
        "/webhooks/c (by 1 HMAC secret)",
        "/webhooks/d (by 1 HMAC secret)",
        "warning: sources.c.auth.hmac has no timestamp_header: whoever records a signed request can send it again for ever",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("sources.d.auth.hmac has"), "{text}");
}
