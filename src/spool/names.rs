//! What the files and directories of a spool are called. Nothing that is called otherwise is ever touched.

use std::path::{Path, PathBuf};

/// The file that the owner of a spool holds locked.
pub(super) const LOCK: &str = "lock";
/// The directory of segments in which something was corrupt.
pub(super) const QUARANTINE: &str = "quarantine";
/// The directory of dead letters that no destination takes.
pub const DEAD_LETTERS: &str = "dead-letters";
/// What the name of a segment's file ends in.
const SUFFIX: &str = ".seg";
/// How many digits the number of its first record has there.
const DIGITS: usize = 20;

/// Longest name of a queue, in bytes.
pub(super) const MAX_NAME: usize = 2048;

/// What a queue is called: not empty, and at most 2,048 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// A name; none if it is empty or too long.
    pub fn new(name: impl Into<String>) -> Option<Name> {
        let name = name.into();
        (!name.is_empty() && name.len() <= MAX_NAME).then_some(Name(name))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that the queue is in: readable, and one of its own for every name.
    pub(super) fn directory(&self) -> String {
        let readable: String = self
            .0
            .chars()
            .map(|c| match is_readable(c) {
                true => c,
                false => '-',
            })
            .take(READABLE)
            .collect();
        format!("{readable}-{:08x}", crc32c::crc32c(self.0.as_bytes()))
    }
}

/// As logs show it: the parts of the name of a destination are divided by NUL.
impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.replacen('\0', ":", 1).replace('\0', "/"))
    }
}

/// How many characters of a name its directory shows.
const READABLE: usize = 80;

fn is_readable(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_')
}

/// Whether this may be the directory of a queue: it has the form that [`Name::directory`] gives.
pub(super) fn is_queue(name: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.rsplit_once('-').is_some_and(|(readable, sum)| {
        (1..=READABLE).contains(&readable.len())
            && readable.chars().all(|c| is_readable(c) || c == '-')
            && sum.len() == 8
            && sum.bytes().all(is_hex)
    })
}

/// The name of a segment's file.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The segments among the names in a directory, by the numbers of their first records.
pub(super) fn segments(names: &[String], dir: &Path) -> Vec<(u64, PathBuf)> {
    let segments = names.iter().filter_map(|name| {
        let digits = name.strip_suffix(SUFFIX)?;
        let is_form = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        let first = digits.parse().ok().filter(|_| is_form)?;
        Some((first, dir.join(name)))
    });
    let mut segments: Vec<_> = segments.collect();
    segments.sort_unstable();
    segments
}

/// What a segment is called in the quarantine. Its salt is in the name, since a queue that begins anew uses numbers again.
pub(super) fn set_aside_name(directory: &str, salt: u64, first: u64) -> String {
    format!("{directory}-{salt:016x}-{}", segment_name(first))
}

/// The directory of the queue and the number of the first record of a segment in the quarantine, by its name there;
/// also by the name that earlier releases gave, without the salt.
pub(super) fn set_aside(name: &str) -> Option<(&str, u64)> {
    let (rest, digits) = name.strip_suffix(SUFFIX)?.rsplit_once('-')?;
    let first = digits.parse().ok()?;
    let with_salt = rest.rsplit_once('-').map(|(directory, _)| directory);
    let directories = [Some(rest), with_salt].into_iter().flatten();
    let mut known = directories.filter(|directory| is_queue(directory));
    known.next().map(|directory| (directory, first))
}
