//! What a user sees of the configuration: exit codes and messages.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

const OK: i32 = 0;
const USAGE: i32 = 64;
const CONFIGURATION: i32 = 78;

/// The program, without what the environment of the test would add.
fn bridge(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"));
    command.env_clear().args(arguments);
    command
}

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(command: &mut Command) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("it writes UTF-8");
    Ended {
        code: status.code().expect("it exits"),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// A file in a directory that ends with the test.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let path = dir.path().join("config.yaml");
    fs::write(&path, text).expect("it can be written");
    (dir, path)
}

#[test]
fn each_way_to_end_has_its_code() {
    let table: [(&[&str], i32); 17] = [
        (&["check"], OK),
        (&["config"], OK),
        (&["--help"], OK),
        (&["--version"], OK),
        (&["serve", "--help"], OK),
        (&["man"], OK),
        (&["man", "topics"], OK),
        (&["completions", "bash"], OK),
        (&[], USAGE),
        (&["frobnicate"], USAGE),
        (&["check", "--frobnicate"], USAGE),
        (&["check", "--set", "no-equals-sign"], USAGE),
        (&["man", "frobnicate"], USAGE),
        (&["completions", "frobnicate"], USAGE),
        (&["check", "--set", "http.listne=1"], CONFIGURATION),
        (&["serve", "--set", "http.listne=1"], CONFIGURATION),
        (
            &["config", "--config", "/nowhere/config.yaml"],
            CONFIGURATION,
        ),
    ];
    for (arguments, code) in table {
        let ended = run(&mut bridge(arguments));
        assert_eq!(
            ended.code, code,
            "{arguments:?}: {}{}",
            ended.stdout, ended.stderr
        );
        // What was asked for is on stdout, everything else on stderr.
        assert_eq!(
            ended.stdout.is_empty(),
            code != OK,
            "{arguments:?}: {}",
            ended.stdout
        );
        assert_eq!(
            ended.stderr.is_empty(),
            code == OK,
            "{arguments:?}: {}",
            ended.stderr
        );
    }
}

#[test]
fn all_problems_are_told_at_once_and_numbered() {
    let (_dir, path) = file(
        "http:\n  listen: localhost:8080\n  max_body: 1MB\nkafka: {}\nsources: {a: {auth: {none: true}}}\n",
    );
    let name = path.display().to_string();
    let ended = run(bridge(&["check", "--set", "log.level=loud"])
        .arg("--config")
        .arg(&path)
        .env("MINCHAT_BRIDGE__SPOOL__DRI", "/x"));
    assert_eq!(ended.code, CONFIGURATION);
    let expected = format!(
        "minchat-bridge: the configuration has 5 problems\n\
        \x20 1. http.listen ({name}:2): \"localhost:8080\" is not an address with a port; give an IP address, such as 127.0.0.1:8080\n\
        \x20 2. http.max_body ({name}:3): \"1MB\" is not a size: the unit can be read as 1000 or as 1024; \
        give a size from 1KiB to 64MiB in KiB, MiB or GiB (powers of 1024) or plain bytes\n\
        \x20 3. kafka.bootstrap_servers ({name}:4): it is needed, as the section kafka is there; \
        give it: Where to meet the cluster: `host:port`, several with commas.\n\
        \x20 4. log.level (--set log.level): \"loud\" is not known; give error or warn or info or debug or trace\n\
        \x20 5. spool.dri (variable MINCHAT_BRIDGE__SPOOL__DRI): there is no such setting; did you mean spool.dir?\n"
    );
    assert_eq!(ended.stderr, expected);
}

