//! Records on their way to the disk.

use super::format::{begin_record, record_len};

/// Records of one queue, in their order, in one buffer that is written as it is.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<BatchRecord>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BatchRecord {
    pub(super) number: u64,
    pub(super) start: usize,
    pub(super) body: usize,
}

impl BatchRecord {
    pub(super) fn end(&self) -> usize {
        self.start + record_len(self.body)
    }
}

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records are in it.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The most bytes that one of its records takes on disk.
    pub fn largest(&self) -> u64 {
        let lengths = self
            .records
            .iter()
            .map(|record| record.end() - record.start);
        lengths.max().unwrap_or(0) as u64
    }

    /// Puts a record in. Its number is higher than that of the one before; `received` is in
    /// microseconds since 1970; `body` appends at least one byte and changes none.
    pub fn push(&mut self, number: u64, received: u64, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        begin_record(&mut self.bytes, number, received);
        let body_start = self.bytes.len();
        body(&mut self.bytes);
        let body = self.bytes.len() - body_start;
        self.bytes.resize(start + record_len(body), 0);
        self.records.push(BatchRecord {
            number,
            start,
            body,
        });
    }
}
