//! The bytes of a segment: see the module above.

use super::names::{MAX_NAME, Name};

/// The length of one copy of the header.
pub(super) const PAGE: usize = 4096;
/// Where the first record stands in a segment that this release writes.
pub(super) const HEADER: usize = 2 * PAGE;
/// What stands before a record's body.
pub(super) const RECORD_HEAD: usize = 24;
/// The version that is written. Older ones are read, newer ones are not.
pub(super) const VERSION: u32 = 2;
/// The version whose header stands there once.
const SINGLE: u32 = 1;

/// How far numbers may jump for a record behind a hole to be believed.
const PLAUSIBLE: u64 = 1 << 24;
const MAGIC: &[u8; 8] = b"MCBSPOOL";
const FIRST_OF_WRITE: u32 = 1 << 31;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: u64,
    pub(super) first: u64,
    pub(super) name: String,
}

/// A header as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadHeader {
    pub(super) header: Header,
    /// Where the first record stands.
    pub(super) length: usize,
    /// At least one copy of the header is damaged.
    pub(super) damaged: bool,
}

/// Why a header does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is damaged, or none.
    Corrupt,
    /// It was being made when the machine went down, and no record was ever written behind it.
    Unused,
    /// A later release wrote it.
    Version(u32),
}

/// Where a record stands in a buffer, and what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordAt {
    pub(super) number: u64,
    pub(super) received: u64,
    pub(super) body: usize,
    pub(super) end: usize,
    /// Where the next one begins.
    pub(super) next: usize,
    pub(super) first_of_write: bool,
}

impl RecordAt {
    /// Where it begins.
    pub(super) fn start(&self) -> usize {
        self.body - RECORD_HEAD
    }
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole record.
    Record(RecordAt),
    /// A length of 0: nothing was written here.
    Nothing,
    /// The buffer ends within what may be a record of this many bytes.
    Cut(usize),
    /// Something else.
    Bad,
}

impl Header {
    /// The header, with its two copies.
    pub(super) fn write(&self) -> Vec<u8> {
        self.page(VERSION).repeat(2)
    }

    pub(super) fn page(&self, version: u32) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[..8].copy_from_slice(MAGIC);
        page[8..12].copy_from_slice(&version.to_le_bytes());
        page[16..24].copy_from_slice(&self.salt.to_le_bytes());
        page[24..32].copy_from_slice(&self.first.to_le_bytes());
        let name = self.name.as_bytes();
        let length = u16::try_from(name.len()).expect("a queue's name is bounded");
        page[32..34].copy_from_slice(&length.to_le_bytes());
        page[34..34 + name.len()].copy_from_slice(name);
        let sum = header_sum(&page);
        page[12..16].copy_from_slice(&sum.to_le_bytes());
        page
    }

    /// Reads the header from the first bytes of a segment, from whichever copy holds.
    pub(super) fn read(start: &[u8]) -> Result<ReadHeader, BadHeader> {
        let copies = [Self::read_page(start, 0), Self::read_page(start, PAGE)];
        if let Some(version) = copies.iter().find_map(|copy| match copy {
            Err(BadHeader::Version(version)) => Some(*version),
            _ => None,
        }) {
            return Err(BadHeader::Version(version));
        }
        let [first, second] = copies;
        match (first, second) {
            (Ok((header, SINGLE)), _) => Ok(ReadHeader {
                header,
                length: PAGE,
                damaged: false,
            }),
            (Ok((header, _)), second) => Ok(ReadHeader {
                header,
                length: HEADER,
                damaged: second.is_err(),
            }),
            // A segment of the first version has records there.
            (Err(_), Ok((header, VERSION))) => Ok(ReadHeader {
                header,
                length: HEADER,
                damaged: true,
            }),
            _ => Err(BadHeader::Corrupt),
        }
    }

    /// Reads the copy of a header that stands at this place, and the version that it tells.
    pub(super) fn read_page(start: &[u8], at: usize) -> Result<(Header, u32), BadHeader> {
        let page = start.get(at..at + PAGE).ok_or(BadHeader::Corrupt)?;
        if page[..8] != *MAGIC || u32_at(page, 12) != header_sum(page) {
            return Err(BadHeader::Corrupt);
        }
        let version = u32_at(page, 8);
        if version > VERSION {
            return Err(BadHeader::Version(version));
        }
        let header = Header {
            salt: u64_at(page, 16),
            first: u64_at(page, 24),
            name: name_in(page).ok_or(BadHeader::Corrupt)?.to_owned(),
        };
        Ok((header, version))
    }

    /// The header of a segment none of whose copies holds, if what they say is confirmed elsewhere: the name by the
    /// checksum in the name of the queue's directory, the salt by a record. The number is that of the file's name.
    /// `queue` is the header in the file of the queue's mark, if that has one.
    pub(super) fn salvage(
        bytes: &[u8],
        first: u64,
        directory: &str,
        queue: Option<&Header>,
    ) -> Option<ReadHeader> {
        let pages = || {
            [0, PAGE]
                .into_iter()
                .filter_map(|at| bytes.get(at..at + PAGE))
        };
        let names = pages().filter_map(|page| Name::new(name_in(page)?));
        let mut names = names.chain(queue.and_then(|queue| Name::new(queue.name.clone())));
        let name = names.find(|name| name.directory() == directory)?;
        let salts = pages().map(|page| u64_at(page, 16));
        let salts = salts.chain(queue.map(|queue| segment_salt(queue.salt, first)));
        let mut proven = salts.filter_map(|salt| {
            let record = next_record(bytes, PAGE, salt, first, u64::MAX)?;
            Some((salt, record))
        });
        let (salt, record) = proven.next()?;
        Some(ReadHeader {
            header: Header {
                salt,
                first,
                name: name.as_str().to_owned(),
            },
            // Records begin behind one page or behind two, and the first may be damaged.
            length: match record.number == first {
                true => record.start(),
                false => PAGE,
            },
            damaged: true,
        })
    }

    /// Whether a file has the form of a segment that no record was ever written to: its header was never synced,
    /// and so may be torn.
    pub(super) fn is_unused(bytes: &[u8]) -> bool {
        let (pages, rest) = bytes.split_at(bytes.len().min(HEADER));
        let is_page = |page: &[u8]| {
            let start = &page[..page.len().min(MAGIC.len())];
            start == MAGIC || start.iter().all(|byte| *byte == 0)
        };
        pages.chunks(PAGE).all(is_page) && rest.iter().all(|byte| *byte == 0)
    }
}

