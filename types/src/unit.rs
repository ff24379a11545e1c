//! Units: bytes, offsets and points in time, with the lengths of block, page and granule.
//!
//! Arithmetic that could wrap is checked where it is done; these types only keep the meanings apart.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Length of a block, the unit of placement, in bytes, unless the mount says otherwise.
pub const BLOCK_LENGTH_DEFAULT: u64 = 64 << 20;
/// Length of a page, the unit of presence, in bytes.
pub const PAGE_LENGTH: u64 = 1 << 20;
/// Length of a granule, the unit of checksum, in bytes.
pub const GRANULE_LENGTH: u64 = 64 << 10;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ByteCount(u64);

/// A position in a file, in bytes from its begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileOffset(u64);

/// A point in time: nanoseconds since 1970-01-01 UTC. Signed, since files may be older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

/// Text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// The text has no number, a negative one, or a unit that is not known.
    #[error(
        "`{0}` is no size: write a whole number of bytes or one with KiB, MiB, GiB or TiB, such as 512MiB"
    )]
    NoSize(String),
    /// The number of bytes does not fit 64 bits.
    #[error("`{0}` is too large for a size")]
    TooLarge(String),
}

impl ByteCount {
    /// No bytes.
    pub const ZERO: Self = Self(0);

    /// Wraps a number of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FileOffset {
    /// Wraps a position.
    #[must_use]
    pub const fn new(offset: u64) -> Self {
        Self(offset)
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Timestamp {
    /// Wraps nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Whole seconds and the rest in nanoseconds, as `stat` gives them. Saturates at the years 1677 and 2262.
    #[must_use]
    pub const fn from_parts(seconds: i64, nanos: u32) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanos as i64))
    }

    /// A time of the machine's own clock. Saturates at the years 1677 and 2262.
    #[must_use]
    pub fn from_system_time(time: SystemTime) -> Self {
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        })
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// What is left of the second, in nanoseconds: 0 to 999,999,999.
    #[must_use]
    pub const fn subsecond_nanos(self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is below 10^9")]
        {
            self.0.rem_euclid(1_000_000_000) as u32
        }
    }
}

impl fmt::Display for Timestamp {
    /// For sentences: RFC 3339 to the second. All that is before 1970 is shown as 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = u64::try_from(self.seconds()).unwrap_or(0);
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        humantime::format_rfc3339_seconds(at).fmt(f)
    }
}

const UNITS: [(&str, u32); 9] = [
    ("TiB", 40),
    ("GiB", 30),
    ("MiB", 20),
    ("KiB", 10),
    ("T", 40),
    ("G", 30),
    ("M", 20),
    ("K", 10),
    ("B", 0),
];

impl FromStr for ByteCount {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        let (digits, shift) = UNITS
            .iter()
            .find_map(|(unit, shift)| trimmed.strip_suffix(unit).map(|digits| (digits.trim_end(), *shift)))
            .unwrap_or((trimmed, 0));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(UnitError::NoSize(text.to_owned()));
        }
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(1 << shift))
            .map(Self)
            .ok_or_else(|| UnitError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for ByteCount {
    /// The largest unit that loses at most a tenth: `1.5GiB`, `64MiB`, `17B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in UNITS.iter().take(4) {
            let whole = self.0 >> shift;
            if whole > 0 {
                let tenth = (((self.0 & ((1 << shift) - 1)) >> (shift - 10)) * 10) >> 10;
                return if tenth == 0 {
                    write!(f, "{whole}{unit}")
                } else {
                    write!(f, "{whole}.{tenth}{unit}")
                };
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Display for FileOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_machine_is_exact_also_before_1970_and_saturates() {
        use std::time::Duration;
        let of = Timestamp::from_system_time;
        assert_eq!(of(UNIX_EPOCH), Timestamp::from_nanos(0));
        assert_eq!(of(UNIX_EPOCH + Duration::new(1, 7)), Timestamp::from_parts(1, 7));
        assert_eq!(of(UNIX_EPOCH - Duration::from_nanos(5)), Timestamp::from_nanos(-5));
        let far = Duration::from_secs(10_000_000_000);
        assert_eq!(of(UNIX_EPOCH + far), Timestamp::from_nanos(i64::MAX));
        assert_eq!(of(UNIX_EPOCH - far), Timestamp::from_nanos(i64::MIN));
    }

    #[test]
    fn times_in_sentences_are_to_the_second() {
        let shown = |seconds, nanos| Timestamp::from_parts(seconds, nanos).to_string();
        assert_eq!(shown(1_800_000_000, 999_999_999), "2027-01-15T08:00:00Z");
        assert_eq!(shown(-1, 0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let sizes =
            [("0", 0), ("17", 17), ("17B", 17), ("512MiB", 512 << 20), ("4GiB", 4 << 30), ("1 KiB", 1024)];
        for (text, bytes) in sizes {
            assert_eq!(text.parse::<ByteCount>(), Ok(ByteCount::new(bytes)), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_size_is_refused() {
        for text in ["", "MiB", "-1", "1.5GiB", "4 GiBs", "0x10", "٣"] {
            assert!(text.parse::<ByteCount>().is_err(), "{text}");
        }
        assert_eq!("99999999999TiB".parse::<ByteCount>(), Err(UnitError::TooLarge("99999999999TiB".into())));
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        for (bytes, text) in [(17, "17B"), (64 << 20, "64MiB"), (3 << 29, "1.5GiB"), (1023, "1023B")] {
            assert_eq!(ByteCount::new(bytes).to_string(), text);
        }
    }

    #[test]
    fn times_before_1970_keep_a_positive_rest() {
        let time = Timestamp::from_parts(-2, 250_000_000);
        assert_eq!((time.seconds(), time.subsecond_nanos()), (-2, 250_000_000));
    }
}
