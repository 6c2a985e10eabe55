//! What was left on disk: read, repaired as far as it can be, and reported.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, is_no_file};
use super::error::OpenError;
use super::format::{BadHeader, HEADER, Header, ReadHeader, RecordAt, u64_at};
use super::mark::{self, MarkFile, Marks};
use super::names::{Name, QUARANTINE, is_queue, segments, set_aside_name};
use super::queue::View;
use super::segment::{Bounds, Scan, scan};
use super::usage::Usage;

/// A queue that was left on disk.
pub(super) struct Recovered {
    pub(super) name: Name,
    pub(super) dir: PathBuf,
    pub(super) views: Vec<View>,
    pub(super) mark: u64,
    pub(super) mark_file: Option<MarkFile>,
    /// What the salts of its segments are made from, if that is known.
    pub(super) salt: Option<u64>,
    /// What its segments take up, in bytes.
    pub(super) bytes: u64,
    /// When the first event that is not done was received.
    pub(super) oldest: Option<u64>,
}

/// Recovers one queue after the other.
pub(super) struct Recovery<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) root: &'a Path,
    pub(super) usage: &'a Usage,
    /// How many corrupt places were found.
    pub(super) corrupt: u64,
}

/// A directory whose name is that of a queue.
struct Directory {
    name: String,
    path: PathBuf,
    /// Segments that can be read, by the numbers of their first records.
    readable: Vec<(ReadHeader, PathBuf)>,
    /// What has the name of a segment, and no header that holds.
    unreadable: Vec<(u64, PathBuf)>,
    /// Segments that were being made when the machine went down.
    unused: Vec<PathBuf>,
    mark_file: Option<MarkFile>,
    marks: Marks,
}

