//! TLS and logins to a real RabbitMQ.

use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::amqp::client::Client;
use crate::authority::{Authority, Certificate};
use crate::node::Node;
use crate::payload::{message, prefix};
use crate::process::{Posted, Process, await_some};

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
    format!("sources: {{minchat: {{prefix: {prefix}, auth: {{none: true}}}}}}\namqp:\n  {amqp}\n")
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

fn assert_arrived(secured: &Secured, prefix: &str, id: &str) {
    let broker = Client::new(&secured.node.env("AMQP_URL"));
    let ids = broker.drain_ids(&format!("{prefix}unrouted.v1"));
    assert!(ids.iter().any(|arrived| arrived == id), "{ids:?}");
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
        let posted = await_published(&bridge);
        let ids = broker.drain_ids(&format!("{prefix}unrouted.v1"));
        assert!(
            ids.iter().any(|id| posted.json["id"] == id.as_str()),
            "{what}"
        );
    }
}

#[test]
fn a_wrong_password_is_told_and_works_once_its_file_is_right() {
    let secured = Secured::shared();
    let (dir, prefix) = (secured.dir(), prefix());
    write(dir.path(), "password", "the-wr0ng-password");
    let bridge = Process::start_in(dir.clone(), &secured.plain(&prefix));
    bridge.await_log(&["ERROR", "until somebody mends this", "authentication"]);
    let waiting = bridge.post_spooled();
    write(dir.path(), "password", "guest");
    await_published(&bridge);
    assert_arrived(&secured, &prefix, &waiting);
    assert!(!bridge.log().contains("the-wr0ng-password"));
}

#[test]
fn a_wrong_authority_is_told_and_works_once_its_file_is_right() {
    let secured = Secured::shared();
    let (dir, prefix) = (secured.dir(), prefix());
    write(dir.path(), "ca.pem", Authority::new("another").pem());
    let bridge = Process::start_in(dir.clone(), &secured.plain(&prefix));
    bridge.await_log(&["ERROR", "until somebody mends this", "TLS"]);
    let waiting = bridge.post_spooled();
    write(dir.path(), "ca.pem", secured.authority.pem());
    await_published(&bridge);
    assert_arrived(&secured, &prefix, &waiting);
}

#[test]
fn a_broker_whose_certificate_is_made_out_to_another_is_not_trusted() {
    let secured = Secured::shared();
    // An address that leads to this machine, and that the certificate does not have.
    let yaml = secured.plain(&prefix()).replace("@localhost", "@0.0.0.0");
    let bridge = Process::start_in(secured.dir(), &yaml);
    bridge.await_log(&["ERROR", "until somebody mends this", "TLS"]);
    bridge.post_spooled();
}

#[test]
fn row_41_a_broker_whose_certificate_has_expired_is_told_and_works_once_it_is_renewed() {
    let secured = Secured::start();
    let renew = |certificate: Certificate| {
        certificate.write(secured.node.path(), "server");
        secured.node.run("ctl", &["eval", "ssl:clear_pem_cache()."]);
    };
    renew(secured.authority.certify_with("rabbitmq", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }));
    let prefix = prefix();
    let bridge = Process::start_in(secured.dir(), &secured.plain(&prefix));
    bridge.await_ready();
    bridge.await_log(&["ERROR", "until somebody mends this", "TLS", "xpired"]);
    let waiting = bridge.post_spooled();
    renew(secured.authority.certify("rabbitmq"));
    await_published(&bridge);
    assert_arrived(&secured, &prefix, &waiting);
    bridge.assert_the_books_balance();
}

#[test]
fn a_certificate_of_somebody_who_is_not_known_is_told_and_works_once_it_is_anothers() {
    let secured = Secured::shared();
    let (dir, prefix) = (secured.dir(), prefix());
    secured.authority.certify("nobody").write(dir.path(), "own");
    let bridge = Process::start_in(dir.clone(), &secured.external(&prefix, "own"));
    bridge.await_log(&["ERROR", "until somebody mends this", "authentication"]);
    let waiting = bridge.post_spooled();
    secured.authority.certify("bridge").write(dir.path(), "own");
    await_published(&bridge);
    assert_arrived(&secured, &prefix, &waiting);
}
