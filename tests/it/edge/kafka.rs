//! TLS and logins to a real Kafka.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::authority::Authority;
use crate::cluster::Cluster;
use crate::node::Node;
use crate::payload::{message, prefix};
use crate::process::{Posted, Process, await_some};

const PASSWORD: &str = "the-right-passw0rd";

/// A node with TLS, and who vouches for its certificate and its clients' ones.
struct Secured {
    node: Node,
    authority: Authority,
}

impl Secured {
    fn start() -> Self {
        let authority = Authority::new("the-authority");
        let dir = TempDir::new().expect("a directory can be made");
        authority.certify("kafka").write(dir.path(), "server");
        write(dir.path(), "ca.pem", authority.pem());
        let certificates = dir.path().display().to_string();
        let user = format!("bridge:{PASSWORD}");
        let node = Node::kafka(&["--tls", &certificates, "--user", &user]);
        Secured { node, authority }
    }

    /// One for all tests that don't break it, for as long as one of them runs.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Secured>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().expect("nobody panics with it");
        let secured = shared.upgrade().unwrap_or_else(|| Arc::new(Self::start()));
        *shared = Arc::downgrade(&secured);
        secured
    }

    fn cluster(&self) -> Cluster {
        Cluster::at(&self.node.env("KAFKA_BOOTSTRAP_SERVERS"))
    }

    /// A directory with all that a bridge needs to get in.
    fn dir(&self) -> Arc<TempDir> {
        let dir = TempDir::new().expect("a directory can be made");
        write(dir.path(), "ca.pem", self.authority.pem());
        write(dir.path(), "password", PASSWORD);
        self.authority.certify("bridge").write(dir.path(), "own");
        Arc::new(dir)
    }

    fn ssl(&self, prefix: &str, more: &str) -> String {
        let servers = self.node.env("KAFKA_SSL_BOOTSTRAP_SERVERS");
        yaml(
            prefix,
            &servers,
            "ssl",
            &format!("tls: {{ca_file: ca.pem{more}}}"),
        )
    }

    fn sasl_ssl(&self, prefix: &str, mechanism: &str) -> String {
        let servers = self.node.env("KAFKA_SASL_SSL_BOOTSTRAP_SERVERS");
        let login = format!(
            "tls: {{ca_file: ca.pem}}\n  sasl: {{mechanism: {mechanism}, username: bridge, password_file: password}}"
        );
        yaml(prefix, &servers, "sasl_ssl", &login)
    }
}

fn yaml(prefix: &str, servers: &str, protocol: &str, more: &str) -> String {
    format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\n\
         kafka:\n  bootstrap_servers: {servers}\n  create_topics: true\n  security_protocol: {protocol}\n  {more}\n"
    )
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("it can be written");
}

/// Waits until an event is published without having to wait in the spool.
fn await_published(bridge: &Process) -> Posted {
    await_some("an event that is published", || {
        let posted = bridge.post(&message("c1", "hi"));
        assert_eq!(posted.status, 202);
        (posted.json["receipt"] == "published").then_some(posted)
    })
}

/// What is in the topic of messages.
fn ids(secured: &Secured, prefix: &str) -> Vec<String> {
    let records = secured.cluster().read(&format!("{prefix}message.sent.v1"));
    records
        .iter()
        .map(|record| record.id().to_owned())
        .collect()
}

#[test]
fn events_are_published_over_tls_with_every_kind_of_login() {
    let secured = Secured::shared();
    let certificate = ", cert_file: own.pem, key_file: own.key";
    for (what, yaml) in [
        (
            "a client certificate",
            &(|prefix: &str| secured.ssl(prefix, certificate)) as &dyn Fn(&str) -> String,
        ),
        ("PLAIN", &|prefix| secured.sasl_ssl(prefix, "PLAIN")),
        ("SCRAM-SHA-256", &|prefix| {
            secured.sasl_ssl(prefix, "SCRAM-SHA-256")
        }),
        ("SCRAM-SHA-512", &|prefix| {
            secured.sasl_ssl(prefix, "SCRAM-SHA-512")
        }),
    ] {
        let prefix = prefix();
        let bridge = Process::start_in(secured.dir(), &yaml(&prefix));
        bridge.await_ready();
        let posted = await_published(&bridge);
        let ids = ids(&secured, &prefix);
        assert!(
            ids.iter().any(|id| posted.json["id"] == id.as_str()),
            "{what}"
        );
        assert!(!bridge.log().contains(PASSWORD), "{what}");
    }
}

