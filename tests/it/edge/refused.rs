//! What is refused at start: exit 78, by name.

use std::fs;

use tempfile::TempDir;

use crate::process::program;

#[test]
fn an_edge_that_is_not_safe_does_not_start() {
    for (yaml, name, why) in [
        (
            "http: {listen: '0.0.0.0:0'}",
            "sources.minchat",
            "is not a loopback address, and the source minchat has no credentials",
        ),
        (
            "http: {listen: '0.0.0.0:0'}\nsources: {minchat: {auth: {tokens: [0123456789abcdef]}}, b: {}}",
            "sources.b.auth",
            "the source b has no credentials",
        ),
        (
            "sources: {minchat: {auth: {tokens: [a], tokens_file: $DIR/tokens}}}",
            "sources.minchat.auth.tokens_file",
            "sources.minchat.auth.tokens is given too",
        ),
        (
            "sources: {minchat: {auth: {hmac: {secrets: [a, b, a]}}}}",
            "sources.minchat.auth.hmac.secrets",
            "secret 3 is there twice",
        ),
        (
            "sources: {minchat: {auth: {tokens_file: $DIR/empty}}}",
            "sources.minchat.auth.tokens_file",
            "is empty",
        ),
        (
            "sources: {minchat: {auth: {standard_webhooks: {secrets_file: $DIR/empty}}}}",
            "sources.minchat.auth.standard_webhooks.secrets_file",
            "is empty",
        ),
        (
            "amqp: {uri: 'amqp://u@a', password_file: $DIR/empty}",
            "amqp.password_file",
            "is empty",
        ),
        (
            "sources: {minchat: {auth: {mtls: {}}}}",
            "sources.minchat.auth.mtls",
            "there is no http.tls.client_ca_file",
        ),
        (
            "sources: {minchat: {auth: {mtls: {names: [relay.example.com, '*.example.com']}}}}",
            "sources.minchat.auth.mtls.names",
            "\"*.example.com\" will not do",
        ),
        (
            "sources: {minchat: {auth: {mtls: {names: [Relay One]}}}}",
            "sources.minchat.auth.mtls.names",
            "give a DNS name such as relay.example.com",
        ),
        (
            "sources: {minchat: {auth: {mtls: {names: ['relay.example.com:8443']}}}}",
            "sources.minchat.auth.mtls.names",
            "no port",
        ),
        (
            "sources: {minchat: {auth: {none: true, tokens: [0123456789abcdef]}}}",
            "sources.minchat.auth.none",
            "the credentials mean nothing",
        ),
    ] {
        let dir = TempDir::new().expect("a directory can be made");
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [
            (
                "config.yaml",
                &*yaml.replace("$DIR", &dir.path().display().to_string()),
            ),
            ("tokens", "0123456789abcdef\n"),
            ("empty", "\n"),
        ] {
            fs::write(at(name), text).expect("it can be written");
        }
        let config = at("config.yaml").display().to_string();
        let (code, text) = program(&["serve", "--config"], &[&config]);
        assert_eq!(code, 78, "{yaml}: {text}");
        assert!(text.contains(name) && text.contains(why), "{yaml}: {text}");
    }
}