#[test]
fn a_configuration_that_holds_is_summed_up() {
    let (_dir, path) = file(
        "http: {listen: '0.0.0.0:8080', success_status: 200}\n\
         sources: {support: {auth: {tokens: [first-token-of-this-test, second-token-of-this-test]}}}\n\
         kafka: {bootstrap_servers: ['a:9092', 'b:9092']}\n\
         amqp: {uri: 'amqp://me:hunter2@rabbit/prod'}\n\
         routes: {message.sent: {kafka: {topic: chat}, amqp: {}}, unrecognized: {discard: true}}\n\
         spool: {max_size: 0}\n",
    );
    let ended = run(bridge(&["check"]).env("MINCHAT_BRIDGE_CONFIG", &path));
    assert_eq!(ended.code, OK, "{}", ended.stderr);
    let expected = "\
        The configuration holds.\n\
        \x20 webhooks  http://0.0.0.0:8080/webhooks/support (by 2 tokens)\n\
        \x20 admin     http://127.0.0.1:8081/\n\
        \x20 kafka     a:9092,b:9092 (plaintext)\n\
        \x20 amqp      amqp://me:***@rabbit/prod\n\
        \x20 route     message.sent to kafka (chat), amqp (its own name)\n\
        \x20 route     unrecognized to nowhere\n\
        \x20 route     all others to every broker above\n\
        \x20 spool     off\n\
        \x20 stop      within 15 s; terminationGracePeriodSeconds has to be more\n";
    assert_eq!(ended.stdout, expected);
    assert!(
        ended.stderr.starts_with("warning: spool.max_size is 0"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_effective_configuration_is_yaml_with_origins_and_without_secrets() {
    let (dir, path) = file(
        "http:\n  keep_alive: 10s\n\
         sources:\n  minchat:\n    auth:\n      tokens: [hunter2-in-a-list-and-longer]\n\
         kafka:\n  bootstrap_servers: a:9092\n  security_protocol: sasl_ssl\n  sasl: {username: me, password_file: $DIR/password}\n",
    );
    let text = fs::read_to_string(&path)
        .expect("it is there")
        .replace("$DIR", &dir.path().display().to_string());
    fs::write(&path, text).expect("it can be written");
    fs::write(dir.path().join("password"), "hunter2-in-a-file\n").expect("it can be written");
    let ended = run(bridge(&["config", "--set", "log.level=debug"])
        .arg("--config")
        .arg(&path)
        .env(
            "MINCHAT_BRIDGE__AMQP__URI",
            "amqp://me:hunter2-in-a-variable@rabbit",
        )
        .env("MINCHAT_BRIDGE_PORT", "tcp://10.0.0.1:8080"));
    assert_eq!(ended.code, OK, "{}", ended.stderr);
    let lines: Vec<String> = ended
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let name = path.display();
    for line in [
        format!("keep_alive: 10s # {name}:2"),
        format!("tokens: [\"***\"] # {name}:6"),
        "listen: 127.0.0.1:8080 # default".to_owned(),
        "uri: amqp://me:***@rabbit # variable MINCHAT_BRIDGE__AMQP__URI".to_owned(),
        "level: debug # --set log.level".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line} is not in\n{}", ended.stdout);
    }
    assert!(
        !ended.stdout.contains("hunter2") && !ended.stderr.contains("hunter2"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("there is a pipe");
    drop(reader);
    let ended = bridge(&["completions", "bash"])
        .stdout(writer)
        .status()
        .expect("the program starts");
    assert!(ended.success());
}

#[test]
fn each_configuration_in_the_readme_holds() {
    let readme = include_str!("../../README.md");
    let snippets: Vec<&str> = readme
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(snippets.len(), 3, "Kafka, RabbitMQ, and who gets in");
    let authority = crate::authority::Authority::new("authority");
    let own = authority.certify("bridge");
    let files = [
        ("password", "s3cret\n"),
        (
            "tokens",
            "first-token-of-this-test\nsecond-token-of-this-test\n",
        ),
        ("hmac", "the-secret-of-this-test\n"),
        ("whsec", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"),
        ("tls.crt", &own.cert),
        ("tls.key", &own.key),
        ("clients.crt", authority.pem()),
    ];
    for snippet in snippets {
        let (dir, path) = file(snippet);
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("there is room for a file");
        }
        let ended = run(bridge(&["check", "--config"])
            .arg(&path)
            .current_dir(dir.path()));
        assert_eq!(ended.code, OK, "{snippet}{}", ended.stderr);
        let who =
            "by 2 tokens or 1 HMAC secret or 1 Standard Webhooks secret or client certificate";
        assert_eq!(
            ended.stdout.contains(who),
            snippet.contains("mtls"),
            "{}",
            ended.stdout
        );
    }
}
