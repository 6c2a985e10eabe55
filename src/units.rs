//! Durations, sizes and shares as people write them: `250ms`, `512KiB`, `5%`.
//!
//! The functions that end in `_setting` are for `#[serde(deserialize_with = "...")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// What is wrong with a text that should have been a duration, a size or a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no number in front of the unit, or it is negative.
    #[error("it does not start with a number")]
    Number,
    /// A number without a unit, where one is needed.
    #[error("the unit is missing")]
    MissingUnit,
    /// A unit that is not known here.
    #[error("the unit is not known")]
    UnknownUnit,
    /// `KB`, `M`, `Gi` and the like, of which people mean 1000 or 1024.
    #[error("the unit can be read as 1000 or as 1024")]
    AmbiguousUnit,
    /// More digits behind the point than there are nanoseconds or bytes.
    #[error("it is finer than can be measured")]
    TooFine,
    /// More than the type can hold.
    #[error("it is too large")]
    TooLarge,
}

/// Nanoseconds in each unit of time.
const TIME: [(&str, u128); 6] = [
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Bytes in each unit of size.
const SIZE: [(&str, u128); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A part of a whole, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// `percent` of the whole; more than 100 is taken as 100.
    pub fn new(percent: u8) -> Self {
        Self(percent.min(100))
    }

    /// This share of `whole`, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        let share = u128::from(whole) * u128::from(self.0) / 100;
        u64::try_from(share).unwrap_or(whole)
    }
}

/// Reads `250ms`, `0.2ms`, `5s`, `2m`, `1h`, `100us`. A bare `0` needs no unit.
///
/// # Errors
/// Anything else, and what is finer than a nanosecond or longer than 500 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = split(text)?;
    let factor = TIME
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor);
    let factor = factor.ok_or(if unit.is_empty() {
        UnitError::MissingUnit
    } else {
        UnitError::UnknownUnit
    })?;
    let nanos = scale(number, factor)?;
    Ok(Duration::from_nanos(
        u64::try_from(nanos).map_err(|_| UnitError::TooLarge)?,
    ))
}

/// Reads `512KiB`, `1MiB`, `1.5GiB`, `1TiB`, or plain bytes, `1000`.
///
/// # Errors
/// Anything else. `KB`, `M` and `Gi` too: some read them as powers of 1000, some of 1024.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let factor = match SIZE.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None if unit.starts_with(['k', 'K', 'm', 'M', 'g', 'G', 't', 'T']) => {
            return Err(UnitError::AmbiguousUnit);
        }
        None => return Err(UnitError::UnknownUnit),
    };
    u64::try_from(scale(number, factor)?).map_err(|_| UnitError::TooLarge)
}

/// Reads a whole share, `5%`.
///
/// # Errors
/// Anything else, and more than `100%`.
pub fn parse_percent(text: &str) -> Result<Percent, UnitError> {
    let number = text.strip_suffix('%').ok_or(UnitError::MissingUnit)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UnitError::Number);
    }
    match number.parse() {
        Ok(percent) if percent <= 100 => Ok(Percent(percent)),
        _ => Err(UnitError::TooLarge),
    }
}

/// The number in front and the unit behind it.
fn split(text: &str) -> Result<(&str, &str), UnitError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(UnitError::Number);
    }
    Ok((number, unit.trim_start()))
}

/// `number` times `factor`, exactly.
fn scale(number: &str, factor: u128) -> Result<u128, UnitError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| UnitError::TooLarge)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 15 {
        return Err(UnitError::TooFine);
    }
    let below: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().map_err(|_| UnitError::Number)?
    };
    let power = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| UnitError::TooFine)?);
    if !(below * factor).is_multiple_of(power) {
        return Err(UnitError::TooFine);
    }
    Ok(u128::from(whole) * factor + below * factor / power)
}

/// A duration in a configuration.
///
/// # Errors
/// See [`parse_duration`].
pub fn duration_setting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// A size in a configuration, as whatever integer the setting has.
///
/// # Errors
/// See [`parse_size`]; and what the integer can't hold.
pub fn size_setting<'de, D: Deserializer<'de>, N: TryFrom<u64>>(
    deserializer: D,
) -> Result<N, D::Error> {
    let bytes = parse_size(&String::deserialize(deserializer)?).map_err(de::Error::custom)?;
    N::try_from(bytes).map_err(|_| de::Error::custom(UnitError::TooLarge))
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_percent(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        let table = [
            ("250ms", Ok(Duration::from_millis(250))),
            ("0.2ms", Ok(Duration::from_micros(200))),
            ("5s", Ok(Duration::from_secs(5))),
            ("1.5s", Ok(Duration::from_millis(1500))),
            ("2m", Ok(Duration::from_secs(120))),
            ("1h", Ok(Duration::from_secs(3600))),
            ("100us", Ok(Duration::from_micros(100))),
            ("100µs", Ok(Duration::from_micros(100))),
            ("5 s", Ok(Duration::from_secs(5))),
            ("0s", Ok(Duration::ZERO)),
            ("0", Ok(Duration::ZERO)),
            ("0.000000001s", Ok(Duration::from_nanos(1))),
            ("5", Err(UnitError::MissingUnit)),
            ("5d", Err(UnitError::UnknownUnit)),
            ("5S", Err(UnitError::UnknownUnit)),
            ("", Err(UnitError::Number)),
            ("s", Err(UnitError::Number)),
            ("-5s", Err(UnitError::Number)),
            (".5s", Err(UnitError::Number)),
            ("5.s", Err(UnitError::Number)),
            ("1.2.3s", Err(UnitError::Number)),
            ("0.0000000001s", Err(UnitError::TooFine)),
            ("99999999999999999999s", Err(UnitError::TooLarge)),
            ("9999999999999h", Err(UnitError::TooLarge)),
        ];
        for (text, expected) in table {
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_or_plain_bytes() {
        let table = [
            ("1000", Ok(1000)),
            ("0", Ok(0)),
            ("512KiB", Ok(512 << 10)),
            ("64 MiB", Ok(64 << 20)),
            ("1.5GiB", Ok(3 << 29)),
            ("1TiB", Ok(1 << 40)),
            ("512KB", Err(UnitError::AmbiguousUnit)),
            ("512K", Err(UnitError::AmbiguousUnit)),
            ("1Gi", Err(UnitError::AmbiguousUnit)),
            ("1mib", Err(UnitError::AmbiguousUnit)),
            ("5 apples", Err(UnitError::UnknownUnit)),
            ("0.3", Err(UnitError::TooFine)),
            ("-1", Err(UnitError::Number)),
            ("99999999999TiB", Err(UnitError::TooLarge)),
        ];
        for (text, expected) in table {
            assert_eq!(parse_size(text), expected, "{text:?}");
        }
    }

    #[test]
    fn shares_are_whole_percents() {
        let table = [
            ("5%", Ok(Percent(5))),
            ("0%", Ok(Percent(0))),
            ("100%", Ok(Percent(100))),
            ("101%", Err(UnitError::TooLarge)),
            ("999%", Err(UnitError::TooLarge)),
            ("5", Err(UnitError::MissingUnit)),
            ("%", Err(UnitError::Number)),
            ("+5%", Err(UnitError::Number)),
            ("0.5%", Err(UnitError::Number)),
        ];
        for (text, expected) in table {
            assert_eq!(parse_percent(text), expected, "{text:?}");
        }
        assert_eq!(Percent(5).of(200), 10);
        assert_eq!(Percent(100).of(u64::MAX), u64::MAX);
    }
}
