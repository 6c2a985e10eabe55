//! A look into a spool from outside, also while a bridge works in it: nothing is changed.

use std::fs::Metadata;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, ReadOnlyDisk, RealDisk};
use super::error::OpenError;
use super::format::{BadHeader, HEADER, Header, ReadHeader};
use super::mark::{self, Marks};
use super::names::{DEAD_LETTERS, LOCK, Name, QUARANTINE, is_queue, segments, set_aside};
use super::recovery::{corrupt_places, header, whole};
use super::segment::{Bounds, Scan, scan};

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
    /// Segments and marks that are corrupt, each with how many places in it are.
    pub corrupt: Vec<(PathBuf, u64)>,
    /// Records that the queue should hold in segments that are empty, or not there: one was cut short, or removed.
    pub missing: u64,
}

impl Inspected {
    /// Whether all that should be there can be read.
    pub fn is_whole(&self) -> bool {
        self.corrupt.is_empty() && self.missing == 0
    }
}

/// A file of the quarantine.
#[derive(Debug)]
pub struct SetAside {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The name of the queue that it was taken from; none if nothing in it can be read.
    pub queue: Option<Name>,
    /// Records of it that can be read.
    pub events: u64,
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

/// The absolute path of the directory of a spool. An empty directory is a spool too, in which no bridge has worked yet.
///
/// # Errors
/// When there is no such directory, it can't be read, or there are other things in it and nothing of a spool.
pub fn locate(dir: &Path) -> Result<PathBuf, OpenError> {
    let dir = std::path::absolute(dir).map_err(|error| OpenError::io(dir, error))?;
    let is_ours = |name: &str| [LOCK, QUARANTINE, DEAD_LETTERS].contains(&name) || is_queue(name);
    // What file systems and storage drivers put into a new volume.
    let is_the_systems = |name: &str| name == "lost+found" || name.starts_with('.');
    let is_spool = there(RealDisk.list(&dir), &dir)?.is_some_and(|names| {
        names.iter().any(|name| is_ours(name)) || names.iter().all(|name| is_the_systems(name))
    });
    match is_spool {
        true => Ok(dir),
        false => Err(OpenError::Absent { dir }),
    }
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
        if !is_queue(&name) || !path.is_dir() {
            continue;
        }
        let mut queue = Inspected {
            dir: path,
            ..Inspected::default()
        };
        let enough = look(&mut queue, &mut see)?.is_break();
        if queue.segments > 0 || !queue.is_whole() {
            queues.push(queue);
        }
        if enough {
            break;
        }
    }
    Ok(queues)
}

