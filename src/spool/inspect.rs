//! A look into a spool from outside, also while a bridge works in it: nothing is changed.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::OpenError;
use super::disk::{Disk, ReadOnlyDisk, RealDisk};
use super::format::{BadHeader, HEADER, Header};
use super::lock::Lock;
use super::mark;
use super::queue::Name;
use super::recovery::{QUARANTINE, clear, segments, whole};
use super::segment::scan;

/// What a queue holds.
#[derive(Debug)]
pub struct Inspected {
    /// Its name.
    pub name: Name,
    /// Records that are not done.
    pub events: u64,
    /// What it takes up on disk, in bytes.
    pub bytes: u64,
    /// When the first of them was received, in microseconds since 1970.
    pub oldest: Option<u64>,
    /// When the last of them was received, in microseconds since 1970.
    pub newest: Option<u64>,
    /// Segments of it.
    pub segments: u64,
    /// Corrupt places that are still in it.
    pub corrupt: u64,
}

/// A record that is not done.
#[derive(Debug)]
pub struct Record<'a> {
    /// The name of its queue.
    pub queue: &'a Name,
    /// Its number.
    pub number: u64,
    /// When its event was received, in microseconds since 1970.
    pub received: u64,
    /// Its body.
    pub body: &'a [u8],
}

/// Looks at every queue, and shows each record that is not done, in order, until it is told to
/// stop. What is being appended or removed meanwhile is seen or not.
///
/// # Errors
/// When a directory or a file can't be read, or a later release wrote it.
pub fn inspect(
    dir: &Path,
    mut see: impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<Vec<Inspected>, OpenError> {
    let mut queues = Vec::new();
    let mut names = match RealDisk.list(dir) {
        Ok(names) => names,
        Err(error) => return Err(OpenError::io(dir, error)),
    };
    names.sort_unstable();
    for name in names {
        let path = dir.join(&name);
        if name == QUARANTINE || name == "dead-letters" || !path.is_dir() {
            continue;
        }
        if let Some(queue) = look(&path, &mut see)? {
            queues.push(queue);
        }
    }
    Ok(queues)
}

fn look(
    dir: &Path,
    see: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<Option<Inspected>, OpenError> {
    let Some(listed) = there(segments(&RealDisk, dir), dir)? else {
        return Ok(None);
    };
    // The mark first: what it passes while the segments are read is shown all the same.
    let path = dir.join(mark::FILE);
    let mark = match there(ReadOnlyDisk::open(&path), &path)? {
        Some(file) => mark::read(&*file)
            .map_err(|error| OpenError::io(&path, error))?
            .unwrap_or(0),
        None => 0,
    };
    let mut inspected: Option<Inspected> = None;
    let mut corrupt = 0;
    for (place, (_, path)) in listed.iter().enumerate() {
        let until = listed.get(place + 1).map(|(first, _)| *first);
        let read = there(ReadOnlyDisk::open(path), path)?.map(|file| whole(&*file));
        let Some(bytes) = read
            .transpose()
            .map_err(|error| OpenError::io(path, error))?
        else {
            continue;
        };
        let mut page = bytes[..bytes.len().min(HEADER)].to_vec();
        page.resize(HEADER, 0);
        let header = match Header::read(&page) {
            Ok(header) => header,
            Err(BadHeader::Version(version)) => {
                return Err(OpenError::Newer {
                    path: path.clone(),
                    version,
                });
            }
            Err(BadHeader::Corrupt) => {
                corrupt += u64::from(bytes.iter().any(|byte| *byte != 0));
                continue;
            }
        };
        let Some(name) = Name::new(header.name.clone()) else {
            continue;
        };
        let scan = scan(&bytes, &header, until);
        let queue = inspected.get_or_insert(Inspected {
            name,
            events: 0,
            bytes: 0,
            oldest: None,
            newest: None,
            segments: 0,
            corrupt: 0,
        });
        queue.segments += 1;
        queue.bytes += bytes.len() as u64;
        queue.corrupt += scan.corrupt;
        for record in scan.records.iter().filter(|record| record.number >= mark) {
            queue.events += 1;
            queue.oldest = queue.oldest.or(Some(record.received));
            queue.newest = Some(record.received);
            let shown = see(Record {
                queue: &queue.name,
                number: record.number,
                received: record.received,
                body: &bytes[record.body..record.end],
            });
            if shown.is_break() {
                return Ok(inspected);
            }
        }
    }
    if let Some(queue) = &mut inspected {
        queue.corrupt += corrupt;
    }
    Ok(inspected)
}

/// What is not there any more is no error: the bridge removes what is done.
fn there<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, OpenError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::io(path, error)),
    }
}

/// Gives up all that a queue holds: the directory of this name is removed. Returns how many events
/// that were; none if there is no such queue.
///
/// # Errors
/// When a bridge works in the spool, or the disk fails.
pub fn discard(dir: &Path, name: &Name) -> Result<Option<u64>, OpenError> {
    let _lock = Lock::take(dir)?;
    let queues = inspect(dir, |_| ControlFlow::Continue(()))?;
    let Some(queue) = queues.into_iter().find(|queue| queue.name == *name) else {
        return Ok(None);
    };
    let path = dir.join(name.directory());
    clear(&RealDisk, dir, &path).map_err(|error| OpenError::io(&path, error))?;
    Ok(Some(queue.events))
}
