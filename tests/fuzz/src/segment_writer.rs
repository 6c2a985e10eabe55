//! Segments and marks, written and read by the tables at the top of src/spool/mod.rs and by nothing else of the bridge.

use arbitrary::Arbitrary;

/// One copy of the header, and one slot of a mark.
pub const PAGE: usize = 4096;
const HEAD: usize = 24;
const FIRST_OF_WRITE: u32 = 1 << 31;

/// What stands in a queue's directory, one behind the other.
#[derive(Arbitrary, Debug)]
pub enum Part {
    /// A whole record: how far its number is beyond the next one, and its body.
    Record {
        skips: u8,
        first_of_write: bool,
        body: Vec<u8>,
    },
    /// Anything, at a multiple of 8.
    Bytes(Vec<u8>),
    /// So many times 8 zeros.
    Zeros(u8),
    /// The next segment, begun where the last record of this one ended.
    Segment,
    /// A bit of what stands there so far is another.
    Flip { at: u16, bit: u8 },
    /// So many of the last bytes are gone.
    Cut(u16),
}

/// A record that is whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole {
    pub number: u64,
    pub received: u64,
    pub body: Vec<u8>,
}

/// What was written.
#[derive(Default)]
pub struct Written {
    /// The segments, each by the number in its file's name.
    pub segments: Vec<(u64, Vec<u8>)>,
    /// The records that were put there, in order.
    pub records: Vec<Whole>,
    /// Whether these stand there as a bridge would have written them.
    pub is_sound: bool,
}

/// Writes the segments of one queue.
pub fn write(name: &str, salt: u64, first: u64, parts: &[Part]) -> Written {
    let mut written = Written {
        segments: vec![(first, header(name, salt, first))],
        is_sound: true,
        ..Written::default()
    };
    let mut next = first;
    for part in parts {
        let is_later = written.segments.iter().all(|(known, _)| *known < next);
        let (_, segment) = written.segments.last_mut().expect("there is always one");
        match part {
            Part::Record {
                skips,
                first_of_write,
                body,
            } if !body.is_empty() => {
                let number = next.saturating_add(u64::from(*skips));
                written.is_sound &= *skips == 0 && next < u64::MAX;
                let record = Whole {
                    number,
                    received: number ^ 7,
                    body: body.clone(),
                };
                append(segment, salt, *first_of_write, &record);
                written.records.push(record);
                next = number.saturating_add(1);
            }
            Part::Segment if is_later => {
                written.segments.push((next, header(name, salt, next)));
            }
            Part::Record { .. } | Part::Segment => {}
            part => {
                damage(segment, part);
                written.is_sound = false;
            }
        }
    }
    written
}

fn damage(segment: &mut Vec<u8>, part: &Part) {
    match part {
        Part::Bytes(bytes) => segment.extend_from_slice(bytes),
        Part::Zeros(eights) => segment.resize(segment.len() + 8 * usize::from(*eights), 0),
        Part::Flip { at, bit } if !segment.is_empty() => {
            let at = usize::from(*at) % segment.len();
            segment[at] ^= 1 << (bit % 8);
        }
        Part::Cut(bytes) => segment.truncate(segment.len().saturating_sub(usize::from(*bytes))),
        _ => {}
    }
    if !matches!(part, Part::Cut(_)) {
        segment.resize(segment.len().next_multiple_of(8), 0);
    }
}

fn header(name: &str, salt: u64, first: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[..8].copy_from_slice(b"MCBSPOOL");
    page[8..12].copy_from_slice(&2_u32.to_le_bytes());
    page[16..24].copy_from_slice(&salt.to_le_bytes());
    page[24..32].copy_from_slice(&first.to_le_bytes());
    let length = u16::try_from(name.len()).expect("the name is short");
    page[32..34].copy_from_slice(&length.to_le_bytes());
    page[34..34 + name.len()].copy_from_slice(name.as_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&page[..12]), &page[16..]);
    page[12..16].copy_from_slice(&sum.to_le_bytes());
    page.repeat(2)
}

fn append(segment: &mut Vec<u8>, salt: u64, first_of_write: bool, record: &Whole) {
    let start = segment.len();
    let mut length = u32::try_from(record.body.len()).expect("the input is small");
    length |= if first_of_write { FIRST_OF_WRITE } else { 0 };
    segment.extend_from_slice(&length.to_le_bytes());
    segment.extend_from_slice(&[0; 4]);
    segment.extend_from_slice(&record.number.to_le_bytes());
    segment.extend_from_slice(&record.received.to_le_bytes());
    segment.extend_from_slice(&record.body);
    let sum = sum(salt, length, &segment[start + 8..]);
    segment[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
    segment.resize(segment.len().next_multiple_of(8), 0);
}

fn sum(salt: u64, length: u32, rest: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&salt.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, &length.to_le_bytes()), rest)
}

/// Every record that stands whole at any multiple of 8 behind the first page, in the order of the bytes.
pub fn whole_records(segment: &[u8], salt: u64) -> Vec<Whole> {
    let places = (PAGE..segment.len()).step_by(8);
    places
        .filter_map(|at| whole_record(&segment[at..], salt))
        .collect()
}

fn whole_record(bytes: &[u8], salt: u64) -> Option<Whole> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let words = number(0)?.to_le_bytes();
    let length = u32::from_le_bytes([words[0], words[1], words[2], words[3]]);
    let told = u32::from_le_bytes([words[4], words[5], words[6], words[7]]);
    let end = HEAD + (length & !FIRST_OF_WRITE) as usize;
    let rest = bytes.get(8..end)?;
    (told == sum(salt, length, rest)).then_some(Whole {
        number: number(8)?,
        received: number(16)?,
        body: bytes[HEAD..end].to_vec(),
    })
}

/// A mark as it is after its first write.
pub fn mark(number: u64) -> Vec<u8> {
    let mut file = vec![0; 3 * PAGE];
    let mut slot = [1_u64.to_le_bytes(), number.to_le_bytes()].concat();
    slot.extend_from_slice(&crc32c::crc32c(&slot).to_le_bytes());
    file[PAGE..PAGE + slot.len()].copy_from_slice(&slot);
    file
}
