//! What a program is preloaded with, so that its machine is as a test wants it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `tests/faults/<name>.c` into a library in this directory.
pub fn build(name: &str, dir: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = dir.join(name).with_extension("so");
    let built = Command::new("cc")
        .args([
            "-std=c11", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o",
        ])
        .arg(&library)
        .arg(root.join("tests/faults").join(name).with_extension("c"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "it is built");
    library
}
