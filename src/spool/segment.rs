//! Reading a whole segment: which of its bytes are records.

use super::format::{Parsed, ReadHeader, RecordAt, next_record, parse};

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

/// What is known from elsewhere about where a segment ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// The first number of the segment that follows, if one does: what has it or a higher one here was never reported.
    pub(super) until: Option<u64>,
    /// All records below this number were synced, in this segment or before it.
    pub(super) synced: u64,
}

/// Reads the records of a segment, the header included in `bytes`.
pub(super) fn scan(bytes: &[u8], read: &ReadHeader, bounds: Bounds) -> Scan {
    let (salt, limit) = (read.header.salt, bounds.until.unwrap_or(u64::MAX));
    let mut scan = Scan {
        end: read.length,
        next: read.header.first,
        ..Scan::default()
    };
    let mut at = read.length;
    loop {
        match parse(bytes, at, salt) {
            Parsed::Record(record) if record.number >= limit => break,
            Parsed::Record(record) if record.number == scan.next => {
                scan.take(record);
                at = record.next;
            }
            _ => match scan.beyond(bytes, at, salt, bounds) {
                Some(record) => {
                    scan.corrupt += 1;
                    scan.take(record);
                    at = record.next;
                }
                None => break,
            },
        }
    }
    if bounds.until.is_some_and(|until| scan.next < until) {
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

    /// The next record at or behind a place that does not hold the one that is due, if that was whole once: when something
    /// was written after it, in another write or in another segment, or when it is known to have been synced.
    fn beyond(&self, bytes: &[u8], at: usize, salt: u64, bounds: Bounds) -> Option<RecordAt> {
        let limit = bounds.until.unwrap_or(u64::MAX);
        let found = next_record(bytes, at, salt, self.next, limit)?;
        if bounds.until.is_some() || found.number < bounds.synced {
            return Some(found);
        }
        let mut record = found;
        let mut least = self.next;
        loop {
            if record.first_of_write {
                return Some(found);
            }
            least = least.max(record.number + 1);
            record = next_record(bytes, record.next, salt, least, limit)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{HEADER, Header, begin_record, record_len, seal_record};
    use super::*;

    /// As fuzzing found it: the record that told that the one before it is no torn write was passed over and cut off,
    /// and the next start lost that one too.
    #[test]
    fn a_whole_record_behind_missing_numbers_is_taken_where_it_stands() {
        let header = Header {
            salt: 7,
            first: 0,
            name: "queue".to_owned(),
        };
        let mut bytes = header.write();
        bytes.resize(HEADER + 64, 0);
        for (number, first_of_write) in [(12, false), (266, true)] {
            let start = bytes.len();
            begin_record(&mut bytes, number, 1);
            bytes.extend_from_slice(b"body");
            bytes.resize(start + record_len(4), 0);
            seal_record(&mut bytes[start..], 4, header.salt, first_of_write);
        }
        let read = Header::read(&bytes).expect("it was just written");
        let first = scan(&bytes, &read, Bounds::default());
        let numbers = |scan: &Scan| {
            let records = scan.records.iter();
            records.map(|record| record.number).collect::<Vec<_>>()
        };
        assert_eq!((numbers(&first), first.corrupt), (vec![12, 266], 2));
        let second = scan(&bytes[..first.end], &read, Bounds::default());
        assert_eq!(numbers(&second), [12, 266]);
    }

    /// A segment of records under these numbers behind a hole, each with whether it is the first of a write.
    fn behind_a_hole(records: &[(u64, bool)]) -> (Vec<u8>, ReadHeader) {
        let header = Header {
            salt: 7,
            first: 0,
            name: "queue".to_owned(),
        };
        let mut bytes = header.write();
        let read = Header::read(&bytes).expect("it was just written");
        bytes.resize(HEADER + 64, 0);
        for (number, first_of_write) in records {
            let start = bytes.len();
            begin_record(&mut bytes, *number, 1);
            bytes.extend_from_slice(b"body");
            bytes.resize(start + record_len(4), 0);
            seal_record(&mut bytes[start..], 4, 7, *first_of_write);
        }
        (bytes, read)
    }

    #[test]
    fn a_segment_without_a_record_ends_behind_its_header() {
        let (bytes, read) = behind_a_hole(&[]);
        let scan = scan(&bytes, &read, Bounds::default());
        assert_eq!((scan.end, scan.next, scan.corrupt), (HEADER, 0, 0));
    }

    #[test]
    fn a_record_behind_a_hole_is_taken_if_it_was_synced_or_something_was_written_later() {
        for (records, synced, taken) in [
            (&[(12, true)][..], 0, 1),
            (&[(12, false)], 13, 1),
            (&[(12, false)], 12, 0),
            (&[(12, false), (13, true)], 0, 2),
            // What an earlier write left there.
            (&[(12, false), (12, true)], 0, 0),
            (&[(12, false), (11, true)], 0, 0),
        ] {
            let (bytes, read) = behind_a_hole(records);
            let bounds = Bounds {
                until: None,
                synced,
            };
            let scan = scan(&bytes, &read, bounds);
            assert_eq!(scan.records.len(), taken, "{records:?}, {synced}");
        }
    }
}
