//! The bytes of a segment: see the module above.

/// Where the first record stands.
pub(super) const HEADER: usize = 4096;
/// What stands before a record's body.
pub(super) const RECORD_HEAD: usize = 24;
/// The version that is written. Older ones are read, newer ones are not.
pub(super) const VERSION: u32 = 1;
/// Longest name of a queue, in bytes.
pub(super) const MAX_NAME: usize = 2048;

const MAGIC: &[u8; 8] = b"MCBSPOOL";
const FIRST_OF_WRITE: u32 = 1 << 31;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) salt: u64,
    pub(super) first: u64,
    pub(super) name: String,
}

/// Why a header does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is damaged, or none.
    Corrupt,
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
    pub(super) fn write(&self) -> Vec<u8> {
        let mut page = vec![0; HEADER];
        page[..8].copy_from_slice(MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
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

    pub(super) fn read(page: &[u8]) -> Result<Header, BadHeader> {
        let holds = page.len() >= HEADER
            && page[..8] == *MAGIC
            && u32_at(page, 12) == header_sum(&page[..HEADER]);
        if !holds {
            return Err(BadHeader::Corrupt);
        }
        let version = u32_at(page, 8);
        if version > VERSION {
            return Err(BadHeader::Version(version));
        }
        let length = usize::from(u16::from_le_bytes([page[32], page[33]]));
        if length > MAX_NAME {
            return Err(BadHeader::Corrupt);
        }
        let name = std::str::from_utf8(&page[34..34 + length]).map_err(|_| BadHeader::Corrupt)?;
        Ok(Header {
            salt: u64_at(page, 16),
            first: u64_at(page, 24),
            name: name.to_owned(),
        })
    }
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
