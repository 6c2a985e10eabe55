//! The whole way to Kafka: the binary, and Apache Kafka.

mod cost;
mod dead_letters;
mod records;
mod trouble;

use crate::cluster::Cluster;
use crate::payload::{message, prefix, sample};
use crate::process::{Process, program};

/// A configuration for this cluster and prefix, with further lines in the section `kafka`.
fn yaml(servers: &str, prefix: &str, kafka: &str, rest: &str) -> String {
    format!(
        "sources:\n  minchat:\n    prefix: {prefix}\n    auth: {{none: true}}\n\
         kafka:\n  bootstrap_servers: {servers}\n{kafka}\nspool: {{max_size: 0}}\n{rest}"
    )
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const CREATE: &str = "  create_topics: {partitions: 3, replication_factor: 1}";

#[test]
fn several_brokers_at_once_and_routes_between_them() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let routes = "file: {dir: events}\nroutes:\n  user.daily-active: {file: {}}\n  unrecognized: {discard: true}\n";
    let bridge = Process::start(&yaml(&cluster.servers, &prefix, CREATE, routes));
    bridge.await_ready();
    assert_eq!(
        bridge.post(&message("c1", "both")).json["receipt"],
        "published"
    );
    assert_eq!(
        bridge.post(sample("user-daily-active.current")).json["receipt"],
        "published"
    );
    assert_eq!(bridge.post("{}").json["receipt"], "discarded");
    assert_eq!(
        bridge.metric(&["webhooks_accepted_total", "unrecognized", "discarded"]),
        1.0
    );
    let lines = |kind: &str| {
        let file = bridge
            .path()
            .join(format!("events/{prefix}{kind}.v1.ndjson"));
        std::fs::read_to_string(file)
            .unwrap_or_default()
            .lines()
            .count()
    };
    assert_eq!(
        (
            lines("message.sent"),
            lines("user.daily-active"),
            lines("unrecognized")
        ),
        (1, 1, 0)
    );
    assert_eq!(cluster.read(&format!("{prefix}message.sent.v1")).len(), 1);
    bridge.assert_the_books_balance();
}

#[test]
fn an_operator_sees_what_is_missing_creates_it_and_sees_that_it_is_there() {
    let (cluster, prefix) = (Cluster::shared(), prefix());
    let user = format!("{prefix}user.daily-active.v1");
    cluster.create(&user, 1, &[("max.message.bytes", "8192")]);
    let dir = tempfile::tempdir().expect("a directory can be made");
    let config = dir.path().join("config.yaml");
    std::fs::write(&config, yaml(&cluster.servers, &prefix, CREATE, ""))
        .expect("it can be written");
    let run = |words: &[&str]| program(words, &["--config", config.to_str().expect("it is UTF-8")]);
    let topic = format!("kafka:{prefix}message.sent.v1");
    let (code, text) = run(&["topics", "check"]);
    assert_eq!(code, 69);
    assert!(
        text.contains(&format!("[-] {topic}")) && text.contains("does not exist"),
        "{text}"
    );
    assert_eq!(run(&["check", "--connect"]).0, 69);
    let (code, text) = run(&["topics", "create"]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(&format!(
            "[+] {topic}: 3 partitions, takes messages of up to 1048588 bytes\n"
        )),
        "{text}"
    );
    let other = format!(
        "[+] kafka:{user}: 1 partition (kafka.create_topics says 3), takes messages of up to 8192 bytes: \
         what http.max_body (524288 bytes) lets in beyond that goes to the dead letters\n"
    );
    assert!(text.contains(&other), "{text}");
    assert_eq!(run(&["topics", "check"]).0, 0);
    assert_eq!(run(&["check", "--connect"]).0, 0);
}
