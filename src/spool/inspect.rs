//! A look into a spool from outside, also while a bridge works in it: nothing is changed.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::disk::{Disk, DiskFile, ReadOnlyDisk, RealDisk};
use super::format::{BadHeader, HEADER, Header};
use super::mark;
use super::queue::Name;
use super::recovery::{QUARANTINE, segments, whole};
use super::segment::{Scan, scan};

/// What a queue holds.
#[derive(Debug, Default)]
pub struct Inspected {
    /// Its name; none if no segment of it tells.
    pub name: Option<Name>,
    /// Its directory.
    pub dir: PathBuf,
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
    /// Segments that are corrupt, each with how many places in it are.
    pub corrupt: Vec<(PathBuf, u64)>,
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
/// When a directory or a file can't be read, or a later release wrote it. That there is no such
/// directory is none: there is no queue either.
pub fn inspect(
    dir: &Path,
    mut see: impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<Vec<Inspected>, OpenError> {
    let mut queues = Vec::new();
    let mut names = there(RealDisk.list(dir), dir)?.unwrap_or_default();
    names.sort_unstable();
    for name in names {
        let path = dir.join(&name);
        if name == QUARANTINE || name == "dead-letters" || !path.is_dir() {
            continue;
        }
        let mut queue = Inspected {
            dir: path,
            ..Inspected::default()
        };
        let enough = look(&mut queue, &mut see)?.is_break();
        if queue.segments > 0 || !queue.corrupt.is_empty() {
            queues.push(queue);
        }
        if enough {
            break;
        }
    }
    Ok(queues)
}

/// What recovery set aside because it was corrupt: each file with its size in bytes.
///
/// # Errors
/// When it can't be read.
pub fn quarantine(dir: &Path) -> Result<Vec<(PathBuf, u64)>, OpenError> {
    let dir = dir.join(QUARANTINE);
    let mut files = Vec::new();
    for name in there(RealDisk.list(&dir), &dir)?.unwrap_or_default() {
        let path = dir.join(name);
        if let Some(about) = there(path.metadata(), &path)? {
            files.push((path, about.len()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn look(
    queue: &mut Inspected,
    see: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, OpenError> {
    let Some(listed) = there(segments(&RealDisk, &queue.dir), &queue.dir)? else {
        return Ok(ControlFlow::Continue(()));
    };
    // The mark first: what it passes while the segments are read is shown all the same.
    let path = queue.dir.join(mark::FILE);
    let mark = match there(ReadOnlyDisk::open(&path), &path)? {
        Some(file) => mark::read(&*file)
            .map_err(|error| OpenError::io(&path, error))?
            .unwrap_or(0),
        None => 0,
    };
    for (place, (_, path)) in listed.iter().enumerate() {
        let until = listed.get(place + 1).map(|(first, _)| *first);
        let Some(file) = there(ReadOnlyDisk::open(path), path)? else {
            continue;
        };
        if queue.look_at(&*file, path, until, mark, see)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

impl Inspected {
    fn look_at(
        &mut self,
        file: &dyn DiskFile,
        path: &Path,
        until: Option<u64>,
        mark: u64,
        see: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, OpenError> {
        let io = |error| OpenError::io(path, error);
        let mut bytes = whole(file).map_err(io)?;
        let header = match header(&bytes) {
            Err(BadHeader::Corrupt) => {
                // It may have been being made.
                bytes = whole(file).map_err(io)?;
                header(&bytes)
            }
            read => read,
        };
        let header = match header {
            Ok(header) => header,
            Err(BadHeader::Version(version)) => {
                return Err(OpenError::Newer {
                    path: path.to_owned(),
                    version,
                });
            }
            Err(BadHeader::Corrupt) => {
                if bytes.iter().any(|byte| *byte != 0) {
                    self.corrupt.push((path.to_owned(), 1));
                }
                return Ok(ControlFlow::Continue(()));
            }
        };
        let Some(name) = Name::new(header.name.clone()) else {
            return Ok(ControlFlow::Continue(()));
        };
        self.segments += 1;
        self.bytes += bytes.len() as u64;
        let scan = settled(file, &mut bytes, &header, until).map_err(io)?;
        if scan.corrupt > 0 {
            self.corrupt.push((path.to_owned(), scan.corrupt));
        }
        let name = &*self.name.insert(name);
        for record in scan.records.iter().filter(|record| record.number >= mark) {
            self.events += 1;
            self.oldest = self.oldest.or(Some(record.received));
            self.newest = Some(record.received);
            let shown = see(Record {
                queue: name,
                number: record.number,
                received: record.received,
                body: &bytes[record.body..record.end],
            });
            if shown.is_break() {
                return Ok(shown);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn header(bytes: &[u8]) -> Result<Header, BadHeader> {
    let mut page = bytes[..bytes.len().min(HEADER)].to_vec();
    page.resize(HEADER, 0);
    Header::read(&page)
}

/// The records of a segment that a bridge may be appending to. A reader that is overtaken sees what
/// was written behind a place and not what was written in it: what looks corrupt is read once more,
/// as far as the first look reached.
fn settled(
    file: &dyn DiskFile,
    bytes: &mut Vec<u8>,
    header: &Header,
    until: Option<u64>,
) -> io::Result<Scan> {
    let first = scan(bytes, header, until);
    if first.corrupt == 0 {
        return Ok(first);
    }
    let mut again = whole(file)?;
    // Cut by the bridge, since its disk failed: nobody was told of what stood there.
    again.truncate(first.end);
    *bytes = again;
    Ok(scan(bytes, header, until))
}

/// What is not there any more is no error: the bridge removes what is done.
fn there<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, OpenError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::io(path, error)),
    }
}
