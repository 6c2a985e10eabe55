//! What a user sees of the configuration: exit codes and messages.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
#[cfg(feature = "kafka")]
use std::time::{Duration, Instant};

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

/// What `check` says of this file, whose `$DIR` is the directory that it is in, with these files beside it.
fn checked(yaml: &str, files: &[(&str, &str)]) -> Ended {
    let (dir, path) = file(yaml);
    let text = yaml.replace("$DIR", &dir.path().display().to_string());
    fs::write(&path, text).expect("it can be written");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("it can be written");
    }
    run(bridge(&["check", "--config"]).arg(&path))
}

#[test]
#[rustfmt::skip]
fn what_stands_at_the_wrong_place_is_told_with_the_right_one() {
    let source = "a: {auth: {none: true}}";
    for (yaml, told) in [
        (format!("sources: {{{source}, allow_from: [10.0.0.0/8]}}"), "sources.allow_from (FILE:1): allow_from stands beside the sources, and not in one of them; write it as sources.NAME.allow_from, where NAME is that of a source"),
        (format!("sources: {{{source}, rate_limit: {{per_second: 1, burst: 1}}}}"), "write it as sources.NAME.rate_limit,"),
        (format!("sources: {{{source}, auth: {{tokens_file: ./tokens}}}}"), "write it as sources.NAME.auth,"),
        (format!("sources: {{{source}, uri: /x}}"), "write it as sources.NAME.uri,"),
        (format!("sources: {{{source}, tokens: [x]}}"), "write it as sources.NAME.auth.tokens,"),
        (format!("sources: {{{source}, tokens_file: ./tokens}}"), "write it as sources.NAME.auth.tokens_file,"),
        (format!("sources: {{{source}, secrets: [x]}}"), "write it as sources.NAME.auth.hmac.secrets or sources.NAME.auth.standard_webhooks.secrets,"),
        (format!("sources: {{{source}, none: true}}"), "write it as sources.NAME.auth.none,"),
        (format!("sources: {{{source}, b: x}}"), "sources.b (FILE:1): it is not a section; give a section with uri, prefix, rate_limit, auth, allow_from, trusted_proxies"),
        ("sources: [a]".to_owned(), "sources (FILE:1): it is not a section; give a section with each source's name and what holds for it, such as sources: {minchat: {auth: {tokens_file: ./tokens}}}"),
        (format!("sources: {{{source}}}\nroutes: x"), "routes (FILE:2): it is not a section; give a section with any of ai-agent.action, message.sent,"),
        (format!("sources: {{{source}}}\nkafka: {{bootstrap_servers: a, properties: x}}"), "kafka.properties (FILE:2): it is not a section; give a section with names and their values"),
    ] {
        let (_dir, path) = file(&format!("{yaml}\n"));
        let ended = run(bridge(&["check", "--config"]).arg(&path));
        assert_eq!(ended.code, CONFIGURATION, "{yaml}");
        let told = told.replace("FILE", &path.display().to_string());
        assert!(ended.stderr.contains(&told), "{yaml}: {}", ended.stderr);
        assert!(!ended.stderr.contains("with \n") && !ended.stderr.trim_end().ends_with("with"), "{}", ended.stderr);
    }
    let names = "sources: {auth: {auth: {none: true}}, uri: {uri: /x, auth: {none: true}}}";
    assert_eq!(checked(names, &[]).code, OK, "a source may have such a name");
}

