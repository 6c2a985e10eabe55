//! A RabbitMQ that a test may break.

use crate::node::Node as AnyNode;

/// Ends with the test.
pub struct Node {
    node: AnyNode,
    pub url: String,
}

impl Node {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these lines of `rabbitmq.conf`.
    pub fn with(lines: &[&str]) -> Self {
        let set: Vec<&str> = lines.iter().flat_map(|line| ["--set", line]).collect();
        let node = AnyNode::rabbitmq(&set);
        let url = node.env("AMQP_URL");
        Node { node, url }
    }

    pub fn start_again(&self) {
        self.node.start();
    }

    /// Brings what was declared to disk: RabbitMQ 3.10 loses the leader of a quorum queue that is
    /// declared within seconds of a SIGKILL.
    pub fn sync(&self) {
        self.node.run("sync", &[]);
    }

    pub fn kill(&self) {
        self.node.kill();
    }

    pub fn pause(&self) {
        self.node.pause();
    }

    pub fn resume(&self) {
        self.node.resume();
    }

    pub fn ctl(&self, arguments: &[&str]) -> String {
        self.node.run("ctl", arguments)
    }

    /// The node's address with another user.
    pub fn url_as(&self, user: &str) -> String {
        self.url.replace("guest:guest@", &format!("{user}@"))
    }

    pub fn connections(&self) -> usize {
        let listed = self.ctl(&["-q", "list_connections", "pid"]);
        listed.lines().filter(|line| line.starts_with('<')).count()
    }
}
