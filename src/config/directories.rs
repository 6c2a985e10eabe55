//! Whether the bridge's directories are apart.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::judge::{Judge, at};

/// How many symbolic links are followed in one path, as on Linux.
const MAX_LINKS: usize = 40;

pub(super) fn check(judge: &mut Judge<'_>) {
    let Some(file) = &judge.config.file else {
        return;
    };
    let spool = &judge.config.spool;
    let (file_dir, spool_dir) = (resolve(&file.dir), resolve(&spool.dir));
    let wrong = if is_same(&file_dir, &spool_dir) {
        "file.dir and spool.dir are one directory"
    } else if spool.max_size == 0 {
        // Nothing is made in spool.dir.
        return;
    } else if is_inside(&file_dir, &spool_dir) {
        "file.dir is inside spool.dir"
    } else if is_inside(&spool_dir, &file_dir) {
        "spool.dir is inside file.dir"
    } else {
        return;
    };
    judge.refuse(
        &[at("file.dir"), at("spool.dir")],
        format!(
            "{wrong}: they are {} and {}",
            file_dir.display(),
            spool_dir.display()
        ),
        "give each a directory of its own, such as ./data/events and ./data/spool",
    );
}

/// The absolute path, without symbolic links and `..`. What is not there yet is taken as it would be made.
fn resolve(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::from("/");
    let mut rest = VecDeque::new();
    put_first(&mut rest, path);
    if path.is_relative()
        && let Ok(current) = std::env::current_dir()
    {
        put_first(&mut rest, &current);
    }
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => resolved = PathBuf::from("/"),
            Some(Component::ParentDir) => drop(resolved.pop()),
            Some(Component::Normal(name)) => {
                let next = resolved.join(name);
                match std::fs::read_link(&next) {
                    Ok(target) if links < MAX_LINKS => {
                        links += 1;
                        put_first(&mut rest, &target);
                    }
                    _ => resolved = next,
                }
            }
            _ => {}
        }
    }
    resolved
}

fn put_first(rest: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev() {
        rest.push_front(part.as_os_str().to_owned());
    }
}

fn is_inside(inner: &Path, outer: &Path) -> bool {
    let mut above = inner.ancestors().skip(1);
    above.any(|above| is_same(above, outer))
}

/// One directory can have several paths, as by a bind mount.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let about = path.metadata().ok()?;
        Some((about.dev(), about.ino()))
    };
    one == other || identity(one).is_some_and(|known| identity(other) == Some(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_resolved_over_links_and_dots_also_where_nothing_is_yet() {
        let home = tempfile::tempdir().expect("a directory can be made");
        let home = home.path().canonicalize().expect("it is there");
        std::fs::create_dir(home.join("real")).expect("there is room");
        for (link, target) in [
            ("link", "real"),
            ("dangling", "later/on"),
            ("round", "round"),
        ] {
            std::os::unix::fs::symlink(target, home.join(link)).expect("there is room");
        }
        for (path, expected) in [
            ("real/spool", "real/spool"),
            ("link/spool", "real/spool"),
            ("link/../spool", "spool"),
            ("new/../link/./spool/", "real/spool"),
            ("dangling/spool", "later/on/spool"),
            ("round/spool", "round/spool"),
        ] {
            assert_eq!(resolve(&home.join(path)), home.join(expected), "{path}");
        }
        assert!(is_inside(&home.join("a/b/c"), &home.join("a")));
        assert!(!is_inside(&home.join("ab"), &home.join("a")));
        assert!(!is_inside(&home.join("a"), &home.join("a")));
    }
}