#[test]
fn nothing_in_what_is_told_is_hidden() {
    for hidden in [
        '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{a0}', '\u{ad}',
    ] {
        let escape = format!("\\u{{{:x}}}", u32::from(hidden));
        for yaml in [
            format!("http: {{lis{hidden}ten: '127.0.0.1:1'}}"),
            format!("http: {{listen: '127.0.0.1{hidden}:1'}}"),
            format!("http: {{max_body: '1{hidden}0KiB'}}"),
            format!("sources: {{min{hidden}chat: {{auth: {{none: true}}}}}}"),
            format!("sources: {{a: {{auth: {{tokens_file: 'to{hidden}kens'}}}}}}"),
            format!("log: {{level: 'in{hidden}fo'}}"),
            format!("routes: {{'message{hidden}.sent': {{}}}}"),
        ] {
            let ended = checked(&yaml, &[]);
            assert_eq!(ended.code, CONFIGURATION, "{yaml:?}");
            assert!(
                ended.stderr.contains(&escape),
                "{yaml:?}: {:?}",
                ended.stderr
            );
            assert!(!ended.stderr.contains(hidden), "{:?}", ended.stderr);
        }
        let (dir, path) = file(&format!(
            "sources: {{a: {{auth: {{none: true}}}}}}\nfile: {{dir: 'eve{hidden}nts'}}\n"
        ));
        let shown = run(bridge(&["config", "--config"])
            .arg(&path)
            .current_dir(dir.path()));
        assert_eq!(shown.code, OK, "{}", shown.stderr);
        assert!(!shown.stdout.contains(hidden), "{:?}", shown.stdout);
        // It can be read back.
        fs::write(&path, &shown.stdout).expect("there is room");
        let again = run(bridge(&["config", "--config"])
            .arg(&path)
            .current_dir(dir.path()));
        let dirs = |ended: &Ended| {
            let line = ended.stdout.lines().find(|line| line.contains("nts\""));
            line.map(|line| line.split('#').next().map(str::to_owned))
        };
        assert_eq!(dirs(&again), dirs(&shown), "{}", again.stderr);
        assert!(dirs(&shown).is_some(), "{}", shown.stdout);
    }
}

#[test]
fn a_network_with_leading_zeros_is_refused() {
    for key in ["allow_from", "trusted_proxies"] {
        for network in ["010.0.0.0/8", "10.0.0.010", "10.000.0.0/8", "10.0.0.0/08"] {
            let yaml = format!("sources: {{a: {{auth: {{none: true}}, {key}: ['{network}']}}}}");
            let ended = checked(&yaml, &[]);
            assert_eq!(ended.code, CONFIGURATION, "{network}");
            let told = format!("\"{network}\" has a number with a leading zero");
            assert!(ended.stderr.contains(&told), "{}", ended.stderr);
        }
    }
}

#[test]
fn quotes_around_a_secret_in_its_file_are_refused() {
    const SECRET: &str = "4f1c09d2b7a85e63f0d9187c2ab4e536";
    const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (open, close) in [
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
        ("“", "”"),
        (" \"", "\" "),
    ] {
        for (auth, name, secret) in [
            ("tokens_file: $DIR/secrets", "token", SECRET),
            (
                "hmac: {secrets_file: $DIR/secrets, timestamp_header: x-at}",
                "secret",
                SECRET,
            ),
            (
                "standard_webhooks: {secrets_file: $DIR/secrets}",
                "secret",
                WHSEC,
            ),
        ] {
            let yaml = format!("sources: {{a: {{auth: {{{auth}}}}}}}");
            let text = format!("{open}{secret}{close}\n");
            let ended = checked(&yaml, &[("secrets", &text)]);
            assert_eq!(ended.code, CONFIGURATION, "{text}: {}", ended.stdout);
            let told = format!("{name} 1 is in quotes, which would be a part of it");
            assert!(ended.stderr.contains(&told), "{}", ended.stderr);
            assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
            assert_eq!(checked(&yaml, &[("secrets", secret)]).code, OK);
        }
    }
}

