//! TLS and logins to a real RabbitMQ.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::amqp::client::Client;
use crate::authority::Authority;
use crate::node::Node;
use crate::payload::{message, prefix};
use crate::process::{Process, await_some};

/// A node with TLS, and who vouches for its certificate and its clients' ones.
struct Secured {
    node: Node,
    authority: Authority,
    /// `amqps://guest@localhost:.../%2f`
    url: String,
}

impl Secured {
    /// One for all tests, for as long as one of them runs.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Secured>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().expect("nobody panics with it");
        let secured = shared.upgrade().unwrap_or_else(|| Arc::new(Self::start()));
        *shared = Arc::downgrade(&secured);
        secured
    }

    fn start() -> Self {
        let authority = Authority::new("the-authority");
        let dir = TempDir::new().expect("a directory can be made");
        authority.certify("rabbitmq").write(dir.path(), "server");
        write(dir.path(), "ca.pem", authority.pem());
        let node = Node::rabbitmq(&["--tls", &dir.path().display().to_string()]);
        node.run("ctl", &["add_user", "bridge", "not-used-by-EXTERNAL"]);
        node.run("ctl", &["set_permissions", "bridge", ".*", ".*", ".*"]);
        Secured {
            url: node.env("AMQPS_URL"),
            node,
            authority,
        }
    }

    /// A directory with all that a bridge needs to get in.
    fn dir(&self) -> Arc<TempDir> {
        let dir = TempDir::new().expect("a directory can be made");
        write(dir.path(), "ca.pem", self.authority.pem());
        write(dir.path(), "password", "guest\n");
        self.authority.certify("bridge").write(dir.path(), "own");
        Arc::new(dir)
    }

    fn plain(&self, prefix: &str) -> String {
        let url = &self.url;
        yaml(
            prefix,
            &format!("uri: {url}\n  password_file: password\n  tls: {{ca_file: ca.pem}}"),
        )
    }

    fn external(&self, prefix: &str, certificate: &str) -> String {
        let url = self.url.replace("guest@", "");
        yaml(
            prefix,
            &format!(
                "uri: {url}\n  auth_mechanism: external\n  \
                 tls: {{ca_file: ca.pem, cert_file: {certificate}.pem, key_file: {certificate}.key}}"
            ),
        )
    }
}

fn yaml(prefix: &str, amqp: &str) -> String {
    format!(
        "sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\nspool: {{max_size: 0}}\namqp:\n  {amqp}\n"
    )
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("it can be written");
}

fn await_accepted(bridge: &Process) {
    await_some("a 202", || {
        (bridge.post(&message("c1", "hi")).status == 202).then_some(())
    });
}

#[test]
fn events_are_published_over_tls_by_password_and_by_certificate() {
    let secured = Secured::shared();
    let broker = Client::new(&secured.node.env("AMQP_URL"));
    for (what, yaml) in [
        (
            "by password",
            &(|prefix: &str| secured.plain(prefix)) as &dyn Fn(&str) -> String,
        ),
        ("by certificate", &|prefix| secured.external(prefix, "own")),
    ] {
        let prefix = prefix();
        let bridge = Process::start_in(secured.dir(), &yaml(&prefix));
        bridge.await_ready();
        let posted = bridge.post(&message("c1", what));
        assert_eq!(posted.status, 202, "{what}: {}", bridge.log());
        let ids = broker.drain_ids(&format!("{prefix}unrouted.v1"));
        assert_eq!(
            ids,
            [posted.json["id"].as_str().unwrap_or_default()],
            "{what}"
        );
    }
}

#[test]
fn a_wrong_password_is_told_and_works_once_its_file_is_right() {
    let secured = Secured::shared();
    let dir = secured.dir();
    write(dir.path(), "password", "the-wr0ng-password");
    let bridge = Process::start_in(dir.clone(), &secured.plain(&prefix()));
    bridge.await_log(&["ERROR", "until somebody mends this", "authentication"]);
    assert_eq!(bridge.post(&message("c1", "hi")).status, 503);
    write(dir.path(), "password", "guest");
    await_accepted(&bridge);
    assert!(!bridge.log().contains("the-wr0ng-password"));
}

#[test]
fn a_wrong_authority_is_told_and_works_once_its_file_is_right() {
    let secured = Secured::shared();
    let dir = secured.dir();
    write(dir.path(), "ca.pem", Authority::new("another").pem());
    let bridge = Process::start_in(dir.clone(), &secured.plain(&prefix()));
    bridge.await_log(&["ERROR", "until somebody mends this", "TLS"]);
    assert_eq!(bridge.post(&message("c1", "hi")).status, 503);
    write(dir.path(), "ca.pem", secured.authority.pem());
    await_accepted(&bridge);
}

#[test]
fn a_broker_whose_certificate_is_made_out_to_another_is_not_trusted() {
    let secured = Secured::shared();
    // An address that leads to this machine, and that the certificate does not have.
    let yaml = secured.plain(&prefix()).replace("@localhost", "@0.0.0.0");
    let bridge = Process::start_in(secured.dir(), &yaml);
    bridge.await_log(&["ERROR", "until somebody mends this", "TLS"]);
    assert_eq!(bridge.post(&message("c1", "hi")).status, 503);
}

#[test]
fn a_certificate_of_somebody_who_is_not_known_is_told_and_works_once_it_is_anothers() {
    let secured = Secured::shared();
    let dir = secured.dir();
    secured.authority.certify("nobody").write(dir.path(), "own");
    let bridge = Process::start_in(dir.clone(), &secured.external(&prefix(), "own"));
    bridge.await_log(&["ERROR", "until somebody mends this", "authentication"]);
    assert_eq!(bridge.post(&message("c1", "hi")).status, 503);
    secured.authority.certify("bridge").write(dir.path(), "own");
    await_accepted(&bridge);
}