#[test]
fn a_wrong_password_is_told_and_works_once_its_file_is_right() {
    let secured = Secured::shared();
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let dir = secured.dir();
        write(dir.path(), "password", "the-wr0ng-password");
        let prefix = prefix();
        let bridge = Process::start_in(dir.clone(), &secured.sasl_ssl(&prefix, mechanism));
        bridge.await_log(&["ERROR", "until somebody mends this", "authentication"]);
        let waiting = bridge.post_spooled();
        write(dir.path(), "password", PASSWORD);
        await_published(&bridge);
        assert!(ids(&secured, &prefix).contains(&waiting), "{mechanism}");
        let log = bridge.log();
        assert!(
            !log.contains(PASSWORD) && !log.contains("the-wr0ng-password"),
            "{mechanism}"
        );
        bridge.assert_the_books_balance();
    }
}

#[test]
fn a_wrong_authority_is_told_and_works_once_its_file_is_right() {
    let secured = Secured::shared();
    let (dir, prefix) = (secured.dir(), prefix());
    write(dir.path(), "ca.pem", Authority::new("another").pem());
    let bridge = Process::start_in(dir.clone(), &secured.sasl_ssl(&prefix, "PLAIN"));
    bridge.await_log(&["ERROR", "until somebody mends this", "certificate"]);
    let waiting = bridge.post_spooled();
    write(dir.path(), "ca.pem", secured.authority.pem());
    await_published(&bridge);
    assert!(ids(&secured, &prefix).contains(&waiting));
}

#[test]
fn a_broker_whose_certificate_is_made_out_to_another_is_not_trusted() {
    let secured = Secured::shared();
    let servers = secured.node.env("KAFKA_SASL_SSL_BOOTSTRAP_SERVERS");
    // An address of this machine that the certificate does not have.
    let other = servers.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let yaml = secured
        .sasl_ssl(&prefix(), "PLAIN")
        .replace(&servers, &format!("'{other}'"));
    let bridge = Process::start_in(secured.dir(), &yaml);
    bridge.await_log(&["ERROR", "until somebody mends this", "certificate"]);
    bridge.post_spooled();
}

#[test]
fn one_broker_of_several_with_a_wrong_certificate_is_no_outage() {
    let secured = Secured::shared();
    let servers = secured.node.env("KAFKA_SASL_SSL_BOOTSTRAP_SERVERS");
    let other = servers.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let both = format!("['{other}', '{servers}']");
    let yaml = secured
        .sasl_ssl(&prefix(), "PLAIN")
        .replace(&servers, &both);
    let bridge = Process::start_in(secured.dir(), &yaml);
    bridge.await_ready();
    for _ in 0..20 {
        await_published(&bridge);
    }
    let log = bridge.log();
    assert!(
        !log.contains("ERROR") && !log.contains("out of reach"),
        "{log}"
    );
}

#[test]
fn a_missing_client_certificate_is_told_and_works_once_it_is_configured() {
    let secured = Secured::shared();
    let prefix = prefix();
    let bridge = Process::start_in(secured.dir(), &secured.ssl(&prefix, ""));
    bridge.await_log(&["ERROR", "until somebody mends this"]);
    let waiting = bridge.post_spooled();
    let with = secured.ssl(&prefix, ", cert_file: own.pem, key_file: own.key");
    write(bridge.path(), "config.yaml", &with);
    await_published(&bridge);
    assert!(ids(&secured, &prefix).contains(&waiting));
}

#[test]
fn a_password_that_is_changed_on_both_sides_costs_no_restart_and_no_event() {
    let secured = Secured::start();
    let (dir, prefix) = (secured.dir(), prefix());
    let bridge = Process::start_in(dir.clone(), &secured.sasl_ssl(&prefix, "SCRAM-SHA-512"));
    bridge.await_ready();
    await_published(&bridge);
    let set = "SCRAM-SHA-512=[password=the-next-passw0rd]";
    secured.node.run(
        "config",
        &[
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            "bridge",
            "--add-config",
            set,
        ],
    );
    write(dir.path(), "password", "the-next-passw0rd");
    bridge.await_log(&["reloaded the configuration"]);
    assert_eq!(
        await_published(&bridge).status,
        202,
        "on the old connection"
    );
    secured.node.stop();
    let waiting = bridge.post_spooled();
    secured.node.start();
    await_published(&bridge);
    bridge.assert_the_books_balance();
    let accepted = bridge.metric(&["webhooks_accepted_total"]);
    let ids = ids(&secured, &prefix);
    assert!(ids.contains(&waiting));
    assert!(
        ids.len() >= accepted as usize,
        "{} of {accepted}",
        ids.len()
    );
}