/// What was set aside because it was corrupt, by the names of the files. Each record that can be read is shown, until
/// `see` wants no more. A copy holds also what is still in its queue, or was published from it.
///
/// # Errors
/// When a file can't be read.
pub fn quarantine(
    dir: &Path,
    mut see: impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<Vec<SetAside>, OpenError> {
    let dir = dir.join(QUARANTINE);
    let mut files = Vec::new();
    let mut names = there(RealDisk.list(&dir), &dir)?.unwrap_or_default();
    names.sort_unstable();
    for name in names {
        let path = dir.join(&name);
        // A copy that was never completed has another name.
        if self::set_aside(&name).is_none() {
            continue;
        }
        let Some(about) = there(path.metadata(), &path)?.filter(Metadata::is_file) else {
            continue;
        };
        let mut file = SetAside {
            path,
            bytes: about.len(),
            queue: None,
            events: 0,
        };
        let enough = file.look(&name, &mut see)?.is_break();
        files.push(file);
        if enough {
            break;
        }
    }
    Ok(files)
}

impl SetAside {
    fn look(
        &mut self,
        name: &str,
        see: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, OpenError> {
        let bytes = there(std::fs::read(&self.path), &self.path)?.unwrap_or_default();
        let start = &bytes[..bytes.len().min(HEADER)];
        let salvaged = || Header::salvage(&bytes, set_aside(name)?.1, set_aside(name)?.0, None);
        let Some(read) = Header::read(start).ok().or_else(salvaged) else {
            return Ok(ControlFlow::Continue(()));
        };
        let Some(queue) = Name::new(read.header.name.clone()) else {
            return Ok(ControlFlow::Continue(()));
        };
        // All that is whole was written once.
        let bounds = Bounds {
            until: Some(u64::MAX),
            synced: 0,
        };
        let queue = &*self.queue.insert(queue);
        for record in scan(&bytes, &read, bounds).records {
            self.events += 1;
            let shown = see(Record {
                queue,
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

fn look(
    queue: &mut Inspected,
    see: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, OpenError> {
    // The mark first: what it passes while the segments are read is shown all the same, and what it says is synced is there.
    let marks = marks(&queue.dir)?;
    let Some(names) = there(RealDisk.list(&queue.dir), &queue.dir)? else {
        return Ok(ControlFlow::Continue(()));
    };
    let listed = segments(&names, &queue.dir);
    let first = listed.first().map_or(0, |(first, _)| *first);
    // What was seen, or should have been, is below this number.
    let mut next = marks.done.unwrap_or(first);
    for (place, (first, path)) in listed.iter().enumerate() {
        let bounds = Bounds {
            until: listed.get(place + 1).map(|(first, _)| *first),
            synced: marks.synced,
        };
        let file = match ReadOnlyDisk::open(path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                queue.corrupt.push((path.clone(), 1));
                continue;
            }
            opened => opened,
        };
        let Some(file) = there(file, path)? else {
            continue;
        };
        let segment = Segment {
            file: &*file,
            path,
            queue: marks.queue.as_ref(),
            first: *first,
            bounds,
            mark: marks.done.unwrap_or(0),
        };
        if queue.look_at(&segment, &mut next, see)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    // A bridge that works there may have made the mark meanwhile, or removed it behind the last segment.
    let has_segments = queue.name.is_some() && listed.iter().any(|(_, path)| path.exists());
    if marks.is_damaged(has_segments) && self::marks(&queue.dir)?.is_damaged(has_segments) {
        queue.corrupt.push((queue.dir.join(mark::FILE), 1));
    }
    // A bridge that works there may have removed what was done meanwhile, and begun the queue anew.
    queue.missing += marks.synced.saturating_sub(next);
    if queue.missing > 0 && self::marks(&queue.dir)? != marks {
        queue.missing = 0;
    }
    Ok(ControlFlow::Continue(()))
}

fn marks(dir: &Path) -> Result<Marks, OpenError> {
    let path = dir.join(mark::FILE);
    match there(ReadOnlyDisk::open(&path), &path)? {
        Some(file) => mark::read(&*file).map_err(|error| OpenError::io(&path, error)),
        None => Ok(Marks::default()),
    }
}

/// A segment to look at.
struct Segment<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    /// What the file of the queue's mark says of its segments.
    queue: Option<&'a Header>,
    first: u64,
    bounds: Bounds,
    /// All records below this number are done.
    mark: u64,
}

impl Inspected {
    fn look_at(
        &mut self,
        segment: &Segment<'_>,
        next: &mut u64,
        see: &mut impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, OpenError> {
        let Segment { file, path, .. } = *segment;
        let io = |error| OpenError::io(path, error);
        let directory = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let look = || header(file, segment.first, &directory, segment.queue).map_err(io);
        let mut found = look()?;
        if matches!(found, Err(BadHeader::Corrupt)) {
            // It may have been being made.
            found = look()?;
        }
        let read = match found {
            Ok(read) => read,
            Err(BadHeader::Version(version)) => {
                return Err(OpenError::Newer {
                    path: path.to_owned(),
                    version,
                });
            }
            Err(BadHeader::Unused) => return Ok(ControlFlow::Continue(())),
            Err(BadHeader::Corrupt) => {
                self.corrupt.push((path.to_owned(), 1));
                return Ok(ControlFlow::Continue(()));
            }
        };
        let Some(name) = Name::new(read.header.name.clone()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut bytes = whole(file).map_err(io)?;
        self.segments += 1;
        self.bytes += bytes.len() as u64;
        let scan = settled(file, &mut bytes, &read, segment.bounds).map_err(io)?;
        let corrupt = corrupt_places(&read, &scan);
        if corrupt > 0 {
            self.corrupt.push((path.to_owned(), corrupt));
        }
        // What a segment before this one held that is empty now.
        self.missing += segment.first.saturating_sub(*next);
        // What is missing behind the last record is among the corrupt places.
        *next = scan.next.max(segment.bounds.until.unwrap_or(0)).max(*next);
        let name = &*self.name.insert(name);
        for record in scan
            .records
            .iter()
            .filter(|record| record.number >= segment.mark)
        {
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

/// The records of a segment that a bridge may be appending to. A reader that is overtaken sees what
/// was written behind a place and not what was written in it: what looks corrupt is read once more,
/// as far as the first look reached.
fn settled(
    file: &dyn DiskFile,
    bytes: &mut Vec<u8>,
    read: &ReadHeader,
    bounds: Bounds,
) -> io::Result<Scan> {
    let first = scan(bytes, read, bounds);
    if first.corrupt == 0 {
        return Ok(first);
    }
    let mut again = whole(file)?;
    // Cut by the bridge, since its disk failed: nobody was told of what stood there.
    again.truncate(first.end);
    *bytes = again;
    Ok(scan(bytes, read, bounds))
}

/// What is not there any more is no error: the bridge removes what is done.
fn there<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, OpenError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::io(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::disk::Identity;
    use super::super::format::{RECORD_HEAD, begin_record, record_len, seal_record};
    use super::*;

    /// A file that is written to between one read and the next.
    struct Written(Mutex<Vec<Vec<u8>>>);

    impl DiskFile for Written {
        fn length(&self) -> io::Result<u64> {
            Ok(self.0.lock().expect("nobody panics with it")[0].len() as u64)
        }

        fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
            assert_eq!(at, 0, "it is read whole");
            let mut views = self.0.lock().expect("nobody panics with it");
            // The header alone is read before.
            let view = match views.len() == 1 || buffer.len() == HEADER {
                true => views[0].clone(),
                false => views.remove(0),
            };
            let length = buffer.len().min(view.len());
            buffer[..length].copy_from_slice(&view[..length]);
            Ok(length)
        }

        fn identity(&self) -> io::Result<Identity> {
            unreachable!("a look asks for no identity")
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            unreachable!("a look changes nothing")
        }

        fn cut(&self, _: u64) -> io::Result<()> {
            unreachable!("a look changes nothing")
        }

        fn sync(&self) -> io::Result<()> {
            unreachable!("a look changes nothing")
        }
    }

    const NAME: &str = "kafka\0topic";

    const HEAD: Header = Header {
        salt: 7,
        first: 0,
        name: String::new(),
    };

    fn three_writes() -> Vec<u8> {
        let mut bytes = Header {
            name: NAME.to_owned(),
            ..HEAD
        }
        .write();
        for number in 0..3 {
            let start = bytes.len();
            begin_record(&mut bytes, number, 1);
            bytes.extend_from_slice(b"body");
            bytes.resize(start + record_len(4), 0);
            seal_record(&mut bytes[start..], 4, HEAD.salt, true);
        }
        bytes
    }

    fn looked_at(views: Vec<Vec<u8>>) -> Inspected {
        let name = Name::new(NAME).expect("it is short");
        let mut queue = Inspected {
            dir: Path::new("/spool").join(name.directory()),
            ..Inspected::default()
        };
        let file = Written(Mutex::new(views));
        let segment = Segment {
            file: &file,
            path: Path::new("segment"),
            queue: None,
            first: 0,
            bounds: Bounds::default(),
            mark: 0,
        };
        let mut see = |_: Record<'_>| ControlFlow::Continue(());
        let looked = queue.look_at(&segment, &mut 0, &mut see);
        assert!(looked.is_ok_and(|more| more.is_continue()));
        queue
    }

    #[test]
    fn a_place_that_was_written_behind_the_reader_is_not_corrupt() {
        let whole = three_writes();
        let second = HEADER + record_len(4);
        let mut overtaken = whole.clone();
        overtaken[second..second + RECORD_HEAD].fill(0);
        let queue = looked_at(vec![overtaken.clone(), whole]);
        assert_eq!((queue.events, queue.corrupt.len()), (3, 0));

        let queue = looked_at(vec![overtaken]);
        assert_eq!((queue.events, queue.corrupt.len()), (2, 1));
    }
}
