//! Where a command takes its configuration from.

use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit;
use crate::config::{self, Inputs, Loaded};

/// What is read when no file is named, if it is there.
pub(super) const DEFAULT_FILE: &str = "/etc/minchat-bridge/config.yaml";

/// The flags of every command that reads the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct SettingsArgs {
    /// The configuration, in YAML [default: /etc/minchat-bridge/config.yaml if it is there].
    #[arg(long, value_name = "FILE", env = "MINCHAT_BRIDGE_CONFIG")]
    config: Option<OsString>,

    /// Sets one setting, such as http.listen=127.0.0.1:9000. Can be repeated.
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl SettingsArgs {
    /// Where the configuration is: read again on SIGHUP.
    pub(super) fn inputs(&self) -> Inputs {
        let named = self.config.as_ref().map(PathBuf::from);
        let default = || default_file(Path::new(DEFAULT_FILE));
        let text = |os: OsString| os.to_string_lossy().into_owned();
        Inputs {
            file: named.or_else(default),
            set: self.set.clone(),
            env: env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        }
    }

    /// Reads the configuration. What is wrong with it is told here, on stderr.
    pub(super) fn load(&self) -> Result<Loaded, ExitCode> {
        config::load(&self.inputs()).map_err(|problems| {
            note!("minchat-bridge: {problems}");
            ExitCode::from(exit::CONFIGURATION)
        })
    }
}

/// The file that is read when none is named. A file that is there and can't be read, or a link to one that is gone, is
/// still named, so that it is told: without a file, whoever reaches the loopback listener is let in.
fn default_file(path: &Path) -> Option<PathBuf> {
    let is_absent =
        matches!(path.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound);
    (!is_absent).then(|| path.to_owned())
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err("it is not of the form PATH=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_default_file_that_is_not_there_is_none() {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let at = |name: &str| dir.path().join(name);
        assert_eq!(default_file(&at("config.yaml")), None);
        assert_eq!(default_file(&at("no-directory/config.yaml")), None);
        std::os::unix::fs::symlink("gone", at("link")).expect("it can be made");
        std::fs::write(at("file"), "").expect("there is room for a file");
        for there in [
            at("link"),
            at("file"),
            at("file/config.yaml"),
            dir.path().to_owned(),
        ] {
            assert_eq!(default_file(&there), Some(there.clone()));
        }
    }
}
