//! What was left on disk: read, mended as far as it can be, and told.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::error::OpenError;
use super::format::{BadHeader, HEADER, Header};
use super::mark::{self, MarkFile};
use super::queue::{Name, View};
use super::segment::scan;

/// The directory that corrupt segments are copied to.
pub(super) const QUARANTINE: &str = "quarantine";
/// What a segment's file is called behind the number of its first record.
pub(super) const SUFFIX: &str = ".seg";

/// A queue that was left on disk.
pub(super) struct Recovered {
    pub(super) name: Name,
    pub(super) dir: PathBuf,
    pub(super) views: Vec<View>,
    pub(super) mark: u64,
    pub(super) mark_file: Option<MarkFile>,
    /// What its segments take up, in bytes.
    pub(super) bytes: u64,
    /// When the first event that is not done was received.
    pub(super) oldest: Option<u64>,
}

/// The segments of a directory, by the numbers of their first records.
pub(super) fn segments(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let names = disk.list(dir)?;
    let segments = names.iter().filter_map(|name| {
        let first = name.strip_suffix(SUFFIX)?.parse().ok()?;
        Some((first, dir.join(name)))
    });
    let mut segments: Vec<_> = segments.collect();
    segments.sort_unstable();
    Ok(segments)
}

/// Reads what a directory holds: none if that is no queue, or nothing that could be read. Gives
/// besides how many corrupt places there were.
pub(super) fn recover(
    disk: &dyn Disk,
    root: &Path,
    dir: PathBuf,
) -> Result<(Option<Recovered>, u64), OpenError> {
    let failed = |path: &Path, source| OpenError::io(path, source);
    let listed = segments(disk, &dir).map_err(|error| failed(&dir, error))?;
    let mut corrupt = 0;
    let mut readable: Vec<(Header, Arc<dyn DiskFile>, PathBuf)> = Vec::new();
    for (first, path) in listed {
        let file = disk.open(&path).map_err(|error| failed(&path, error))?;
        // A header that was torn lacks zeros at its end at most: it holds.
        let mut page = vec![0; HEADER];
        file.read_at(&mut page, 0)
            .map_err(|error| failed(&path, error))?;
        match Header::read(&page) {
            Ok(header) if header.first == first => readable.push((header, file, path)),
            Err(BadHeader::Version(version)) => return Err(OpenError::Newer { path, version }),
            // It was being made when the machine went down, and was never used.
            _ if page.iter().all(|byte| *byte == 0) && holds_nothing(&*file) => {
                disk.remove(&path).map_err(|error| failed(&path, error))?;
            }
            _ => {
                corrupt += 1;
                if set_aside(disk, root, &dir, &path, &*file) {
                    disk.remove(&path).map_err(|error| failed(&path, error))?;
                }
            }
        }
    }
    let (mark_file, mark) = match MarkFile::open(disk, &dir) {
        Ok((file, mark)) => (Some(file), mark.unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (None, 0),
        Err(error) => return Err(failed(&dir.join(mark::FILE), error)),
    };
    let name = readable
        .first()
        .and_then(|(header, ..)| Name::new(header.name.clone()));
    let Some(name) = name else {
        let is_done = segments(disk, &dir).is_ok_and(|left| left.is_empty());
        if is_done {
            clear(disk, root, &dir).map_err(|error| failed(&dir, error))?;
        }
        return Ok((None, corrupt));
    };
    let mut recovered = Recovered {
        name,
        dir,
        views: Vec::new(),
        mark,
        mark_file,
        bytes: 0,
        oldest: None,
    };
    let firsts: Vec<u64> = readable.iter().map(|(header, ..)| header.first).collect();
    for (place, (header, file, path)) in readable.into_iter().enumerate() {
        if firsts.get(place + 1).is_some_and(|next| *next <= mark) {
            // It is done. A crash brought it back; if it can't be removed now, the next start tries.
            let _ = disk.remove(&path);
            continue;
        }
        corrupt += recovered
            .take(
                disk,
                root,
                header,
                file,
                &path,
                firsts.get(place + 1).copied(),
            )
            .map_err(|error| failed(&path, error))?;
    }
    Ok((Some(recovered), corrupt))
}

impl Recovered {
    /// Takes what a segment holds. Gives how many corrupt places it has.
    fn take(
        &mut self,
        disk: &dyn Disk,
        root: &Path,
        header: Header,
        file: Arc<dyn DiskFile>,
        path: &Path,
        until: Option<u64>,
    ) -> io::Result<u64> {
        let bytes = whole(&*file)?;
        let scan = scan(&bytes, &header, until);
        if scan.corrupt > 0 {
            set_aside(disk, root, &self.dir, path, &*file);
        }
        let undone = scan
            .records
            .iter()
            .find(|record| record.number >= self.mark);
        self.oldest = self.oldest.or(undone.map(|record| record.received));
        let end = scan.end as u64;
        if (bytes.len() as u64) > end {
            // What was torn must not be taken for a record by anybody later.
            file.cut(end)?;
            file.sync()?;
        }
        self.bytes += end;
        self.views.push(View {
            first: header.first,
            file,
            salt: header.salt,
            end,
            next: scan.next.max(until.unwrap_or(0)),
        });
        Ok(scan.corrupt)
    }
}

/// The bytes of a file.
pub(super) fn whole(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn holds_nothing(file: &dyn DiskFile) -> bool {
    whole(file).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// Removes a queue's directory with all that is in it: segments first, in their order, then the
/// rest. What an earlier call removed before it failed is no error.
pub(super) fn clear(disk: &dyn Disk, root: &Path, dir: &Path) -> io::Result<()> {
    let listed = match segments(disk, dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return disk.sync_dir(root),
        listed => listed?,
    };
    for (_, path) in listed {
        disk.remove(&path)?;
    }
    disk.sync_dir(dir)?;
    for name in disk.list(dir)? {
        disk.remove(&dir.join(name))?;
    }
    disk.sync_dir(dir)?;
    disk.remove_dir(dir)?;
    disk.sync_dir(root)
}

/// Copies a segment to the quarantine. That it can't be copied is told and stops nothing.
fn set_aside(disk: &dyn Disk, root: &Path, dir: &Path, path: &Path, file: &dyn DiskFile) -> bool {
    let quarantine = root.join(QUARANTINE);
    let name = |part: &Path| {
        let name = part.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let copy = quarantine.join(format!("{}-{}", name(dir), name(path)));
    let copied = (|| {
        disk.create_dir(&quarantine)?;
        let bytes = whole(file)?;
        let to = match disk.create(&copy) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.open(&copy)?,
            other => other?,
        };
        to.cut(0)?;
        to.write_at(&bytes, 0)?;
        to.sync()?;
        disk.sync_dir(&quarantine)?;
        disk.sync_dir(root)
    })();
    let is_copied = copied.is_ok();
    match copied {
        Ok(()) => tracing::error!(
            segment = %path.display(),
            copy = %copy.display(),
            "the spool is corrupt here: a copy of the segment is set aside, what can be read of it is kept"
        ),
        Err(error) => tracing::error!(
            segment = %path.display(),
            %error,
            "the spool is corrupt here, and a copy of the segment can't be set aside; what can be read of it is kept"
        ),
    }
    is_copied
}