impl Recovery<'_> {
    /// Reads what a directory holds: none if that is no queue of this program, or nothing that could be read.
    pub(super) fn queue(&mut self, name: &str) -> Result<Option<Recovered>, OpenError> {
        if !is_queue(name) {
            return Ok(None);
        }
        let Some(directory) = self.look(name)? else {
            return Ok(None);
        };
        // Only this program writes a header that names the directory it is in, and a mark with its checksum.
        if directory.readable.is_empty() && directory.marks.done.is_none() {
            self.leave(&directory);
            return Ok(None);
        }
        for path in &directory.unused {
            let removed = self.disk.remove(path);
            removed.map_err(|error| OpenError::io(path, error))?;
        }
        for (first, path) in &directory.unreadable {
            self.corrupt += 1;
            self.move_aside(&directory, *first, path);
        }
        if directory.readable.is_empty() {
            self.nothing_left(&directory)?;
            return Ok(None);
        }
        self.read(directory).map(Some)
    }

    /// Sorts what is there, and changes nothing.
    fn look(&self, name: &str) -> Result<Option<Directory>, OpenError> {
        let path = self.root.join(name);
        let names = match self.disk.list(&path) {
            Err(error) if is_no_directory(error.kind()) => return Ok(None),
            names => names.map_err(|error| OpenError::io(&path, error))?,
        };
        let mut directory = Directory {
            name: name.to_owned(),
            path: path.clone(),
            readable: Vec::new(),
            unreadable: Vec::new(),
            unused: Vec::new(),
            mark_file: None,
            marks: Marks::default(),
        };
        match MarkFile::open(self.disk, &path) {
            Ok((file, marks)) => (directory.mark_file, directory.marks) = (Some(file), marks),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpenError::io(&path.join(mark::FILE), error)),
        }
        let queue = directory.marks.queue.as_ref();
        for (first, path) in segments(&names, &path) {
            let failed = |error| OpenError::io(&path, error);
            let file = match self.disk.open(&path) {
                Err(error) if is_no_file(&error) => {
                    directory.unreadable.push((first, path));
                    continue;
                }
                opened => opened.map_err(failed)?,
            };
            match header(&*file, first, name, queue).map_err(failed)? {
                Ok(read) => directory.readable.push((read, path)),
                Err(BadHeader::Version(version)) => return Err(OpenError::Newer { path, version }),
                Err(BadHeader::Unused) => directory.unused.push(path),
                Err(BadHeader::Corrupt) => directory.unreadable.push((first, path)),
            }
        }
        Ok(Some(directory))
    }

    /// A directory in which nothing says that this program made it stays as it is, but for a mark that was
    /// being made when the machine went down.
    fn leave(&mut self, directory: &Directory) {
        if !directory.unreadable.is_empty() || directory.marks.is_damaged(false) {
            self.corrupt += 1;
            tracing::error!(
                dir = %directory.path.display(),
                "the spool is corrupt here, or this is no queue of it: nothing in this directory can be read; it stays as it is"
            );
        }
        let is_alone = directory.unreadable.is_empty() && directory.unused.is_empty();
        if is_alone && directory.marks.is_unfinished() {
            // What can't be removed now is removed when the queue is used.
            let _ = clear(self.disk, self.root, &directory.path);
        }
    }

    /// No segment of the queue is left that can be read.
    fn nothing_left(&mut self, directory: &Directory) -> Result<(), OpenError> {
        let Marks { done, synced, .. } = directory.marks;
        let lost = synced.saturating_sub(done.unwrap_or(0));
        if lost > 0 {
            self.corrupt += u64::from(directory.unreadable.is_empty());
            tracing::error!(
                dir = %directory.path.display(),
                events = lost,
                "the spool is corrupt here: the segments with these events are missing or can't be read"
            );
        }
        clear(self.disk, self.root, &directory.path)
            .map_err(|error| OpenError::io(&directory.path, error))
    }

    fn read(&mut self, mut directory: Directory) -> Result<Recovered, OpenError> {
        let firsts = directory.readable.iter().map(|(read, _)| read.header.first);
        let firsts: Vec<u64> = firsts.collect();
        if directory.marks.is_damaged(true) {
            self.corrupt += 1;
            tracing::error!(
                mark = %directory.path.join(mark::FILE).display(),
                "the spool is corrupt here: the mark is missing or can't be read, and is written anew; no event is missing for \
                 that, and some that were published are published again"
            );
            directory.marks.done = Some(firsts[0]);
            if let Some(file) = &mut directory.mark_file {
                // If it can't be written now, it is with the next mark.
                let _ = file.write(firsts[0]);
            }
        }
        let name = Name::new(directory.readable[0].0.header.name.clone());
        let mut recovered = Recovered {
            name: name.expect("its header names the directory that it is in"),
            dir: directory.path.clone(),
            views: Vec::new(),
            mark: directory.marks.done.unwrap_or(0),
            mark_file: directory.mark_file,
            salt: directory.marks.queue.map(|queue| queue.salt),
            bytes: 0,
            oldest: None,
        };
        let synced = match directory.marks.synced {
            synced if synced > recovered.mark => synced,
            _ => 0,
        };
        if let Some(done) = directory.marks.done.filter(|done| *done < firsts[0]) {
            self.corrupt += 1;
            tracing::error!(
                dir = %directory.path.display(),
                events = firsts[0] - done,
                "the spool begins later than it should: these events were in it and are not there any more"
            );
        }
        // The process before may have ended before it synced the mark. Nothing is removed by a mark that a loss of power
        // would take back.
        let mark_file = recovered.mark_file.as_ref();
        let is_persisted = mark_file.is_some_and(|file| file.sync().is_ok());
        for (place, (read, path)) in directory.readable.into_iter().enumerate() {
            let until = firsts.get(place + 1).copied();
            if until.is_some_and(|next| next <= recovered.mark) {
                // It is done. A crash brought it back; if it can't be removed now, the next start tries.
                if is_persisted {
                    let _ = self.disk.remove(&path);
                }
                continue;
            }
            let bounds = Bounds { until, synced };
            self.take(&mut recovered, &read, &path, bounds)
                .map_err(|error| OpenError::io(&path, error))?;
        }
        Ok(recovered)
    }

    /// Takes what a segment holds.
    fn take(
        &mut self,
        recovered: &mut Recovered,
        read: &ReadHeader,
        path: &Path,
        bounds: Bounds,
    ) -> io::Result<()> {
        let file = self.disk.open(path)?;
        let bytes = whole(&*file)?;
        let scan = scan(&bytes, read, bounds);
        self.corrupt += corrupt_places(read, &scan);
        if read.damaged && !scan.records.is_empty() {
            tracing::error!(
                segment = %path.display(),
                events = 0,
                "the spool is corrupt here: the segment's header is damaged; what it says is known from elsewhere, and no \
                 event is missing for that"
            );
        }
        let (from, mark) = (read.header.first, recovered.mark);
        let undone = |record: &&RecordAt| record.number >= mark;
        let whole = scan.records.iter().filter(undone).count() as u64;
        let reached = scan.next.max(recovered.mark);
        let missing = match bounds.until {
            Some(_) => 0,
            None => bounds.synced.saturating_sub(reached),
        };
        if scan.corrupt > 0 || missing > 0 {
            let all = bounds
                .until
                .unwrap_or(scan.next)
                .saturating_sub(from.max(mark));
            let lost = all.saturating_sub(whole);
            set_aside(self.usage, &read.header, path, &bytes, Some(lost));
        }
        if missing > 0 {
            self.corrupt += 1;
            tracing::error!(
                segment = %path.display(),
                events = missing,
                "the spool ends before it should: these events were in it and are not there any more"
            );
        }
        let oldest = scan.records.iter().find(undone);
        recovered.oldest = recovered.oldest.or(oldest.map(|record| record.received));
        let end = scan.end as u64;
        if (bytes.len() as u64) > end {
            // What was torn must not be taken for a record by anybody later.
            file.cut(end)?;
            file.sync()?;
        }
        recovered.bytes += end;
        recovered.views.push(View {
            first: read.header.first,
            salt: read.header.salt,
            start: first_record(read, &scan),
            end,
            next: scan.next.max(bounds.until.unwrap_or(bounds.synced)),
            corrupt: false,
            missing: false,
        });
        Ok(())
    }

    /// Moves a segment of which nothing can be read to the quarantine.
    fn move_aside(&self, directory: &Directory, first: u64, path: &Path) {
        let salt = self.disk.open(path).and_then(|file| {
            let mut page = [0; 24];
            file.read_at(&mut page, 0)?;
            Ok(u64_at(&page, 16))
        });
        let salt = salt.unwrap_or(0);
        match self.usage.move_aside(path, &directory.name, salt, first) {
            Ok(to) => tracing::error!(
                segment = %path.display(),
                to = %to.display(),
                "the spool is corrupt here: nothing of this segment can be read; it is moved to the quarantine"
            ),
            Err(error) => tracing::error!(
                segment = %path.display(),
                %error,
                "the spool is corrupt here: nothing of this segment can be read, and it can't be moved to the quarantine"
            ),
        }
    }
}

