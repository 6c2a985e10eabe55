//! A RabbitMQ that a test may break.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Ends with the test.
pub struct Node {
    home: TempDir,
    pub url: String,
}

impl Node {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these lines of `rabbitmq.conf`.
    pub fn with(lines: &[&str]) -> Self {
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

    pub fn ctl(&self, arguments: &[&str]) -> String {
        self.run("ctl", arguments)
    }

    /// The node's address with another user.
    pub fn url_as(&self, user: &str) -> String {
        self.url.replace("guest:guest@", &format!("{user}@"))
    }

    pub fn connections(&self) -> usize {
        let listed = self.ctl(&["-q", "list_connections", "pid"]);
        listed.lines().filter(|line| line.starts_with('<')).count()
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