#[test]
fn a_certificate_that_is_no_authoritys_is_warned_of_as_client_authority() {
    let authority = crate::authority::Authority::new("authority");
    let own = authority.certify("bridge");
    let both = format!("{}{}", authority.pem(), own.cert);
    let yaml = "http: {tls: {cert_file: $DIR/own.pem, key_file: $DIR/own.key, client_ca_file: $DIR/clients.pem}}\n\
                sources: {a: {auth: {mtls: {}}}}\n";
    for (clients, is_warned_of) in [
        (&own.cert[..], true),
        (&both, true),
        (authority.pem(), false),
    ] {
        let files = [
            ("own.pem", &own.cert[..]),
            ("own.key", &own.key),
            ("clients.pem", clients),
        ];
        let ended = checked(yaml, &files);
        assert_eq!(ended.code, OK, "{}", ended.stderr);
        let told = "warning: http.tls.client_ca_file has a certificate that is no authority's";
        assert_eq!(
            ended.stderr.contains(told),
            is_warned_of,
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn the_help_says_which_settings_only_the_file_can_have() {
    let help = run(&mut bridge(&["--help"])).stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = "but sources, routes, kafka.properties and kafka.create_topics.config, whose keys are names of your own, are set in the file only";
    assert!(help.contains(told), "{help}");
    for setting in [
        "sources.a.auth.none",
        "routes.x",
        "kafka.properties.x",
        "kafka.create_topics.config.x",
    ] {
        let ended = run(&mut bridge(&["check", "--set", &format!("{setting}=true")]));
        assert!(
            ended.stderr.contains("is set in the file only"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn output_that_can_not_be_written_hides_no_exit_code() {
    const UNAVAILABLE: i32 = 69;
    const IO: i32 = 74;
    let free = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let url = format!("http://{address}/");
    let full = || {
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it")
    };
    let code = |words: &[&str], stdout: Stdio, stderr: Stdio| {
        let status = bridge(words)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .status();
        status
            .expect("the program starts")
            .code()
            .expect("it exits")
    };
    for (words, expected) in [
        (&["serve", "--config", "/nope"][..], CONFIGURATION),
        (&["check", "--config", "/nope"], CONFIGURATION),
        (&["config", "--config", "/nope"], CONFIGURATION),
        (&["serve", "--set", "spool.dir=/proc/none"], IO),
        (
            &["topics", "check", "--set", "log.level=loud"],
            CONFIGURATION,
        ),
        (&["spool", "list", "--set", "log.level=loud"], CONFIGURATION),
        (
            &["spool", "discard", "--destination", "file:a"],
            UNAVAILABLE,
        ),
        (&["dead-letters", "list", "--from", "nonsense"], USAGE),
        (
            &["dead-letters", "list", "--from", "file:./nope"],
            UNAVAILABLE,
        ),
        (&["healthcheck", "--url", &url], UNAVAILABLE),
        (&["emit", "--url", &url], UNAVAILABLE),
        (&["emit", "--dry-run", "--url", &url], UNAVAILABLE),
        (&["emit", "--token", "é", "--url", &url], USAGE),
        (&["man", "frobnicate"], USAGE),
        (&["frobnicate"], USAGE),
    ] {
        let piped = || {
            let (reader, writer) = std::io::pipe().expect("a pipe can be made");
            drop(reader);
            Stdio::from(writer)
        };
        for (what, stdout, stderr) in [
            ("a full disk", Stdio::from(full()), Stdio::from(full())),
            ("a reader that is gone", piped(), piped()),
            ("nothing on stderr", Stdio::null(), piped()),
            ("nothing on stdout", piped(), Stdio::null()),
        ] {
            assert_eq!(
                code(words, stdout, stderr),
                expected,
                "{words:?} with {what}"
            );
        }
    }
    assert_eq!(code(&["check"], full().into(), Stdio::null()), IO);
    assert_eq!(code(&["check"], Stdio::null(), full().into()), OK);
}

#[cfg(feature = "kafka")]
#[test]
fn a_kafka_that_does_not_answer_is_asked_once() {
    // Whoever connects is taken by the system, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
    let address = silent.local_addr().expect("it is bound");
    let (_dir, path) = file(&format!(
        "sources: {{a: {{auth: {{none: true}}}}}}\nkafka: {{bootstrap_servers: '{address}'}}\n"
    ));
    let began = Instant::now();
    let ended = run(bridge(&["check", "--connect", "--config"]).arg(&path));
    let took = began.elapsed();
    assert_eq!(ended.code, 69, "{}", ended.stderr);
    assert_eq!(
        ended.stdout.matches("[-] kafka:a.").count(),
        6,
        "{}",
        ended.stdout
    );
    // Each of six destinations took five seconds.
    assert!(took < Duration::from_secs(20), "{took:?}");
}
