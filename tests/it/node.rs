//! A broker of a test's own, that it may stop, kill, freeze and bring back.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A node run by one of the scripts under `tests/brokers`.
pub struct Node {
    script: PathBuf,
    dir: TempDir,
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

    fn start_new(broker: &str, options: &[&str]) -> Self {
        Self::start_with(broker, options, &[])
    }

    fn start_with(broker: &str, options: &[&str], variables: &[(&'static str, &str)]) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/brokers")
            .join(broker);
        let parent = std::env::var_os("MINCHAT_BRIDGE_TEST_BROKERS_DIR")
            .map_or(std::env::temp_dir(), PathBuf::from);
        let dir =
            TempDir::with_prefix_in(format!("{broker}-"), parent).expect("a directory can be made");
        let variables = variables
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let node = Node {
            script,
            dir,
            variables: variables.collect(),
        };
        node.run("start", options);
        node
    }

    /// Calls the script. What it prints is given back.
    pub fn run(&self, verb: &str, arguments: &[&str]) -> String {
        let output = Command::new(&self.script)
            .arg(verb)
            .arg(self.dir.path())
            .args(arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .output();
        let output = output.expect("the script can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb} {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
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
            let _ = Command::new(&self.script)
                .arg(verb)
                .arg(self.dir.path())
                .output();
        }
    }
}
