//! A broker that is somewhere else than before.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::checker::ONE_OF_EACH_KEY;
use super::proxy::{Proxy, Weather};
use super::scenes::{CREATE, Kafka, Rabbit, await_draining};
use super::senders::Senders;
use crate::node::Node;
use crate::process::Process;

/// What the bridge is told of the broker. Outside of its own world it is this machine.
const NAME: &str = "localhost";
const BEFORE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const AFTER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A name that leads somewhere else for the bridge alone, with a proxy at each of two addresses.
struct Moving {
    dir: Arc<TempDir>,
    before: Proxy,
    after: Proxy,
}

impl Moving {
    /// The proxies listen on the broker's own port, at other addresses.
    fn new(broker: SocketAddr) -> Self {
        let at = |ip: Ipv4Addr| {
            let proxy = Proxy::at(&SocketAddr::new(IpAddr::V4(ip), broker.port()).to_string());
            proxy.lead_to(broker);
            proxy
        };
        let moving = Moving {
            dir: Arc::new(TempDir::new().expect("a directory can be made")),
            before: at(BEFORE),
            after: at(AFTER),
        };
        moving.after.weather(Weather::Away);
        moving.name_is_at(BEFORE);
        moving
    }

    fn hosts(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }

    fn name_is_at(&self, address: Ipv4Addr) {
        std::fs::write(self.hosts(), format!("{address} {NAME}\n")).expect("it can be written");
    }

    /// A bridge that knows names by our file alone. To mount it takes root.
    fn bridge(&self, yaml: &str) -> Process {
        let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
        let hosts = self.hosts();
        let bridge = Process::start_by(Arc::clone(&self.dir), yaml, |program| {
            let mut inside = Command::new("unshare");
            inside
                .args(["--mount", "sh", "-c", script, "sh"])
                .arg(hosts);
            inside.arg(program);
            inside
        });
        bridge.await_ready();
        bridge
    }

    /// Nobody is at the old address any more; then the name leads to the new one.
    fn moves(&self, senders: &Senders, bridge: &Process) {
        self.before.weather(Weather::Away);
        senders.await_spooled(100);
        self.after.weather(Weather::Fair);
        self.name_is_at(AFTER);
        await_draining(bridge);
        senders.await_accepted(200);
    }
}

#[test]
fn row_40_a_kafka_that_has_moved_is_found_by_its_name() {
    let node = Node::kafka(&["--advertise", NAME]);
    let address = node.env("KAFKA_BOOTSTRAP_SERVERS");
    let moving = Moving::new(address.parse().expect("it is an address"));
    let servers = address.replace("127.0.0.1", NAME);
    let scene = Kafka { node, servers };
    let bridge = moving.bridge(&scene.yaml(CREATE, ""));
    let senders = Senders::start(bridge.webhooks(), 8);
    scene.await_published(&bridge);
    senders.await_accepted(300);
    moving.moves(&senders, &bridge);
    scene.end(&bridge, senders);
}

#[test]
fn row_40_a_rabbitmq_that_has_moved_is_found_by_its_name() {
    let mut scene = Rabbit::new();
    let moving = Moving::new(scene.node.address());
    scene.url = scene.url.replace("127.0.0.1", NAME);
    let bridge = moving.bridge(&scene.yaml(""));
    bridge.await_metric(&["broker_up"], 1.0);
    scene.bind();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_accepted(300);
    moving.moves(&senders, &bridge);
    let ledger = scene.assert_all_is_well(&bridge, senders, ONE_OF_EACH_KEY);
    assert_eq!(ledger.refused, [0; 0]);
}

#[test]
fn a_rabbitmq_at_an_ipv6_address_gets_its_events() {
    let proxy = Proxy::at("[::1]:0");
    let scene = Rabbit::behind(&proxy);
    let bridge = scene.bridge("");
    let senders = Senders::start(bridge.webhooks(), 2);
    senders.await_accepted(50);
    scene.assert_all_is_well(&bridge, senders, 0);
}
