//! What is refused, and what is said of it.

use proptest::prelude::*;

use super::Given;
use crate::config::{Inputs, load};

/// A file, and all that is told of it. A line here is how a line of what is told begins.
type Row = (&'static str, &'static [&'static str]);

fn check(table: &[Row]) {
    for (yaml, expected) in table {
        told(&Given::yaml(yaml), expected, yaml);
    }
}

fn told(given: &Given, expected: &[&str], what: &str) {
    let problems = given.problems();
    let fits = problems.len() == expected.len()
        && problems
            .iter()
            .zip(expected)
            .all(|(problem, expected)| problem.starts_with(expected));
    assert!(
        fits,
        "{what}\ntold:\n{}\nexpected:\n{}",
        problems.join("\n"),
        expected.join("\n")
    );
}

#[test]
#[rustfmt::skip]
fn a_key_that_is_not_known_is_told_with_the_nearest_that_is() {
    check(&[
        ("htpp: {}", &["htpp (config.yaml:1): there is no such setting; did you mean http?"]),
        ("http:\n  listne: 1", &["http.listne (config.yaml:2): there is no such setting; did you mean http.listen?"]),
        ("http:\n  max-body: 1KiB", &["http.max-body (config.yaml:2): there is no such setting; did you mean http.max_body?"]),
        ("bootstrap_servers: a", &["bootstrap_servers (config.yaml:1): there is no such setting; did you mean kafka.bootstrap_servers?"]),
        ("http.listen: 127.0.0.1:1", &["http.listen (config.yaml:1): there is no such setting; did you mean"]),
        ("'http[9]': 1", &["http[9] (config.yaml:1): there is no such setting; did you mean http?"]),
        ("log: {zzz: 1}", &["log.zzz (config.yaml:1): there is no such setting; log has format, level"]),
        ("zzz: 1", &["zzz (config.yaml:1): there is no such setting; the sections are http, admin, envelope, sources"]),
        ("sources: {minchat: {auth: {token: [a]}}}", &["sources.minchat.auth.token (config.yaml:1): there is no such setting; did you mean sources.minchat.auth.tokens?"]),
        ("routes: {message.sent: {kafak: {}}}", &["routes.message.sent.kafak (config.yaml:1): there is no such setting; did you mean routes.message.sent.kafka?"]),
        ("http: {listen_file: x}", &["http.listen_file (config.yaml:1): there is no such setting; did you mean http.listen?"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_value_of_another_kind_is_told() {
    check(&[
        ("http: 5", &["http (config.yaml:1): it is not a section; give a section with listen, workers"]),
        ("http: [1]", &["http (config.yaml:1): it is not a section"]),
        ("http: {listen: {a: 1}}", &["http.listen (config.yaml:1): it is a section; give one value"]),
        ("http: {listen: [a]}", &["http.listen (config.yaml:1): it is a list; give one value"]),
        ("http: {listen: 8080}", &["http.listen (config.yaml:1): \"8080\" is not an address with a port; give an IP address and a port"]),
        ("http: {listen: ':8080'}", &["http.listen (config.yaml:1): \":8080\" is not an address with a port; give an IP address too, such as 0.0.0.0:8080"]),
        ("http: {listen: 'localhost:8080'}", &["http.listen (config.yaml:1): \"localhost:8080\" is not an address with a port; give an IP address, such as 127.0.0.1:8080"]),
        ("http: {workers: 0}", &["http.workers (config.yaml:1): 0 is out of range; give a whole number from 1 to 1024"]),
        ("http: {workers: 99999999999999999999}", &["http.workers (config.yaml:1): \"99999999999999999999\" is out of range"]),
        ("http: {workers: 1.5}", &["http.workers (config.yaml:1): \"1.5\" is not a whole number"]),
        ("http: {success_status: 201}", &["http.success_status (config.yaml:1): \"201\" is not one of the statuses; give one of 202, 200, 204"]),
        ("amqp: {uri: 'amqp://a', declare: yes}", &["amqp.declare (config.yaml:1): \"yes\" is neither true nor false; give true or false"]),
        ("log: {level: INFO}", &["log.level (config.yaml:1): \"INFO\" is not known; give error or warn or info or debug or trace (did you mean info?)"]),
        ("log: {format: jsno}", &["log.format (config.yaml:1): \"jsno\" is not known; give auto or text or json (did you mean json?)"]),
        ("spool: {dir: ''}", &["spool.dir (config.yaml:1): it is empty; name a directory"]),
        ("spool: {keep_free: 5}", &["spool.keep_free (config.yaml:1): \"5\" is not a share; give a whole share, such as 5%"]),
        ("envelope: {schema_base: schemas}", &["envelope.schema_base (config.yaml:1): \"schemas\" will not do; give a URI"]),
        ("kafka: {bootstrap_servers: []}", &["kafka.bootstrap_servers (config.yaml:1): it is empty; give at least one"]),
        ("kafka: {bootstrap_servers: ''}", &["kafka.bootstrap_servers (config.yaml:1): it is empty"]),
        ("kafka: {bootstrap_servers: [[a]]}", &["kafka.bootstrap_servers (config.yaml:1): something in the list is not a text"]),
        ("kafka: {bootstrap_servers: 'a,,b'}", &["kafka.bootstrap_servers (config.yaml:1): \"\" will not do; give host:port"]),
        ("kafka: {bootstrap_servers: a, properties: {client.rack: [a]}}", &["kafka.properties.client.rack (config.yaml:1): it is a list"]),
        ("kafka: {bootstrap_servers: a, create_topics: 6}", &["kafka.create_topics (config.yaml:1): \"6\" is neither true nor false"]),
        ("kafka: {bootstrap_servers: a, create_topics: {partitions: 0}}", &["kafka.create_topics.partitions (config.yaml:1): 0 is out of range"]),
        ("kafka: {bootstrap_servers: a, tls: {ca_file: /nowhere}, security_protocol: ssl}", &["kafka.tls.ca_file (config.yaml:1): \"/nowhere\" can't be read: No such file"]),
        ("kafka: {bootstrap_servers: a, tls: {ca_file: $DIR}, security_protocol: ssl}", &["kafka.tls.ca_file (config.yaml:1): "]),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_unit_that_is_wrong_is_told() {
    check(&[
        ("http: {keep_alive: 75}", &["http.keep_alive (config.yaml:1): \"75\" is not a duration: the unit is missing; give a duration from 0 to 1h in ms, s, m or h, such as 250ms"]),
        ("http: {keep_alive: 1d}", &["http.keep_alive (config.yaml:1): \"1d\" is not a duration: the unit is not known"]),
        ("http: {keep_alive: 2h}", &["http.keep_alive (config.yaml:1): 2h is out of range; give a duration from 0 to 1h"]),
        ("http: {body_timeout: -1s}", &["http.body_timeout (config.yaml:1): \"-1s\" is not a duration: it does not start with a number"]),
        ("http: {max_body: 1MB}", &["http.max_body (config.yaml:1): \"1MB\" is not a size: the unit can be read as 1000 or as 1024; give a size from 1KiB to 64MiB"]),
        ("http: {max_body: 1GiB}", &["http.max_body (config.yaml:1): 1GiB is out of range"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn names_that_will_not_do_are_told() {
    check(&[
        ("sources: {Mine: {}}", &["sources.Mine (config.yaml:1): the name will not do; a source's name has 1 to 63 of a-z, 0-9 and '-'"]),
        ("sources: {minchat: {prefix: a/b}}", &["sources.minchat.prefix (config.yaml:1): \"a/b\" will not do"]),
        ("sources: {minchat: {uri: a b}}", &["sources.minchat.uri (config.yaml:1): \"a b\" will not do"]),
        ("routes: {message.snt: {}}", &["routes.message.snt (config.yaml:1): the name will not do; did you mean message.sent? the kinds are ai-agent.action"]),
        ("routes: {dead-letter: {file: {name: ../x}}}", &["routes.dead-letter.file.name (config.yaml:1): \"../x\" will not do"]),
        ("kafka: {bootstrap_servers: a}\nroutes: {message.sent: {kafka: {topic: ..}}}", &["routes.message.sent.kafka.topic (config.yaml:2): \"..\" will not do"]),
        ("amqp: {uri: 'amqp://a'}\nroutes: {message.sent: {amqp: {exchange: amq.topic}}}", &["routes.message.sent.amqp.exchange (config.yaml:2): \"amq.topic\" will not do"]),
    ]);
}

/// What a file leaves out never lets anybody in, and what it says by nothing is no default.
#[test]
#[rustfmt::skip]
fn a_key_without_a_value_is_told_with_its_line() {
    for null in ["", "~", "null", "NULL", "# TODO", "|"] {
        for (path, yaml) in [
            ("sources", "sources: {}"),
            ("sources.a", "sources:\n  a: {}"),
            ("sources.a.auth", "sources:\n  a:\n    auth: {}"),
            ("sources.a.auth.tokens", "sources:\n  a:\n    auth:\n      tokens: {}"),
            ("sources.a.auth.tokens_file", "sources:\n  a:\n    auth:\n      tokens_file: {}"),
            ("sources.a.auth.none", "sources:\n  a:\n    auth:\n      none: {}"),
            ("sources.a.auth.hmac", "sources:\n  a:\n    auth:\n      hmac: {}"),
            ("sources.a.auth.standard_webhooks", "sources:\n  a:\n    auth:\n      standard_webhooks: {}"),
            ("sources.a.auth.mtls", "sources:\n  a:\n    auth:\n      mtls: {}"),
            ("sources.a.auth.mtls.names", "sources:\n  a:\n    auth:\n      mtls:\n        names: {}"),
            ("sources.a.allow_from", "sources:\n  a:\n    auth: {none: true}\n    allow_from: {}"),
            ("sources.a.trusted_proxies", "sources:\n  a:\n    auth: {none: true}\n    trusted_proxies: {}"),
            ("sources.a.prefix", "sources:\n  a:\n    auth: {none: true}\n    prefix: {}"),
            ("http", "sources: {a: {auth: {none: true}}}\nhttp: {}"),
            ("http.listen", "sources: {a: {auth: {none: true}}}\nhttp:\n  listen: {}"),
            ("http.tls", "sources: {a: {auth: {none: true}}}\nhttp:\n  tls: {}"),
            ("kafka", "sources: {a: {auth: {none: true}}}\nkafka: {}"),
            ("kafka.properties.debug", "sources: {a: {auth: {none: true}}}\nkafka:\n  bootstrap_servers: a\n  properties:\n    debug: {}"),
            ("kafka.create_topics", "sources: {a: {auth: {none: true}}}\nkafka:\n  bootstrap_servers: a\n  create_topics: {}"),
            ("amqp", "sources: {a: {auth: {none: true}}}\namqp: {}"),
            ("file", "sources: {a: {auth: {none: true}}}\nfile: {}"),
            ("routes", "sources: {a: {auth: {none: true}}}\nroutes: {}"),
            ("routes.message.sent", "sources: {a: {auth: {none: true}}}\nroutes:\n  message.sent: {}"),
            ("routes.message.sent.file", "sources: {a: {auth: {none: true}}}\nroutes:\n  message.sent:\n    file: {}"),
            ("spool.max_size", "sources: {a: {auth: {none: true}}}\nspool:\n  max_size: {}"),
        ] {
            let line = yaml.lines().count();
            let expected = format!("{path} (config.yaml:{line}): it has no value; ");
            told(&Given::text(&format!("{}\n", yaml.replace("{}", null))), &[&expected], &format!("{yaml} with {null:?}"));
        }
    }
    check(&[
        ("sources: {a: {auth: {none: true}}}\nfile:", &["file (config.yaml:2): it has no value; write file: {} for its defaults, or drop the key"]),
        ("sources: {a: {auth: {none: true}}}\nlog: {level}", &["log.level (config.yaml:2): it has no value; give it one, or drop the key"]),
        ("sources: {a: {auth: {none: true}}}\nlgo:", &["lgo (config.yaml:2): there is no such setting; did you mean log?"]),
        ("sources: {a: {auth: {tokens: [~]}}}", &["sources.a.auth.tokens (config.yaml:1): something in the list is not a text"]),
        ("sources: {a: {auth: {none: true}, allow_from: [10.0.0.0/8, ]}}", &[]),
        ("sources: {a: {auth: {none: true}, allow_from: [10.0.0.0/8, ~]}}", &["sources.a.allow_from (config.yaml:1): something in the list is not a text"]),
    ]);
    // Another layer does not make up for it.
    told(
        &Given::yaml("log:\n  level:\n").flag("log.level", "debug"),
        &["log.level (config.yaml:2): it has no value"],
        "overridden",
    );
}

#[test]
#[rustfmt::skip]
fn an_empty_section_is_no_value_and_lets_nobody_in() {
    check(&[
        ("sources: {}", &["sources (config.yaml:1): the file has no source; name each and how it lets in, such as sources: {minchat: {auth: {tokens_file: ./tokens}}}"]),
        ("sources: {minchat: {}}", &["sources.minchat (config.yaml:1): the source minchat has no credentials, so that nobody gets in; name a file with one token a line in sources.minchat.auth.tokens_file, or say sources.minchat.auth.none: true to let everybody in"]),
        ("sources: {minchat: {auth: {}}}", &["sources.minchat.auth (config.yaml:1): the source minchat has no credentials"]),
        ("sources:\n  minchat: {auth: {none: true}}\n  other: {}", &["sources.other (config.yaml:3): the source other has no credentials"]),
        ("sources: {minchat: {auth: {none: {}}}}", &["sources.minchat.auth.none (config.yaml:1): it is a section; give one value"]),
        ("sources: {minchat: {auth: {tokens: {}}}}", &["sources.minchat.auth.tokens (config.yaml:1): it is not a list"]),
        ("sources: {minchat: {auth: {tokens_file: {}}}}", &["sources.minchat.auth.tokens_file (config.yaml:1): it is not a text"]),
        ("sources: {minchat: {auth: {mtls: {names: []}}}}", &["sources.minchat.auth.mtls.names (config.yaml:1): it is empty"]),
        ("sources: {minchat: {auth: {mtls: {names: {}}}}}", &["sources.minchat.auth.mtls.names (config.yaml:1): it is a section; give a list"]),
        ("sources: {minchat: {auth: {mtls: {names: ['']}}}}", &["sources.minchat.auth.mtls.names (config.yaml:1): it is empty"]),
        ("sources: {minchat: {auth: {none: true}, allow_from: {}}}", &["sources.minchat.allow_from (config.yaml:1): it is a section; give a list"]),
        ("sources: {minchat: {auth: {none: true}, allow_from: ''}}", &["sources.minchat.allow_from (config.yaml:1): it is empty"]),
        ("sources: {minchat: {auth: {none: true}, allow_from: ['']}}", &["sources.minchat.allow_from (config.yaml:1): it is empty"]),
        ("sources: {minchat: {auth: []}}", &["sources.minchat.auth (config.yaml:1): it is not a section"]),
        ("http: {listen: {}}", &["http.listen (config.yaml:1): it is a section; give one value"]),
        ("http: {}\nlog: {}\nroutes: {}\nspool: {}", &[]),
    ]);
    for nothing in ["{}\n", "# a comment\n", "~\n", "---\n...\n"] {
        told(&Given::text(nothing), &["sources (config.yaml): the file has no source"], nothing);
    }
    for empty in ["", "\n", "  \n"] {
        told(&Given::text(empty), &["config.yaml: the file is empty; write a configuration into it, or name no file"], empty);
    }
}

#[test]
fn a_file_that_is_named_by_nothing_is_told() {
    let inputs = Inputs {
        file: Some("".into()),
        ..Inputs::default()
    };
    let problems = load(&inputs).expect_err("it has no name").to_string();
    assert!(
        problems.ends_with(
            "--config or MINCHAT_BRIDGE_CONFIG: the file's name is empty; name a file, or drop this"
        ),
        "{problems}"
    );
}

#[test]
fn without_a_file_only_loopback_is_open() {
    let listen = |address: &str| Inputs {
        set: vec![("http.listen".to_owned(), address.to_owned())],
        ..Inputs::default()
    };
    for loopback in ["127.0.0.1:80", "[::1]:80"] {
        assert!(load(&listen(loopback)).is_ok(), "{loopback}");
    }
    let problems = load(&listen("0.0.0.0:80")).expect_err("strangers could come");
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "http.listen (--set http.listen): 0.0.0.0:80 is not a loopback address, and there is no configuration file \
          that says who gets in; write one, in which every source has credentials or says auth.none: true"
        ]
    );
}

#[test]
#[rustfmt::skip]
fn who_gets_in_has_to_be_said() {
    check(&[
        ("http: {listen: '0.0.0.0:80'}\nsources: {minchat: {auth: {none: true}}}", &[]),
        ("http: {listen: '0.0.0.0:80'}\nsources: {minchat: {auth: {tokens: [a-token-that-is-long-enough]}}}", &[]),
        ("http: {listen: '0.0.0.0:80'}\nsources: {minchat: {auth: {hmac: {secrets: [a-token-that-is-long-enough]}}}}", &[]),
        ("http: {listen: '0.0.0.0:80'}\nsources: {minchat: {auth: {standard_webhooks: {secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}}}}", &[]),
        ("sources: {minchat: {auth: {none: true, hmac: {secrets: [a-secret-that-is-long-enough]}}}}", &["sources.minchat.auth.none (config.yaml:1): it lets everybody in, so that the credentials mean nothing; drop"]),
        ("sources: {minchat: {auth: {hmac: {secrets: [a-secret-that-is-long-enough], header: X-Sig}}}}", &["sources.minchat.auth.hmac.header (config.yaml:1): \"X-Sig\" will not do; give the name of a header in lower case"]),
        ("sources: {minchat: {auth: {hmac: {secrets: [a-secret-that-is-long-enough], prefix: 'a b'}}}}", &["sources.minchat.auth.hmac.prefix (config.yaml:1): \"a b\" will not do"]),
        ("sources: {minchat: {auth: {none: true}, allow_from: [10.0.0.0/8, '2001:db8::/32', 192.0.2.1], trusted_proxies: '10.0.0.0/8,::1'}}", &[]),
        ("sources: {minchat: {allow_from: ['::ffff:10.0.0.0/104']}}", &["sources.minchat.allow_from (config.yaml:1): \"::ffff:10.0.0.0/104\" never matches, as an IPv4 address is compared in its own form; give 10.0.0.0/8"]),
        ("sources: {minchat: {trusted_proxies: [10.0.0.1/8]}}", &["sources.minchat.trusted_proxies (config.yaml:1): \"10.0.0.1/8\" is an address with the length of a network that is larger; give the network, 10.0.0.0/8, or the address alone, 10.0.0.1"]),
        ("sources: {minchat: {allow_from: [10.0.0.0/33]}}", &["sources.minchat.allow_from (config.yaml:1): \"10.0.0.0/33\" will not do; give a network such as 10.0.0.0/8"]),
        ("sources: {minchat: {allow_from: []}}", &["sources.minchat.allow_from (config.yaml:1): it is empty"]),
        ("sources: {minchat: {trusted_proxies: [proxy.example]}}", &["sources.minchat.trusted_proxies (config.yaml:1): \"proxy.example\" will not do"]),
        ("sources: {minchat: {auth: {none: false}}}", &["sources.minchat.auth.none (config.yaml:1): the source minchat has no credentials, so that nobody gets in; name a file"]),
        ("sources: {minchat: {auth: {none: true, tokens: [a-token-that-is-long-enough]}}}", &["sources.minchat.auth.none (config.yaml:1): it lets everybody in, so that the credentials mean nothing; drop"]),
        ("http: {listen: '127.0.0.1:80'}\nadmin: {listen: '0.0.0.0:80'}", &["admin.listen (config.yaml:2): http.listen (127.0.0.1:80) and admin.listen (0.0.0.0:80) are one address"]),
        ("http: {listen: '127.0.0.1:0'}\nadmin: {listen: '127.0.0.1:0'}", &[]),
        ("admin: {listen: '0.0.0.0:8081'}", &[]),
        ("sources: {a: {rate_limit: {burst: 5}}}", &["sources.a.rate_limit.per_second (config.yaml:1): it is needed, as the section sources.a.rate_limit is there"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn secrets_that_will_not_do_are_told_and_not_quoted() {
    check(&[
        ("sources: {minchat: {auth: {tokens: []}}}", &["sources.minchat.auth.tokens (config.yaml:1): there is no token in it"]),
        ("sources: {minchat: {auth: {tokens: ['']}}}", &["sources.minchat.auth.tokens (config.yaml:1): token 1 is empty"]),
        ("sources: {minchat: {auth: {tokens: [hunter2-hunter2-and-a-longer-tail, b-token-that-is-long-enough, hunter2-hunter2-and-a-longer-tail]}}}", &["sources.minchat.auth.tokens (config.yaml:1): token 3 is there twice; give each once"]),
        ("sources: {minchat: {auth: {tokens: [a-token-that-is-long-enough, hunter 2]}}}", &["sources.minchat.auth.tokens (config.yaml:1): token 2 has a space, or something that is not ASCII; use"]),
        ("sources: {minchat: {auth: {tokens: hunter2}}}", &["sources.minchat.auth.tokens (config.yaml:1): it is not a list; give a list of tokens"]),
        ("sources: {minchat: {auth: {tokens: {hunter2: 1}}}}", &["sources.minchat.auth.tokens (config.yaml:1): it is not a list"]),
        ("sources: {minchat: {auth: {tokens: [[hunter2]]}}}", &["sources.minchat.auth.tokens (config.yaml:1): something in the list is not a text"]),
        ("sources: {minchat: {auth: {tokens: [a-token-that-is-long-enough], tokens_file: $DIR/secret}}}", &["sources.minchat.auth.tokens_file (config.yaml:1): sources.minchat.auth.tokens is given too; give one of them"]),
        ("sources: {minchat: {auth: {tokens_file: $DIR/none}}}", &["sources.minchat.auth.tokens_file (config.yaml:1): \"none\" can't be read: No such file"]),
        ("sources: {minchat: {auth: {tokens_file: [a]}}}", &["sources.minchat.auth.tokens_file (config.yaml:1): it is not a text; name a file"]),
        ("sources: {minchat: {auth: {hmac: {}}}}", &["sources.minchat.auth.hmac.secrets (config.yaml:1): it is needed, as the section sources.minchat.auth.hmac is there; give it, or sources.minchat.auth.hmac.secrets_file"]),
        ("sources: {minchat: {auth: {hmac: {secrets: [hunter2-hunter2-and-a-longer-tail, hunter2-hunter2-and-a-longer-tail]}}}}", &["sources.minchat.auth.hmac.secrets (config.yaml:1): secret 2 is there twice; give each once"]),
        ("sources: {minchat: {auth: {hmac: {secrets: [hunter2-hunter2-and-a-longer-tail], secrets_file: $DIR/secret}}}}", &["sources.minchat.auth.hmac.secrets_file (config.yaml:1): sources.minchat.auth.hmac.secrets is given too"]),
        ("sources: {minchat: {auth: {standard_webhooks: {secrets: [hunter2]}}}}", &["sources.minchat.auth.standard_webhooks.secrets (config.yaml:1): secret 1 is not of the form whsec_...; give whsec_ and 24 to 64 bytes in base64"]),
        ("sources: {minchat: {auth: {standard_webhooks: {secrets: [whsec_aHVudGVyMg==]}}}}", &["sources.minchat.auth.standard_webhooks.secrets (config.yaml:1): secret 1 is not of the form whsec_..."]),
        ("sources: {minchat: {auth: {standard_webhooks: {}}}}", &["sources.minchat.auth.standard_webhooks.secrets (config.yaml:1): it is needed"]),
        ("amqp: {uri: 'amqp://u@a', password: ''}", &["amqp.password (config.yaml:1): it is empty"]),
        ("amqp: {uri: 'amqp://u@a', password: '  '}", &["amqp.password (config.yaml:1): it is empty"]),
        ("amqp: {uri: 'amqp://u@a', password: \"hunter2\\0\"}", &["amqp.password (config.yaml:1): it has a NUL byte"]),
        ("sources: {minchat: {auth: {tokens: [hunter2]}}}", &["sources.minchat.auth.tokens (config.yaml:1): token 1 is weaker than 128 bits and can be guessed; give the output of: openssl rand -hex 32; at least 22 characters, 32 if all are hexadecimal digits, 39 if all are decimal, and at least 8 different ones"]),
        ("sources: {minchat: {auth: {tokens: [a-token-that-is-long-enough, 0123456789abcdef]}}}", &["sources.minchat.auth.tokens (config.yaml:1): token 2 is weaker than 128 bits"]),
        ("sources: {minchat: {auth: {hmac: {secrets: [hunter2]}}}}", &["sources.minchat.auth.hmac.secrets (config.yaml:1): secret 1 is weaker than 128 bits"]),
        ("amqp: {uri: 'amqp://u@a', password: a, password_file: $DIR/config.yaml}", &["amqp.password_file (config.yaml:1): amqp.password is given too"]),
        ("kafka: {bootstrap_servers: a, security_protocol: sasl_ssl, sasl: {username: u}}", &["kafka.sasl (config.yaml:1): SCRAM-SHA-512 needs it; give kafka.sasl.password_file"]),
        ("amqp: {uri: 'amqp://u:hunter2@a?x'}", &["amqp.uri (config.yaml:1): it has parameters, which are settings of their own; give amqp[s]://"]),
    ]);
}

/// [`check`] for rows whose files are there, and that no secret is quoted.
#[test]
fn files_that_hold_secrets_are_told_and_not_quoted() {
    let table: [(&str, &[u8], &str); 9] = [
        (
            "sources: {minchat: {auth: {tokens_file: $DIR/file}}}",
            b"",
            "\"file\" is empty",
        ),
        (
            "sources: {minchat: {auth: {tokens_file: $DIR/file}}}",
            b"# hunter2 comes here some day\n\n",
            "\"file\": a token begins with #, as a comment would",
        ),
        (
            "sources: {minchat: {auth: {hmac: {secrets_file: $DIR/file}}}}",
            b"hunter2-hunter2-and-a-longer-tail\n# the old one: hunter2\n",
            "\"file\": a secret begins with #",
        ),
        (
            "sources: {minchat: {auth: {tokens_file: $DIR/file}}}",
            b"hunter2\n",
            "\"file\": token 1 is weaker than 128 bits",
        ),
        (
            "sources: {minchat: {auth: {tokens_file: $DIR/file}}}",
            b"hunter2-hunter2-and-a-longer-tail\n  \n",
            "\"file\": token 2 has a space",
        ),
        (
            "sources: {minchat: {auth: {tokens_file: $DIR/file}}}",
            b"\n \n",
            "\"file\" is empty",
        ),
        (
            "sources: {minchat: {auth: {tokens_file: $DIR/file}}}",
            b"hunter2-hunter2-and-a-longer-tail\nhunter2-hunter2-and-a-longer-tail\n",
            "\"file\": token 2 is there twice",
        ),
        (
            "sources: {minchat: {auth: {tokens_file: $DIR/file}}}",
            b"hunter2 \n",
            "\"file\": token 1 has a space",
        ),
        (
            "amqp: {uri: 'amqp://u@a', password_file: $DIR/file}",
            b"hunter2\xff",
            "\"file\" is not UTF-8",
        ),
    ];
    for (yaml, content, expected) in table {
        let given = Given::yaml(yaml);
        std::fs::write(format!("{}/file", given.dir()), content).expect("it can be written");
        let problems = given.problems();
        assert!(
            problems.len() == 1 && problems[0].contains(expected),
            "{problems:?}"
        );
        assert!(!problems[0].contains("hunter2"));
    }
}

#[test]
#[rustfmt::skip]
fn a_chain_of_timeouts_that_does_not_hold_is_told_by_its_link() {
    check(&[
        ("publish: {spool_after: 5s}", &["publish.spool_after (config.yaml:1): publish.spool_after (5s) and a sync (100ms) are not less than publish.deadline (5s), so that events would be refused before they are spooled; set publish.deadline above 5.1s"]),
        ("publish: {deadline: 300ms}", &["publish.deadline (config.yaml:1): publish.spool_after (250ms) and a sync"]),
        ("publish: {deadline: 300ms}\nspool: {max_size: 0}", &[]),
        ("publish: {deadline: 7s}", &["publish.deadline (config.yaml:1): http.body_timeout (5s) and publish.deadline (7s) are not less than http.shutdown_timeout (12s), so that a stop would cut requests off; set http.shutdown_timeout above 12s"]),
        ("http: {body_timeout: 20s}", &["http.body_timeout (config.yaml:1): http.body_timeout (20s) and publish.deadline (5s)"]),
        ("http: {shutdown_timeout: 10s}", &["http.shutdown_timeout (config.yaml:1): http.body_timeout (5s) and publish.deadline (5s)"]),
        ("http: {shutdown_timeout: 10s, body_timeout: 4}", &["http.body_timeout (config.yaml:1): \"4\" is not a duration"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn sizes_that_do_not_fit_one_another_are_told() {
    check(&[
        ("http: {max_in_flight_bytes: 256KiB}", &["http.max_in_flight_bytes (config.yaml:1): http.max_body (524288 bytes) is more than http.max_in_flight_bytes (262144 bytes)"]),
        ("http: {max_body: 40MiB}\npublish: {window: 256MiB}\nspool: {max_size: 64MiB}", &["spool.max_size (config.yaml:3): spool.max_size (67108864 bytes) is less than 4 times http.max_body (41943040 bytes); set spool.max_size to 163840KiB or more"]),
        ("publish: {window: 1MiB}", &["publish.window (config.yaml:1): publish.window (1048576 bytes) is less than 4 times http.max_body (524288 bytes); set publish.window to 2048KiB or more"]),
        ("http: {max_body: 16MiB}", &["http.max_body (config.yaml:1): publish.window (33554432 bytes) is less than 4 times http.max_body"]),
        ("spool: {max_size: 10MiB}", &["spool.max_size (config.yaml:1): 10485760 bytes are too few for segments of 16 MiB, of which one destination may fill half; give at least 64MiB, or 0"]),
        ("spool: {max_size: 64MiB}", &[]),
        ("spool: {dir: /x}\nfile: {dir: /x}", &["file.dir (config.yaml:2): file.dir and spool.dir are one directory"]),
        ("spool: {dir: ./x/y/../z/}\nfile: {dir: x/z}", &["file.dir (config.yaml:2): file.dir and spool.dir are one directory"]),
        ("spool: {dir: ./data}", &["spool.dir (config.yaml:1): file.dir is inside spool.dir"]),
        ("file: {dir: ./data}", &["file.dir (config.yaml:1): spool.dir is inside file.dir"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn kafka_has_to_fit_together() {
    check(&[
        ("kafka:", &["kafka (config.yaml:1): it has no value"]),
        ("kafka: {}", &["kafka.bootstrap_servers (config.yaml:1): it is needed, as the section kafka is there; give it: Where to meet the cluster"]),
        ("kafka: {bootstrap_servers: a, security_protocol: sasl_ssl}", &["kafka.security_protocol (config.yaml:1): sasl_ssl needs a login, and there is no section kafka.sasl; give kafka.sasl.username"]),
        ("kafka: {bootstrap_servers: a, sasl: {username: u, password: p}}", &["kafka.sasl (config.yaml:1): plaintext does not log in, and there is a section kafka.sasl"]),
        ("kafka: {bootstrap_servers: a, tls: {ca_file: $DIR/ca.pem}}", &["kafka.tls (config.yaml:1): plaintext has no TLS, and there is a section kafka.tls"]),
        ("kafka: {bootstrap_servers: a, security_protocol: ssl, tls: {key_file: $DIR/config.yaml}}", &["kafka.tls.key_file (config.yaml:1): a certificate and its key come together"]),
        ("kafka: {bootstrap_servers: a, security_protocol: SSL}", &["kafka.security_protocol (config.yaml:1): \"SSL\" is not known; give plaintext or ssl or sasl_plaintext or sasl_ssl (did you mean ssl?)"]),
    ]);
}

#[test]
fn properties_that_the_promises_rest_on_are_refused() {
    let table = [
        ("acks", "a 202 means"),
        ("request.required.acks", "a 202 means"),
        ("enable.idempotence", "without it"),
        ("enable.gapless.guarantee", "without it"),
        ("message.timeout.ms", "the bridge owns the time"),
        ("delivery.timeout.ms", "the bridge owns the time"),
        ("partitioner", "Java clients"),
        ("retries", "a client that gives up"),
        (
            "allow.auto.create.topics",
            "topics are created by kafka.create_topics alone; set kafka.create_topics",
        ),
        ("linger.ms", "there is a setting for it; set kafka.linger"),
        (
            "sasl.password",
            "there is a setting for it; set kafka.sasl.password_file",
        ),
        (
            "sasl.oauthbearer.client.secret",
            "there is a setting for it; use kafka.sasl.oauth",
        ),
        ("ssl.keystore.password", "a password would be shown"),
        (
            "enable.ssl.certificate.verification",
            "verification is never off",
        ),
        ("dr_msg_cb", "it is for programs"),
        ("max.in.flight", "above 5"),
        ("max.in.flight.requests.per.connection", "above 5"),
    ];
    for (name, why) in table {
        let given = Given::yaml(&format!(
            "kafka: {{bootstrap_servers: a, properties: {{{name}: hunter2}}}}"
        ));
        let problems = given.problems();
        assert!(
            problems.len() == 1 && problems[0].contains(why),
            "{name}: {problems:?}"
        );
        assert!(problems[0].starts_with(&format!(
            "kafka.properties.{name} (config.yaml:1): it can't be set"
        )));
        assert!(!problems[0].contains("hunter2"));
    }
    check(&[(
        "kafka: {bootstrap_servers: a, properties: {max.in.flight: 5, socket.timeout.ms: 1000, message.max.bytes: 2000000, debug: broker}}",
        &[],
    )]);
}

#[test]
#[rustfmt::skip]
fn a_login_by_tokens_has_to_be_one() {
    let oauth = "oauth: {token_endpoint: 'https://idp/token', client_id: bridge, client_secret: hunter2}";
    let sasl = |sasl: &str| format!("kafka: {{bootstrap_servers: a, security_protocol: sasl_ssl, sasl: {{{sasl}}}}}");
    let by_token: &[&str] = match cfg!(feature = "oauth") {
        true => &[],
        false => &["kafka.sasl.mechanism (config.yaml:1): this build has no OAUTHBEARER; build it with the feature oauth"],
    };
    for (yaml, expected) in [
        (sasl(&format!("mechanism: OAUTHBEARER, {oauth}")), by_token),
        (sasl(&format!("username: u, password: p, {oauth}")), &["kafka.sasl.oauth (config.yaml:1): SCRAM-SHA-512 does not log in by tokens; give the mechanism OAUTHBEARER"]),
        (sasl("mechanism: PLAIN, password: p"), &["kafka.sasl (config.yaml:1): PLAIN needs it; give kafka.sasl.username"]),
        (sasl("username: u, password: p, oauth: {token_endpoint: 'ftp://idp', client_id: bridge, client_secret: hunter2}"), &["kafka.sasl.oauth.token_endpoint (config.yaml:1): \"ftp://idp\" will not do; give a URL that begins with https://"]),
        (sasl("username: u, password: p, oauth: {token_endpoint: 'https://idp', client_id: bridge}"), &["kafka.sasl.oauth.client_secret (config.yaml:1): it is needed, as the section kafka.sasl.oauth is there; give it, or kafka.sasl.oauth.client_secret_file"]),
    ] {
        told(&Given::yaml(&yaml), expected, &yaml);
    }
    #[cfg(feature = "oauth")]
    for (yaml, expected) in [
        (sasl("mechanism: OAUTHBEARER"), "kafka.sasl.mechanism (config.yaml:1): OAUTHBEARER needs tokens, and there is no section kafka.sasl.oauth"),
        (sasl(&format!("mechanism: OAUTHBEARER, username: u, {oauth}")), "kafka.sasl.username (config.yaml:1): OAUTHBEARER logs in by tokens, and needs none; drop it"),
    ] {
        told(&Given::yaml(&yaml), &[expected], &yaml);
    }
}

#[test]
#[rustfmt::skip]
fn certificates_and_keys_have_to_fit_together() {
    let both = "cert_file: $DIR/cert.pem, key_file: $DIR/other.pem";
    for (yaml, expected) in [
        (format!("http: {{tls: {{{both}}}}}"), &["http.tls.key_file (config.yaml:1): \"other.pem\": the key is not that of the certificate; give the key of the certificate in http.tls.cert_file"][..]),
        (format!("kafka: {{bootstrap_servers: a, security_protocol: ssl, tls: {{{both}}}}}"), &["kafka.tls.key_file (config.yaml:1): \"other.pem\": the key is not that of the certificate"]),
        (format!("amqp: {{uri: 'amqps://a', tls: {{{both}}}}}"), &["amqp.tls.key_file (config.yaml:1): \"other.pem\": the key is not that of the certificate"]),
        ("http: {tls: {cert_file: $DIR/cert.pem, key_file: $DIR/key.pem}}".into(), &[]),
        ("http: {tls: {cert_file: $DIR/cert.pem}}".into(), &["http.tls.key_file (config.yaml:1): it is needed, as the section http.tls is there"]),
        ("http: {tls: {cert_file: $DIR/key.pem, key_file: $DIR/key.pem}}".into(), &["http.tls.cert_file (config.yaml:1): \"key.pem\": it holds no certificate (PEM)"]),
        ("http: {tls: {cert_file: $DIR/cert.pem, key_file: $DIR/cert.pem}}".into(), &["http.tls.key_file (config.yaml:1): \"cert.pem\": it holds no private key (PEM, without a password)"]),
        ("http: {tls: {cert_file: $DIR/cert.pem, key_file: $DIR/key.pem, client_ca_file: $DIR/config.yaml}}".into(), &["http.tls.client_ca_file (config.yaml:1): \"config.yaml\": it holds no certificate (PEM)"]),
        ("http: {tls: {cert_file: $DIR/broken.pem, key_file: $DIR/key.pem}}".into(), &["http.tls.cert_file (config.yaml:1): \"broken.pem\": it holds a certificate that can't be read"]),
        ("kafka: {bootstrap_servers: a, security_protocol: ssl, tls: {ca_file: $DIR/config.yaml}}".into(), &["kafka.tls.ca_file (config.yaml:1): \"config.yaml\": it holds no certificate (PEM)"]),
        ("sources: {minchat: {auth: {mtls: {}}}}".into(), &["sources.minchat.auth.mtls (config.yaml:1): it lets in by client certificates, and there is no http.tls.client_ca_file; give"]),
        ("http: {listen: '0.0.0.0:80', tls: {cert_file: $DIR/cert.pem, key_file: $DIR/key.pem, client_ca_file: $DIR/ca.pem}}\nsources: {minchat: {auth: {mtls: {}}}}".into(), &[]),
    ] {
        let other = rcgen::KeyPair::generate().expect("it takes nothing").serialize_pem();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        told(&Given::yaml(&yaml).file("other.pem", &other).file("broken.pem", broken), expected, &yaml);
    }
}

#[test]
#[rustfmt::skip]
fn amqp_has_to_fit_together() {
    check(&[
        ("amqp: {}", &["amqp (config.yaml:1): neither amqp.uri nor amqp.uris is given"]),
        ("amqp: {uri: 'amqp://a', uris: ['amqp://b']}", &["amqp.uri (config.yaml:1): amqp.uris is given too; give one of them"]),
        ("amqp: {uri: 'amqp://u@a'}", &["amqp.uri (config.yaml:1): it names a user without a password; give amqp.password_file"]),
        ("amqp: {uri: 'amqp://u:p@a', password: p}", &["amqp.password (config.yaml:1): a URI has a password too; give it in one place"]),
        ("amqp: {uris: ['amqp://a', 'rabbit']}", &["amqp.uris (config.yaml:1): it does not begin with amqp:// or amqps://"]),
        ("amqp: {uri: 'amqp://a', tls: {ca_file: $DIR/ca.pem}}", &["amqp.tls (config.yaml:1): no URI is one of amqps://"]),
        ("amqp: {uri: 'amqps://a', tls: {cert_file: $DIR/cert.pem}}", &["amqp.tls.cert_file (config.yaml:1): a certificate and its key come together"]),
        ("amqp: {uri: 'amqps://a', auth_mechanism: external}", &["amqp.auth_mechanism (config.yaml:1): external logs in by certificate, and not every URI"]),
        ("amqp: {uri: 'amqps://u:p@a', auth_mechanism: external}", &["amqp.auth_mechanism (config.yaml:1): external logs in by certificate, and there is a password"]),
        ("amqp: {uri: 'amqps://a', auth_mechanism: external, tls: {cert_file: $DIR/cert.pem, key_file: $DIR/key.pem}}", &[]),
        ("amqp: {uri: 'amqp://a', heartbeat: 1.5s}", &["amqp.heartbeat (config.yaml:1): AMQP counts heartbeats in whole seconds"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn routes_have_to_go_somewhere() {
    check(&[
        ("routes: {message.sent: {}}", &["routes.message.sent (config.yaml:1): it has no destination; give kafka, amqp or file"]),
        ("routes: {message.sent: {discard: false}}", &["routes.message.sent (config.yaml:1): it has no destination"]),
        ("routes: {message.sent: {kafka: {}}}", &["routes.message.sent.kafka (config.yaml:1): it names a broker that is off, as there is no section kafka; add the section"]),
        ("kafka: {bootstrap_servers: a}\nroutes: {message.sent: {file: {}}}", &["routes.message.sent.file (config.yaml:2): it names a broker that is off"]),
        ("kafka: 5\nroutes: {message.sent: {kafka: {}}}", &["kafka (config.yaml:1): it is not a section"]),
        ("routes: {message.sent: {file: {}, discard: true}}", &["routes.message.sent.discard (config.yaml:1): the kind is dropped, and has destinations too"]),
        ("routes: {dead-letter: {discard: true}}", &["routes.dead-letter.discard (config.yaml:1): what was let in is never thrown away"]),
        ("routes: {dead-letter: {file: {name: letters}}, message.sent: {file: {name: all}}, unrecognized: {file: {name: all}}}", &[]),
    ]);
}

#[test]
#[rustfmt::skip]
fn variables_and_flags_are_told_by_their_names() {
    let yaml = "kafka: {bootstrap_servers: a}\n";
    let table: [(&str, &str, &str); 8] = [
        ("MINCHAT_BRIDGE__HTTP__LISTNE", "1", "http.listne (variable MINCHAT_BRIDGE__HTTP__LISTNE): there is no such setting; did you mean http.listen?"),
        ("MINCHAT_BRIDGE__KAFAK__LINGER", "1ms", "kafak.linger (variable MINCHAT_BRIDGE__KAFAK__LINGER): there is no such setting; did you mean kafka?"),
        ("MINCHAT_BRIDGE__HTTP", "1", "http (variable MINCHAT_BRIDGE__HTTP): it is not a section"),
        ("MINCHAT_BRIDGE__HTTP__LISTEN__X", "1", "http.listen.x (variable MINCHAT_BRIDGE__HTTP__LISTEN__X): there is no such setting; did you mean http.listen?"),
        ("MINCHAT_BRIDGE__HTTP__KEEP_ALIVE", "", "http.keep_alive (variable MINCHAT_BRIDGE__HTTP__KEEP_ALIVE): it has no value; give it one, or drop this"),
        ("MINCHAT_BRIDGE__SOURCES__MINCHAT__AUTH__NONE", "true", "sources.minchat.auth.none (variable MINCHAT_BRIDGE__SOURCES__MINCHAT__AUTH__NONE): sources is set in the file only, as its keys are names of your own; write it into the file"),
        ("MINCHAT_BRIDGE__ROUTES__X", "1", "routes.x (variable MINCHAT_BRIDGE__ROUTES__X): routes is set in the file only"),
        ("MINCHAT_BRIDGE__KAFKA__PROPERTIES__DEBUG", "all", "kafka.properties.debug (variable MINCHAT_BRIDGE__KAFKA__PROPERTIES__DEBUG): kafka.properties is set in the file only"),
    ];
    for (name, value, expected) in table {
        told(&Given::yaml(yaml).variable(name, value), &[expected], name);
    }
    let table: [(&str, &str, &str); 4] = [
        ("http.listne", "1", "http.listne (--set http.listne): there is no such setting; did you mean http.listen?"),
        ("http", "1", "http (--set http): it is not a section"),
        ("kafka.properties.debug", "all", "kafka.properties.debug (--set kafka.properties.debug): kafka.properties is set in the file only"),
        ("http.keep_alive", "1", "http.keep_alive (--set http.keep_alive): \"1\" is not a duration"),
    ];
    for (path, value, expected) in table {
        told(&Given::yaml(yaml).flag(path, value), &[expected], path);
    }
}

#[test]
fn a_value_that_is_overridden_is_not_judged() {
    told(
        &Given::yaml("http: {keep_alive: 5}\n").flag("http.keep_alive", "5s"),
        &[],
        "overridden",
    );
}

#[test]
#[rustfmt::skip]
fn all_is_told_at_once() {
    let yaml =
        "http:\n  listne: a\n  keep_alive: 5\n  shutdown_timeout: 8s\nkafka: {}\nroutes: {x: {}}\n";
    let given = Given::yaml(yaml)
        .variable("MINCHAT_BRIDGE__LOG__LEVEL", "loud")
        .flag("spool.max_size", "1GB");
    told(
        &given,
        &[
            "http.keep_alive (config.yaml:3)",
            "http.listne (config.yaml:2)",
            "http.shutdown_timeout (config.yaml:4): http.body_timeout (5s) and publish.deadline (5s)",
            "kafka.bootstrap_servers (config.yaml:5)",
            "log.level (variable MINCHAT_BRIDGE__LOG__LEVEL)",
            "routes.x (config.yaml:6)",
            "spool.max_size (--set spool.max_size)",
        ],
        yaml,
    );
}

#[test]
fn a_file_that_is_no_configuration_is_told() {
    told(
        &Given::text("http: [\n"),
        &["config.yaml:2:1: it is not YAML: "],
        "broken",
    );
    told(
        &Given::text("http: [\n").flag("x", "1"),
        &[
            "config.yaml:2:1: it is not YAML: ",
            "x (--set x): there is no such setting",
        ],
        "broken, and a flag",
    );
    told(
        &Given::yaml("http:\n  listen: a\n  listen: b\n"),
        &[
            "http.listen (config.yaml:2): \"a\" is not an address",
            "http.listen (config.yaml:3): it is there twice, first at config.yaml:2; keep one",
        ],
        "twice",
    );
    let missing = Inputs {
        file: Some("/nowhere/config.yaml".into()),
        ..Inputs::default()
    };
    let problems = load(&missing)
        .expect_err("there is no such file")
        .to_string();
    assert_eq!(
        problems,
        "the configuration has 1 problem\n  1. /nowhere/config.yaml: the file can't be read: No such file or directory (os error 2); name a file that the bridge may read"
    );
    let binary = Given::yaml("");
    std::fs::write(format!("{}/config.yaml", binary.dir()), b"\xff\xfe")
        .expect("it can be written");
    told(&binary, &["config.yaml: the file is not UTF-8"], "binary");
    std::fs::write(format!("{}/config.yaml", binary.dir()), "#".repeat(2 << 20))
        .expect("it can be written");
    told(
        &binary,
        &["config.yaml: the file is larger than 1 MiB"],
        "large",
    );
}

proptest! {
    /// Whatever stands in a file, a variable or a flag is told, and ends nothing.
    #[test]
    fn no_input_is_a_panic(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40),
        path in "[a-z_.]{0,30}",
        name in "[A-Z_]{0,20}",
        value in "\\PC{0,10}",
    ) {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, pieces.concat()).expect("it can be written");
        let env = vec![(format!("MINCHAT_BRIDGE__{name}"), value.clone())];
        let _ = load(&Inputs { file: Some(file.clone()), set: vec![(path, value)], env });
        let _ = load(&Inputs { file: Some(file), ..Inputs::default() });
    }
}

/// What random files are made of.
const PIECES: [&str; 44] = [
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "#",
    "~",
    "|",
    "&a ",
    "*a",
    "!x ",
    "\t",
    "http",
    "kafka",
    "amqp",
    "file",
    "sources",
    "routes",
    "minchat",
    "message.sent",
    "auth",
    "tokens",
    "tokens_file",
    "create_topics",
    "properties",
    "acks",
    "uri",
    "uris",
    "bootstrap_servers",
    "sasl",
    "tls",
    "rate_limit",
    "discard",
    "5s",
    "true",
    "amqp://u:p@h/v",
];
