//! Times as commands show and take them.

use std::time::{Duration, SystemTime};

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, Time};

use crate::units::parse_duration;

use time::macros::format_description;

const DAY: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");
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

/// In microseconds since 1970.
pub(super) fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// Reads `2026-11-25T08:00:00Z`, `2026-11-25` (its beginning, UTC), or `2h`: so long ago.
pub(super) fn parse(text: &str) -> Result<SystemTime, String> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(at.into());
    }
    if let Ok(day) = Date::parse(text, DAY) {
        return Ok(OffsetDateTime::new_utc(day, Time::MIDNIGHT).into());
    }
    let ago = parse_duration(text).ok();
    ago.and_then(|ago: Duration| SystemTime::now().checked_sub(ago))
        .ok_or_else(|| {
            "not a time such as 2026-11-25T08:00:00Z, 2026-11-25, or 2h for two hours ago"
                .to_owned()
        })
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

    #[test]
    fn a_time_is_a_moment_a_day_or_so_long_ago() {
        let at = |text: &str| parse(text).map(|at| exact(micros(at)));
        let moment = Ok("2023-11-14T22:13:20.123456Z".to_owned());
        assert_eq!(at("2023-11-14T22:13:20.123456Z"), moment);
        assert_eq!(at("2023-11-14T23:13:20.123456+01:00"), moment);
        assert_eq!(
            at("2023-11-14"),
            Ok("2023-11-14T00:00:00.000000Z".to_owned())
        );
        let hour_ago = parse("1h").expect("a duration is a time");
        let ago = SystemTime::now().duration_since(hour_ago);
        assert!(ago.is_ok_and(|ago| ago >= Duration::from_secs(3600)));
        for wrong in ["", "yesterday", "2023-13-01", "5", "-1h"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
