//! Times as commands show and take them.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const SECONDS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const MICROSECONDS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// For people: UTC, to the second. Microseconds since 1970 come in.
pub(super) fn short(micros: u64) -> String {
    write(micros, SECONDS)
}

/// For programs: UTC, as an envelope's `time`. Microseconds since 1970 come in.
pub(super) fn exact(micros: u64) -> String {
    write(micros, MICROSECONDS)
}

fn write(micros: u64, format: &[BorrowedFormatItem<'static>]) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000);
    let written = at.ok().and_then(|at| at.format(format).ok());
    written.unwrap_or_else(|| "beyond the year 9999".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_utc() {
        assert_eq!(short(1_700_000_000_123_456), "2023-11-14T22:13:20Z");
        assert_eq!(exact(1_700_000_000_123_456), "2023-11-14T22:13:20.123456Z");
        assert_eq!(short(u64::MAX), "beyond the year 9999");
    }
}
