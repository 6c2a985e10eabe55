//! Reading dead letters from files.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::errors::failure;
use crate::publish::{Failure, Then};

/// Gives each line of a file to `take`, without its line feed; the last one only if it is whole. A
/// file that is not there has none. Nothing is taken out.
///
/// # Errors
/// When it can't be read.
pub async fn read(path: &Path, take: &mut impl AsyncFnMut(&[u8]) -> Then) -> Result<(), Failure> {
    let failed = |error| failure(path, &error);
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => BufReader::new(opened.map_err(failed)?),
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        file.read_until(b'\n', &mut line).map_err(failed)?;
        let Some(whole) = line.strip_suffix(b"\n") else {
            return Ok(());
        };
        if take(whole).await == Then::Stop {
            return Ok(());
        }
    }
}

/// Gives each file of a directory whose name ends in `.json`, in the order of their names, to
/// `take`. Without the directory there is none. Nothing is taken out.
///
/// # Errors
/// When one can't be read.
pub async fn read_kept(
    dir: &Path,
    take: &mut impl AsyncFnMut(&[u8]) -> Then,
) -> Result<(), Failure> {
    let failed = |error| failure(dir, &error);
    let listed = match dir.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(failed)?,
    };
    let paths: io::Result<Vec<_>> = listed.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort_unstable();
    for path in paths {
        let envelope = std::fs::read(&path).map_err(|error| failure(&path, &error))?;
        if take(&envelope).await == Then::Stop {
            break;
        }
    }
    Ok(())
}
