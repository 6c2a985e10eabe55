//! A RabbitMQ that a test may break.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;
use uuid::Uuid;

/// Ends with the test.
pub struct Node {
    home: TempDir,
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
        let mut shared = NODE.lock().unwrap();
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
    fn with(lines: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("there is room for temporary files");
        let mut node = Node {
            home,
            url: String::new(),
        };
        let set: Vec<&str> = lines.iter().flat_map(|line| ["--set", line]).collect();
        node.run("start", &set);
        let env = node.run("env", &[]);
        let url = env
            .lines()
            .find_map(|line| line.strip_prefix("export AMQP_URL="));
        node.url = url.expect("`env` prints AMQP_URL").to_owned();
        node
    }

    pub fn start_again(&self) {
        self.run("start", &[]);
    }

    pub fn kill(&self) {
        self.run("kill", &[]);
    }

    pub fn pause(&self) {
        self.run("pause", &[]);
    }

    pub fn resume(&self) {
        self.run("resume", &[]);
    }

    /// The share of the memory that makes the alarm go off.
    pub fn set_memory_limit(&self, share: &str) {
        self.run("ctl", &["set_vm_memory_high_watermark", share]);
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> String {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/brokers/rabbitmq");
        let output = Command::new(script)
            .arg(verb)
            .arg(self.home.path().join("node"))
            .args(arguments)
            .output()
            .expect("the script is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{verb} {arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/brokers/rabbitmq");
        for verb in ["kill", "stop"] {
            // A test may have killed it; `stop` ends its port mapper too.
            let _ = Command::new(&script)
                .arg(verb)
                .arg(self.home.path().join("node"))
                .output();
        }
    }
}