/// How many places of a segment are corrupt. A header that was torn before it was synced has no records behind it.
pub(super) fn corrupt_places(read: &ReadHeader, scan: &Scan) -> u64 {
    scan.corrupt + u64::from(read.damaged && !scan.records.is_empty())
}

/// Where reading begins. Behind a damaged header there may be bytes that are no record.
fn first_record(read: &ReadHeader, scan: &Scan) -> u64 {
    let first = scan.records.first().filter(|_| read.damaged);
    first.map_or(read.length, |record| record.start()) as u64
}

/// The header of a segment whose file's name has this number, in the directory of this name. `queue` is the header in
/// the file of the queue's mark, if that has one.
pub(super) fn header(
    file: &dyn DiskFile,
    first: u64,
    directory: &str,
    queue: Option<&Header>,
) -> io::Result<Result<ReadHeader, BadHeader>> {
    let mut start = vec![0; HEADER];
    let length = file.read_at(&mut start, 0)?;
    start.truncate(length);
    let belongs = |header: &Header| {
        let name = Name::new(header.name.clone());
        header.first == first && name.is_some_and(|name| name.directory() == directory)
    };
    match Header::read(&start) {
        Ok(read) if belongs(&read.header) => return Ok(Ok(read)),
        Err(BadHeader::Version(version)) => return Ok(Err(BadHeader::Version(version))),
        _ => {}
    }
    let bytes = whole(file)?;
    if Header::is_unused(&bytes) {
        return Ok(Err(BadHeader::Unused));
    }
    Ok(Header::salvage(&bytes, first, directory, queue).ok_or(BadHeader::Corrupt))
}

fn is_no_directory(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The bytes of a file.
pub(super) fn whole(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Removes what this program made in a queue's directory, file by file: segments first, in their order, then the mark,
/// then the directory if nothing else is in it. What an earlier call removed before it failed is no error.
pub(super) fn clear(disk: &dyn Disk, root: &Path, dir: &Path) -> io::Result<()> {
    let names = match disk.list(dir) {
        Err(error) if is_no_directory(error.kind()) => return disk.sync_dir(root),
        names => names?,
    };
    for (_, path) in segments(&names, dir) {
        disk.remove(&path)?;
    }
    disk.sync_dir(dir)?;
    if names.iter().any(|name| name == mark::FILE) {
        disk.remove(&dir.join(mark::FILE))?;
        disk.sync_dir(dir)?;
    }
    match disk.remove_dir(dir) {
        // Somebody else put something there.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
        removed => removed?,
    }
    disk.sync_dir(root)
}

/// Copies a segment to the quarantine, unless it is there already. That it can't be copied is logged and stops nothing.
/// `lost` is how many events are missing in it, where the log does not say so elsewhere.
pub(super) fn set_aside(
    usage: &Usage,
    header: &Header,
    path: &Path,
    bytes: &[u8],
    lost: Option<u64>,
) {
    let directory = path.parent().and_then(Path::file_name).unwrap_or_default();
    let name = set_aside_name(&directory.to_string_lossy(), header.salt, header.first);
    if usage.has(QUARANTINE, &name) {
        tracing::error!(
            segment = %path.display(),
            events = lost,
            "the spool is corrupt here: what can be read of the segment is kept; the quarantine has a copy of it from before"
        );
        return;
    }
    match usage.put(QUARANTINE, &name, bytes) {
        Ok(copy) => tracing::error!(
            segment = %path.display(),
            copy = %copy.display(),
            events = lost,
            "the spool is corrupt here: what can be read of the segment is kept; a copy of it as it was found is in the quarantine"
        ),
        Err(error) => tracing::error!(
            segment = %path.display(),
            %error,
            events = lost,
            "the spool is corrupt here: what can be read of the segment is kept; no copy of it can be put into the quarantine"
        ),
    }
}