/// The first record at or behind `at` whose number is at least `least` and below `limit`.
pub(super) fn next_record(
    bytes: &[u8],
    at: usize,
    salt: u64,
    least: u64,
    limit: u64,
) -> Option<RecordAt> {
    let mut at = at;
    while at + 16 <= bytes.len() {
        let number = u64_at(bytes, at + 8);
        if number >= least
            && number < limit.min(least.saturating_add(PLAUSIBLE))
            && let Parsed::Record(record) = parse(bytes, at, salt)
        {
            return Some(record);
        }
        at += 8;
    }
    None
}

/// The salt of the segment with this first number, in a queue of this salt.
pub(super) fn segment_salt(queue: u64, first: u64) -> u64 {
    splitmix(queue ^ splitmix(first))
}

/// A step of the SplitMix64 generator. What is on disk depends on it, so that it is no library's.
pub(super) fn splitmix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn name_in(page: &[u8]) -> Option<&str> {
    let length = usize::from(u16::from_le_bytes([page[32], page[33]]));
    let bytes = page.get(34..34 + length.min(MAX_NAME + 1))?;
    std::str::from_utf8(bytes)
        .ok()
        .filter(|name| name.len() <= MAX_NAME)
}

/// Of all that stands in a header but the sum itself, in every version: a version is believed only if it holds.
fn header_sum(page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&page[..12]), &page[16..])
}

/// Puts the head of a record whose body will follow; [`seal_record`] completes it.
pub(super) fn begin_record(buffer: &mut Vec<u8>, number: u64, received: u64) {
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(&number.to_le_bytes());
    buffer.extend_from_slice(&received.to_le_bytes());
}

/// The length that a record with this body takes up.
pub(super) const fn record_len(body: usize) -> usize {
    (RECORD_HEAD + body).next_multiple_of(8)
}

