//! Faults of the spool's disk.

use super::checker::{Consumed, KAFKA_REPEATS, assert_at_rest, check, spool_files};
use super::scenes::await_draining;
use super::senders::Senders;
use crate::cluster::Cluster;
use crate::node::Node;
use crate::process::{Process, await_some};
use crate::readme::explained;

/// A small file system in memory, on a directory. Mounting takes root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let dir = tempfile::TempDir::new().expect("a directory can be made");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a file system can be mounted, as root"
        );
        SmallDisk(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn row_29_a_full_disk_is_a_503_and_recovers_by_itself() {
    const TOPIC: &str = "minchat.message.sent.v1";
    let (node, disk) = (Node::kafka(&[]), SmallDisk::new("6m"));
    let servers = node.env("KAFKA_BOOTSTRAP_SERVERS");
    node.stop();
    let bridge = Process::start(&format!(
        "sources: {{minchat: {{auth: {{none: true}}}}}}\n\
         kafka:\n  bootstrap_servers: {servers}\n  create_topics: {{partitions: 3, replication_factor: 1}}\n\
         spool: {{dir: {}}}\n",
        disk.0.path().display()
    ));
    bridge.await_ready();
    let senders = Senders::start(bridge.webhooks(), 8);
    senders.await_spooled(100);
    senders.await_refused(100);
    let refused = bridge.post(&crate::payload::message("chat0", "0"));
    assert_eq!(refused.status, 503);
    bridge.await_log(&[
        "ERROR",
        TOPIC,
        explained("the spool takes no more events: webhooks that need it get a 503"),
    ]);
    assert_eq!(bridge.ask("/readyz").0, 503, "it takes nothing");
    node.start();
    await_draining(&bridge);
    senders.await_accepted(500);
    let ledger = senders.end();
    assert!(
        ledger.refused.iter().all(|status| *status == 503),
        "{:?}",
        ledger.refused
    );
    bridge.await_metric(&["lane_pending_events"], 0.0);
    let records = Cluster::at(&servers).read(TOPIC);
    let consumed: Vec<_> = records
        .into_iter()
        .map(|record| Consumed(record.raw))
        .collect();
    check(&ledger, &consumed, KAFKA_REPEATS);
    assert_at_rest(&bridge);
    await_some("G: the spool's files gone", || {
        spool_files(disk.0.path()).is_empty().then_some(())
    });
    assert_eq!(bridge.ask("/readyz").0, 200);
}
