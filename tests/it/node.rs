//! A broker of a test's own, that it may stop, kill, freeze and bring back.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use tempfile::TempDir;

/// A node run by one of the scripts under `tests/brokers`.
pub struct Node {
    script: PathBuf,
    dir: PathBuf,
    /// What its directory lies in, or is.
    _home: Arc<TempDir>,
    /// What the script finds in its environment besides.
    variables: Vec<(&'static str, String)>,
}

impl Node {
    pub fn kafka(options: &[&str]) -> Self {
        Self::start_new("kafka", options)
    }

    /// A Kafka whose JVM gets these arguments too.
    #[cfg(feature = "oauth")]
    pub fn kafka_with(jvm_arguments: &str, options: &[&str]) -> Self {
        Self::start_with("kafka", options, &[("KAFKA_JVM_ARGS", jvm_arguments)])
    }

    pub fn rabbitmq(options: &[&str]) -> Self {
        Self::start_new("rabbitmq", options)
    }

    /// Kafka nodes of one cluster, the first with the id 1.
    pub fn kafka_cluster(nodes: usize) -> Vec<Self> {
        let home = home("kafka");
        let of = |node: usize| Node {
            script: script("kafka"),
            dir: home.path().join(node.to_string()),
            _home: Arc::clone(&home),
            variables: vec![("KAFKA_JVM_ARGS", "-Xmx256m".to_owned())],
        };
        let all: Vec<_> = (1..=nodes).map(of).collect();
        let started = all[0].call_on(home.path(), "cluster", &[&nodes.to_string()]);
        printed("cluster", started);
        all
    }

    fn start_new(broker: &str, options: &[&str]) -> Self {
        Self::start_with(broker, options, &[])
    }

    fn start_with(broker: &str, options: &[&str], variables: &[(&'static str, &str)]) -> Self {
        let home = home(broker);
        let variables = variables
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let node = Node {
            script: script(broker),
            dir: home.path().to_owned(),
            _home: home,
            variables: variables.collect(),
        };
        node.run("start", options);
        node
    }

    /// What it keeps its files in.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Calls the script. What it prints is given back.
    pub fn run(&self, verb: &str, arguments: &[&str]) -> String {
        printed(verb, self.call(verb, arguments))
    }

    fn call(&self, verb: &str, arguments: &[&str]) -> Output {
        self.call_on(&self.dir, verb, arguments)
    }

    fn call_on(&self, dir: &Path, verb: &str, arguments: &[&str]) -> Output {
        let output = Command::new(&self.script)
            .arg(verb)
            .arg(dir)
            .args(arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .output();
        output.expect("the script can be run")
    }

    pub fn is_running(&self) -> bool {
        self.call("status", &[]).status.success()
    }

    pub fn start(&self) {
        self.run("start", &[]);
    }

    pub fn kill(&self) {
        self.run("kill", &[]);
    }

    pub fn stop(&self) {
        self.run("stop", &[]);
    }

    pub fn pause(&self) {
        self.run("pause", &[]);
    }

    pub fn resume(&self) {
        self.run("resume", &[]);
    }

    /// The value of a line `export NAME=VALUE` of the script's `env`.
    pub fn env(&self, name: &str) -> String {
        let lines = self.run("env", &[]);
        let line = lines
            .lines()
            .find_map(|line| line.strip_prefix(&format!("export {name}=")));
        line.unwrap_or_else(|| panic!("no {name} in {lines}"))
            .trim_matches(['\'', '"'])
            .to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already; `stop` ends what a killed one leaves, such as a port mapper.
        for verb in ["kill", "stop"] {
            self.call(verb, &[]);
        }
    }
}

/// What the script printed, if all went well.
fn printed(verb: &str, output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{verb}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn script(broker: &str) -> PathBuf {
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/brokers");
    scripts.join(broker)
}

/// A directory for what a broker keeps.
fn home(broker: &str) -> Arc<TempDir> {
    let parent = std::env::var_os("MINCHAT_BRIDGE_TEST_BROKERS_DIR")
        .map_or(std::env::temp_dir(), PathBuf::from);
    let dir = TempDir::with_prefix_in(format!("{broker}-"), parent);
    Arc::new(dir.expect("a directory can be made"))
}