/// Completes the record that `record` is, its padding included, whose body has this length.
pub(super) fn seal_record(record: &mut [u8], body: usize, salt: u64, first_of_write: bool) {
    let mut length = u32::try_from(body).expect("a record is far below 2 GiB");
    if first_of_write {
        length |= FIRST_OF_WRITE;
    }
    record[..4].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(salt, length, &record[8..RECORD_HEAD + body]);
    record[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// What stands at `at`, a multiple of 8.
pub(super) fn parse(buffer: &[u8], at: usize, salt: u64) -> Parsed {
    let rest = &buffer[at.min(buffer.len())..];
    if rest.len() < RECORD_HEAD {
        return match rest.len() >= 4 && u32_at(rest, 0) == 0 {
            true => Parsed::Nothing,
            false => Parsed::Cut(RECORD_HEAD),
        };
    }
    let length = u32_at(rest, 0);
    let body = (length & !FIRST_OF_WRITE) as usize;
    if length == 0 {
        return Parsed::Nothing;
    }
    let whole = record_len(body);
    if rest.len() < whole {
        return Parsed::Cut(whole);
    }
    if u32_at(rest, 4) != checksum(salt, length, &rest[8..RECORD_HEAD + body]) {
        return Parsed::Bad;
    }
    Parsed::Record(RecordAt {
        number: u64_at(rest, 8),
        received: u64_at(rest, 16),
        body: at + RECORD_HEAD,
        end: at + RECORD_HEAD + body,
        next: at + whole,
        first_of_write: length & FIRST_OF_WRITE != 0,
    })
}

fn checksum(salt: u64, length: u32, rest: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&salt.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &length.to_le_bytes());
    crc32c::crc32c_append(sum, rest)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> Header {
        Header {
            salt: 7,
            first: 12,
            name: name.to_owned(),
        }
    }

    fn record(number: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        begin_record(&mut bytes, number, 1);
        bytes.extend_from_slice(body);
        bytes.resize(record_len(body.len()), 0);
        seal_record(&mut bytes, body.len(), 7, false);
        bytes
    }

    /// Segments of earlier releases are read by these salts.
    #[test]
    fn salts_are_those_of_every_release() {
        assert_eq!(splitmix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix(1), 0x910a_2dec_8902_5cc1);
        assert_eq!(segment_salt(7, 300), 0xe90d_8742_0a49_c922);
    }

    #[test]
    fn a_header_holds_if_one_of_its_copies_does() {
        let whole = header("queue").write();
        let read = Header::read(&whole).expect("it was just written");
        assert_eq!((&read.header, read.damaged), (&header("queue"), false));
        for damaged in [0, PAGE] {
            let mut bytes = whole.clone();
            bytes[damaged + 20] ^= 1;
            let read = Header::read(&bytes).expect("the other copy holds");
            assert_eq!((read.header, read.length), (header("queue"), HEADER));
            assert!(read.damaged, "copy at {damaged}");
        }
        let mut bytes = whole;
        (bytes[20], bytes[PAGE + 20]) = (0xaa, 0xaa);
        assert_eq!(Header::read(&bytes), Err(BadHeader::Corrupt));
    }

    #[test]
    fn a_header_of_a_later_release_is_known_from_either_copy() {
        let newer = header("queue").page(VERSION + 1);
        let garbage = vec![0xaa; PAGE];
        for pages in [[&newer, &newer], [&newer, &garbage], [&garbage, &newer]] {
            let read = Header::read(&[pages[0].as_slice(), pages[1]].concat());
            assert_eq!(read, Err(BadHeader::Version(VERSION + 1)));
        }
    }

    #[test]
    fn a_name_is_read_back_up_to_the_longest_that_a_queue_may_have() {
        let longest = "x".repeat(MAX_NAME);
        let read = Header::read(&header(&longest).write());
        assert_eq!(read.map(|read| read.header), Ok(header(&longest)));
        let longer = "x".repeat(MAX_NAME + 1);
        let read = Header::read(&header(&longer).write());
        assert_eq!(read, Err(BadHeader::Corrupt));
    }

    #[test]
    fn a_segment_is_unused_if_nothing_but_zeros_stands_where_its_records_would() {
        let mut bytes = header("queue").write();
        bytes.resize(HEADER + 64, 0);
        assert!(Header::is_unused(&bytes));
        bytes[HEADER + 63] = 1;
        assert!(!Header::is_unused(&bytes));
    }

    #[test]
    fn a_record_is_looked_for_from_its_place_on_and_within_the_numbers_that_are_due() {
        let bytes = [vec![0xaa; 16], record(12, b"body"), record(13, b"body")].concat();
        let found = |at, least, limit| next_record(&bytes, at, 7, least, limit).map(|it| it.number);
        assert_eq!(found(0, 0, u64::MAX), Some(12));
        assert_eq!(found(24, 0, u64::MAX), Some(13));
        assert_eq!(found(0, 13, u64::MAX), Some(13));
        assert_eq!(found(0, 12, 13), Some(12));
        assert_eq!(found(0, 0, 12), None, "12 is the next segment's");
    }

    #[test]
    fn a_buffer_that_ends_within_a_record_tells_how_much_of_it_is_needed() {
        let record = record(12, b"body");
        assert!(matches!(parse(&record, 0, 7), Parsed::Record(record) if record.number == 12));
        for length in RECORD_HEAD..record.len() {
            let parsed = parse(&record[..length], 0, 7);
            assert_eq!(parsed, Parsed::Cut(record.len()), "{length}");
        }
        for length in 4..RECORD_HEAD {
            let parsed = parse(&record[..length], 0, 7);
            assert_eq!(parsed, Parsed::Cut(RECORD_HEAD), "{length}");
            let parsed = parse(&vec![0; length], 0, 7);
            assert_eq!(parsed, Parsed::Nothing, "{length}");
        }
    }
}
