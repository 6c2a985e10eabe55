//! A RabbitMQ that a test may break.

use std::sync::{Arc, Mutex, Weak};

use uuid::Uuid;

use crate::node::Node as AnyNode;

/// Ends with the test.
pub struct Node {
    node: AnyNode,
    pub url: String,
}

/// A user with a virtual host of its own, on a node that others use too. User, password and virtual
/// host have the same name.
pub struct Tenant {
    node: Arc<Node>,
    pub name: String,
    pub url: String,
}

impl Tenant {
    /// What its node takes in one message.
    pub const MAX_MESSAGE: usize = 65_536;

    /// With all rights.
    pub fn new() -> Self {
        static NODE: Mutex<Weak<Node>> = Mutex::new(Weak::new());
        let mut shared = NODE.lock().expect("nobody panics with it");
        // It lives for as long as any test uses it.
        let node = shared.upgrade().unwrap_or_else(|| {
            let max_message = format!("max_message_size = {}", Self::MAX_MESSAGE);
            Arc::new(Node::with(&[&max_message]))
        });
        *shared = Arc::downgrade(&node);
        drop(shared);
        let name = Uuid::now_v7().simple().to_string();
        let address = node.url.split_once('@').expect("guest comes first").1;
        let url = address.replace("%2f", &name);
        let tenant = Tenant {
            url: format!("amqp://{name}:{name}@{url}"),
            node,
            name,
        };
        tenant.eval(
            "ok = rabbit_vhost:add(NAME, BY),
             ok = rabbit_auth_backend_internal:add_user(NAME, NAME, BY),
             [rabbit_auth_backend_internal:set_permissions(User, NAME, ALL, ALL, ALL, BY)
              || User <- [NAME, <<\"guest\">>]]",
        );
        tenant
    }

    /// The same virtual host, as the user who may do everything there.
    pub fn owner_url(&self) -> String {
        let as_guest = format!(
            "guest:guest@{}",
            self.url.split_once('@').expect("it has a user").1
        );
        format!("amqp://{as_guest}")
    }

    /// Where its node listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.node.address()
    }

    /// To configure, to write, to read: regular expressions of names.
    pub fn permit(&self, configure: &str, write: &str, read: &str) {
        let rights = [configure, write, read]
            .map(|right| format!("<<\"{right}\">>"))
            .join(", ");
        self.eval(&format!(
            "rabbit_auth_backend_internal:set_permissions(NAME, NAME, {rights}, BY)"
        ));
    }

    /// As an operator closes them.
    pub fn close_connections(&self) {
        self.node.run(
            "ctl",
            &["close_all_connections", "-p", &self.name, "by the operator"],
        );
    }

    pub fn connections(&self) -> usize {
        let listed = self.node.run("ctl", &["-q", "list_connections", "vhost"]);
        listed.lines().filter(|vhost| *vhost == self.name).count()
    }

    /// One expression, because each is a start of rabbitmqctl.
    fn eval(&self, expression: &str) {
        let name = format!("<<\"{}\">>", self.name);
        let expression = expression.replace("NAME", &name);
        let expression = expression
            .replace("ALL", "<<\".*\">>")
            .replace("BY", "<<\"test\">>");
        self.node
            .run("ctl", &["-q", "eval", &format!("{expression}.")]);
    }
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

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        let address = self.url.split(['@', '/']).nth(3);
        let address = address.and_then(|address| address.parse().ok());
        address.expect("a URL has an address after the user")
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

    pub fn set_memory_limit(&self, share: &str) {
        self.run("ctl", &["set_vm_memory_high_watermark", share]);
    }

    /// Calls rabbitmqctl.
    pub fn ctl(&self, words: &[&str]) -> String {
        self.run("ctl", words)
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> String {
        self.node.run(verb, arguments)
    }
}
