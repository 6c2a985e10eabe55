//! Where `healthcheck` asks.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use crate::command::Ran;
use crate::process::Process;

/// The command in this directory, which has nothing of the environment but these variables.
fn healthcheck(dir: &Path, words: &[&str], env: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
        .arg("healthcheck")
        .args(words)
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().copied())
        .output();
    output.expect("the program can be run").into()
}

fn with_config(yaml: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory can be made");
    fs::write(dir.path().join("config.yaml"), yaml).expect("it can be written");
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("it is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Answers every request with 200 at a port of this address.
fn answering(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).expect("port 0 is always free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    address
}

#[test]
fn without_a_url_it_asks_where_the_configuration_says_from_whichever_layer() {
    let bridge = Process::start("sources: {minchat: {auth: {none: true}}}\n");
    bridge.await_ready();
    let admin = bridge.admin().to_string();
    let dir = with_config(&format!("admin: {{listen: '{admin}'}}\n"));
    let other = with_config("admin: {listen: '127.0.0.1:1'}\n");
    let set = format!("admin.listen={admin}");
    let variable = ("MINCHAT_BRIDGE__ADMIN__LISTEN", admin.as_str());
    let named = ("MINCHAT_BRIDGE_CONFIG", "config.yaml");
    let by_file: &[&str] = &["--config", "config.yaml"];
    for (what, dir, words, env) in [
        ("a file", &dir, by_file, &[][..]),
        ("a file that a variable names", &dir, &[], &[named]),
        ("a variable", &other, by_file, &[variable]),
        ("a variable and no file", &other, &[], &[variable]),
        ("a flag", &other, &["--set", &set], &[named]),
    ] {
        let ran = healthcheck(dir.path(), words, env);
        assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
        assert_eq!(ran.stdout + &ran.stderr, "", "{what}");
    }
    healthcheck(other.path(), by_file, &[])
        .with(69)
        .says(&["http://127.0.0.1:1/livez"]);
}

#[test]
fn an_address_that_stands_for_all_is_asked_on_loopback_of_its_family() {
    let (v4, v6) = (answering("127.0.0.1:0"), answering("[::1]:0"));
    for listen in [
        format!("0.0.0.0:{}", v4.port()),
        format!("[::]:{}", v6.port()),
        format!("[::1]:{}", v6.port()),
        format!("[::ffff:0.0.0.0]:{}", v4.port()),
    ] {
        let dir = with_config(&format!("admin: {{listen: '{listen}'}}\n"));
        let ran = healthcheck(dir.path(), &["--config", "config.yaml"], &[]);
        assert_eq!(ran.code, 0, "{listen}: {}", ran.stderr);
    }
}

#[test]
fn what_is_wrong_elsewhere_in_the_configuration_is_no_matter_and_nothing_is_written() {
    let admin = answering("127.0.0.1:0");
    let dir = with_config(&format!(
        "admin: {{listen: '{admin}'}}\n\
         http: {{listen: nowhere, tls: {{cert_file: gone.pem, key_file: gone.key}}}}\n\
         sources: {{minchat: {{auth: {{tokens_file: gone}}}}}}\n\
         kafka: {{bootstrap_servers: 'a:9092', sasl: {{username: u, password_file: gone}}}}\n\
         spool: {{dir: spool}}\n\
         file: {{dir: events}}\n\
         frobnicate: 1\n"
    ));
    let words = ["--config", "config.yaml"];
    healthcheck(dir.path(), &words, &[]).with(0);
    assert_eq!(names(dir.path()), ["config.yaml"]);
}

#[test]
fn an_address_that_is_not_to_be_known_is_told_and_a_url_wins_over_it() {
    let url = format!("http://{}/livez", answering("127.0.0.1:0"));
    let words = ["--config", "config.yaml"];
    for (yaml, says) in [
        ("admin: {listen: 'localhost:8081'}\n", "not an address"),
        ("admin: {listen: '127.0.0.1:0'}\n", "--url"),
        ("admin: {listen: '127.0.0.1:1'\n", "config.yaml"),
    ] {
        let dir = with_config(yaml);
        let told = healthcheck(dir.path(), &words, &[]);
        told.with(78).says(&["minchat-bridge healthcheck: ", says]);
        let with_url = [&words[..], &["--url", &url]].concat();
        healthcheck(dir.path(), &with_url, &[]).with(0);
    }
    let dir = with_config("");
    healthcheck(dir.path(), &["--config", "gone.yaml"], &[])
        .with(78)
        .says(&["gone.yaml", "can't be read"]);
}
