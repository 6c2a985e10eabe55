//! Reading a whole segment: which of its bytes are records.

use super::format::{HEADER, Header, Parsed, RecordAt, parse, u64_at};

/// How far numbers may jump for a record behind a hole to be believed.
const PLAUSIBLE: u64 = 1 << 24;

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Its records, in order.
    pub(super) records: Vec<RecordAt>,
    /// Places at which something was corrupt.
    pub(super) corrupt: u64,
    /// Where the last record ends.
    pub(super) end: usize,
    /// The number of the record that would come next.
    pub(super) next: u64,
}

/// Reads the records of a segment, the header included in `bytes`. `until` is the first number of
/// the segment that follows, if one does: what has it or a higher one here was never reported.
pub(super) fn scan(bytes: &[u8], header: &Header, until: Option<u64>) -> Scan {
    let limit = until.unwrap_or(u64::MAX);
    let mut scan = Scan {
        end: HEADER,
        next: header.first,
        ..Scan::default()
    };
    let mut at = HEADER;
    loop {
        match parse(bytes, at, header.salt) {
            Parsed::Record(record) if record.number >= limit => break,
            Parsed::Record(record) if record.number == scan.next => {
                scan.take(record);
                at = record.next;
            }
            _ => match scan.beyond(bytes, at, header, until) {
                Some(record) => {
                    scan.corrupt += 1;
                    scan.take(record);
                    at = record.next;
                }
                None => break,
            },
        }
    }
    if until.is_some_and(|until| scan.next < until) {
        scan.corrupt += 1;
    }
    scan
}

impl Scan {
    fn take(&mut self, record: RecordAt) {
        self.next = record.number + 1;
        self.end = record.next;
        self.records.push(record);
    }

    /// The next record behind a place that holds none, if that place was whole once: when something
    /// was written after it, in another write or in another segment.
    fn beyond(
        &self,
        bytes: &[u8],
        at: usize,
        header: &Header,
        until: Option<u64>,
    ) -> Option<RecordAt> {
        let limit = until.unwrap_or(u64::MAX);
        let found = next_record(bytes, at + 8, header.salt, self.next, limit)?;
        if until.is_some() {
            return Some(found);
        }
        let mut record = found;
        let mut least = self.next;
        loop {
            if record.first_of_write {
                return Some(found);
            }
            least = least.max(record.number + 1);
            record = next_record(bytes, record.next, header.salt, least, limit)?;
        }
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
