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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

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
            let view = match views.len() {
                1 => views[0].clone(),
                _ => views.remove(0),
            };
            buffer.copy_from_slice(&view[..buffer.len()]);
            Ok(buffer.len())
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

    const HEAD: Header = Header {
        salt: 7,
        first: 0,
        name: String::new(),
    };

    fn three_writes() -> Vec<u8> {
        let mut bytes = Header {
            name: "kafka\0topic".to_owned(),
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
        let mut queue = Inspected::default();
        let file = Written(Mutex::new(views));
        let looked = queue.look_at(&file, Path::new("segment"), None, 0, &mut |_| {
            ControlFlow::Continue(())
        });
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
